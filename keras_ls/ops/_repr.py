"""What the interpreter shows of losses and calibrators."""

import inspect

import numpy as np


def constructor_call(thing):
    """`Class(argument=value, ...)` with the first argument of the constructor and those that are not the defaults.

    Args:
        thing: an object with `get_config`.
    """
    try:
        config, shown = thing.get_config(), []
    except Exception:  # in traced code, where a variable has no number; AutoGraph asks there
        return f"{type(thing).__name__}(...)"
    for i, (key, parameter) in enumerate(inspect.signature(type(thing).__init__).parameters.items()):
        changed = key in config and not _same(config[key], parameter.default)
        if key in config and key not in ("name", "dtype", "reduction") and (i == 1 or changed):
            shown.append(f"{key}={_short(config[key])}")
    return f"{type(thing).__name__}({', '.join(shown)})"


def _same(value, default):
    if isinstance(default, tuple):
        default = list(default)
    return np.shape(value) == np.shape(default) and bool(np.all(value == default))


def _short(value):
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and "class_name" in value:  # a serialised layer
        return value["class_name"]
    if isinstance(value, (list, tuple)) and len(value) > 4:
        return f"[{_short(value[0])}, ... {len(value)} in all]"
    return repr(value)
