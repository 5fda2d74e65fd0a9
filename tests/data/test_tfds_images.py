import os
import pathlib
import sys
import types
import urllib.error

import numpy as np
import pytest
import tensorflow as tf

from keras_ls import data
from keras_ls.data import tfds_images
from tests.real_data import FOLDER


def real(name, monkeypatch):
    """Lets TensorFlow Datasets find the real data, or skips."""
    candidates = [os.environ.get("TFDS_DATA_DIR"), FOLDER / "tfds", pathlib.Path.home() / "tensorflow_datasets"]
    for folder in candidates:
        if folder and (pathlib.Path(folder) / name).is_dir():
            monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
            return
    pytest.skip(f"needs {name} prepared by TensorFlow Datasets, in TFDS_DATA_DIR or ~/tensorflow_datasets")


def counts(*parts):
    return np.bincount(np.concatenate([y for _, y in parts])).tolist()


def test_mnist_is_the_official_one(monkeypatch):
    real("mnist", monkeypatch)
    splits = data.mnist()
    # examples of the digits 0 to 9 in the official files
    assert counts(splits.train, splits.calibration) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts(splits.test) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    x = np.concatenate([splits.train[0], splits.calibration[0]])
    # the mean and the standard deviation that everyone normalises MNIST with
    assert (x.mean(dtype="float64"), x.std(dtype="float64")) == pytest.approx((0.1307, 0.3081), abs=5e-5)
    assert (x.min(), x.max(), x.dtype, splits.train[1].dtype) == (0, 1, np.float32, np.int64)
    assert splits.train[0].shape == (50_000, 28, 28, 1) and splits.calibration[0].shape == (10_000, 28, 28, 1)
    assert splits.class_names == tuple("0123456789") and splits.source == "MNIST"


