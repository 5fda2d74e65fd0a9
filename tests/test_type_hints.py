"""Every public signature says what it takes and returns, and a type checker may read that."""

import configparser
import importlib
import inspect
import pathlib
import types

import pytest

ROOMS = (
    *("ops", "losses", "metrics", "evaluation", "calibrators", "plots", "callbacks", "data", "models"),
    *("distribute", "export", "files", "batches", "distillation", "studies"),
)
ROOT = pathlib.Path(__file__).parent.parent


def functions(name, thing):
    """`(name, function)` of what a public thing consists of: itself, or the methods that its own classes define."""
    if not isinstance(thing, type):
        yield name, thing
        return
    for owner in thing.__mro__:
        if not owner.__module__.startswith("keras_ls."):
            continue
        for key, value in vars(owner).items():
            if key.startswith("_") and key not in ("__init__", "__call__"):
                continue
            value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            value = getattr(value, "func", value)  # of a cached property
            if isinstance(value, types.FunctionType):
                yield f"{name}.{key}", value


def without_hints(function):
    """The arguments of a function that have no annotation, and "return"."""
    signature = inspect.signature(function)
    missing = [
        key
        for key, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and key not in ("self", "cls")
    ]
    returns = function.__name__ == "__init__" or signature.return_annotation is not signature.empty
    return missing if returns else [*missing, "return"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_argument_and_return_has_a_type(room):
    module = importlib.import_module(f"keras_ls.{room}")
    names = getattr(module, "__all__", None) or [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    swept = [
        pair for name in names if callable(getattr(module, name)) for pair in functions(name, getattr(module, name))
    ]
    assert len(swept) >= 1
    missing = {name: without for name, function in swept if (without := without_hints(function))}
    assert not missing


def test_type_checkers_read_them():
    """PEP 561: the marker is in the package, and setup.cfg ships it."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert "py.typed" in settings["options.package_data"]["keras_ls"].split()
    assert (ROOT / "keras_ls" / "py.typed").is_file()
