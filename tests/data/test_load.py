"""Datasets by name, and by module:function."""

import sys

import numpy as np
import pytest

import keras_ls as kls

MODULE = """
import numpy as np
import keras_ls as kls

def images():
    x, y = np.zeros((6, 4, 4, 1), "float32"), np.arange(6) % 2
    return kls.data.Splits("mine", (x, y), (x, y), (x, y), ("cat", "dog"), "two kinds of animals")

def files():
    images = kls.data.ImageFiles([__file__], [0])
    return kls.data.Splits("files", images, images, images, ("cat", "dog"), "two kinds of animals")

def nothing():
    pass
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_images.py").write_text(MODULE)
    (tmp_path / "needs_more.py").write_text("import not_installed_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    kls.data.load.cache_clear()
    sys.modules.pop("my_images", None)


def test_a_function_of_the_user(module):
    splits = kls.data.load("my_images:images")
    assert splits.class_names == ("cat", "dog") and kls.data.load("my_images:images") is splits
    with pytest.raises(ValueError, match="read-only"):
        splits.train[0][0] = 1
    training = kls.studies.Training("my_images:images", (3,), epochs=1)
    assert training.name == "my_images.images-mlp-3-alpha0-seed0"  # which a file can be called
    assert training.run()(np.zeros((1, 4, 4, 1))).shape == (1, 2)


def test_studies_refuse_image_files(module):
    with pytest.raises(ValueError, match=r"Expected a dataset in memory, whose parts are arrays\. Received: 'files'"):
        kls.studies.CalibrationStudy("my_images:files")
    with pytest.raises(ValueError, match="Expected a dataset in memory"):
        kls.studies.diagnose(kls.models.mlp((4,), 2), "my_images:files")


@pytest.mark.parametrize(
    "name,message",
    [
        ("my_images:cats", "Expected `dataset` as module:function, a function that can be imported"),
        ("not_there:images", "Run the command where the module is"),
        ("my_images:np", "Expected `dataset` as module:function"),
        ("my_images:nothing", r"Expected my_images:nothing to return keras_ls\.data\.Splits\. Received: NoneType"),
        ("digit", "Expected `dataset`"),
    ],
)
def test_refusals(module, name, message):
    with pytest.raises(ValueError, match=message):
        kls.data.load(name)


def test_an_error_of_the_module_is_its_own(module):
    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        kls.data.load("needs_more:images")