def test_cifar10_is_the_official_one(monkeypatch):
    real("cifar10", monkeypatch)
    splits = data.cifar10()
    assert counts(splits.train, splits.calibration) == [5000] * 10 and counts(splits.test) == [1000] * 10
    assert splits.train[0].shape == (40_000, 32, 32, 3) and splits.calibration[0].shape == (10_000, 32, 32, 3)
    # 10,000 of 50,000, drawn without replacement: 1000 a class, with standard deviation √(10,000·.1·.9·.8) = 26.8
    assert np.abs(np.subtract(counts(splits.calibration), 1000)).max() < 4 * 26.8
    # the channel means that everyone normalises CIFAR-10 with; JPEG copies have .005 less red and blue
    means = np.concatenate([splits.train[0], splits.calibration[0]]).mean(axis=(0, 1, 2), dtype="float64")
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=6e-3)
    assert (splits.train[0].min(), splits.train[0].max()) == (0, 1)
    assert splits.class_names == (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """TensorFlow Datasets with 60 images a class, each of which shows its number; `fake.calls` are those of `load`."""

    def load(name, split, data_dir=None, batch_size=None, as_supervised=False, with_info=False):
        module.calls.append((name, data_dir))
        assert (split, batch_size, as_supervised, with_info) == (["train", "test"], -1, True, True)
        if module.error:
            raise module.error
        return [(module.images(size), np.arange(size) % 10) for size in (12_000, 600)], info

    def images(size):
        return np.stack([np.arange(size) // 256, np.arange(size) % 256], axis=-1).astype("uint8").reshape(-1, 1, 2, 1)

    names = [f"class {k}" for k in range(10)]
    info = types.SimpleNamespace(features={"label": types.SimpleNamespace(names=names)})
    download = types.SimpleNamespace(DownloadError=type("DownloadError", (Exception,), {}))
    module = types.SimpleNamespace(
        load=load,
        images=images,
        as_numpy=lambda parts: parts,
        builder=lambda name, data_dir: types.SimpleNamespace(data_path=tmp_path),
        download=download,
        calls=[],
        error=None,
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return module


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_parts_are_a_partition_of_the_training_set(fake, name):
    splits = data.DATASETS[name]()
    number = {p: np.round(getattr(splits, p)[0][:, 0, :, 0] * 255) @ [256, 1] for p in data.splits.PARTS}
    # 10,000 for calibration, the rest for training, each image once, with its own label
    assert [len(n) for n in number.values()] == [2000, 10_000, 600]
    np.testing.assert_array_equal(np.sort(np.concatenate([number["train"], number["calibration"]])), np.arange(12_000))
    np.testing.assert_array_equal(number["test"], np.arange(600))
    for part, n in number.items():
        np.testing.assert_array_equal(getattr(splits, part)[1], n % 10)
    # in random order: the mean of the first 500 numbers is 5999.5 within 4 standard errors, 12,000 / √12 / √500
    assert abs(number["train"][:500].mean() - 5999.5) < 4 * 12_000 / np.sqrt(12 * 500)
    np.testing.assert_array_equal(splits.train[0].max(), 1)
    assert splits.train[0].dtype == np.float32 and splits.train[1].dtype == np.int64
    assert splits.class_names[3] == "class 3" and splits.name == name
    assert splits.fingerprint == data.DATASETS[name]().fingerprint


def test_the_directory_is_read_when_data_are_loaded(fake, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    data.mnist()
    monkeypatch.setenv("TFDS_DATA_DIR", "elsewhere")
    data.cifar10()
    assert fake.calls == [("mnist", None), ("cifar10", "elsewhere")]


@pytest.mark.parametrize("folder, shown", [(None, "~/tensorflow_datasets"), ("elsewhere", "elsewhere")])
@pytest.mark.parametrize("kind", ["network", "server"])
def test_data_that_cannot_be_had(fake, monkeypatch, folder, shown, kind):
    fake.error = ConnectionError("no route") if kind == "network" else fake.download.DownloadError("no route")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    if folder:
        monkeypatch.setenv("TFDS_DATA_DIR", folder)
    message = rf"dataset 'cifar10' in {shown}, or a network.*Received: \w+Error: no route. Set TFDS_DATA_DIR.*"
    message += r"`import tensorflow_datasets as tfds` and `tfds.load\('cifar10', data_dir=DIRECTORY\)` make one"
    with pytest.raises(OSError, match=message):
        data.cifar10()


def test_other_errors_are_left_alone(fake):
    fake.error = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        data.mnist()


def test_without_a_network_nothing_is_downloaded(fake, monkeypatch, tmp_path):
    def refuse(url, timeout):
        raise urllib.error.URLError("no such host")

    fake.builder = lambda name, data_dir: types.SimpleNamespace(data_path=tmp_path / "not there")
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(OSError, match=r"or a network to download it from.*no such host"):
        data.mnist()
    assert fake.calls == []


@pytest.mark.parametrize(
    "name, shape, classes, names",
    [
        ("fashion_mnist", (28, 28, 1), 10, {0: "T-shirt/top", 9: "Ankle boot"}),
        ("cifar100", (32, 32, 3), 100, {}),  # whose names come with the data
    ],
)
def test_shapes_and_classes_are_those_of_tensorflow_datasets(monkeypatch, tmp_path, name, shape, classes, names):
    import tensorflow_datasets as tfds

    def load(name, split, **settings):
        assert info.features["image"].shape == shape and info.supervised_keys == ("image", "label")
        return [(tf.zeros((8, *shape), "uint8"), tf.zeros(8, "int64")) for _ in split], info

    info = tfds.builder(name, data_dir=tmp_path).info
    monkeypatch.setattr(tfds, "load", load)
    monkeypatch.setattr(tfds_images, "CALIBRATION", 3)
    monkeypatch.setattr(tfds_images, "_check_reachable", lambda host: None)
    splits = data.DATASETS[name]()
    assert [getattr(splits, part)[0].shape for part in data.splits.PARTS] == [(n, *shape) for n in (5, 3, 8)]
    assert splits.num_classes == classes
    assert {k: splits.class_names[k] for k in names} == names
