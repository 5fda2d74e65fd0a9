import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_ls import data


def pixels(number, height=4, width=6):
    """An image of one colour that shows a number."""
    return np.broadcast_to(np.array([number // 256, number % 256, 7], "uint8"), (height, width, 3))


def shown(image):
    """The number that an image shows."""
    return int(np.round(image[0, 0] * 255) @ [256, 1, 0])


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(image).numpy())


@pytest.fixture
def folder(tmp_path):
    """Of 30 images for training and 6 for the test, of three classes; each shows 10 times its place and its class."""
    names = ("ape", "bee", "cat")
    for part, count in (("train", 10), ("test", 2)):
        for label, name in enumerate(names):
            for i in range(count):
                write(tmp_path / part / name / f"{i}.png", pixels(10 * i + label))
    return tmp_path


def numbers(files):
    return [shown(files.read(i)[0].numpy()) for i in range(len(files))]


def test_parts_are_a_partition_of_the_training_set(folder):
    found = data.image_folder(folder, calibration=12)
    assert found.class_names == ("ape", "bee", "cat") and found.num_classes == 3
    assert (len(found.train), len(found.calibration), len(found.test)) == (18, 12, 6)
    expected = [10 * i + label for i in range(10) for label in range(3)]
    assert sorted(numbers(found.train) + numbers(found.calibration)) == sorted(expected)
    assert numbers(found.test) == [0, 10, 1, 11, 2, 12]  # in the order of the classes and of the names of files
    for files in (found.train, found.calibration, found.test):
        np.testing.assert_array_equal(files.labels, np.array(numbers(files)) % 10)
        assert files.labels.dtype == np.int64
    # the permutation of MNIST: the files by class and name are the rows
    order = np.random.RandomState(0).permutation(30)
    np.testing.assert_array_equal(np.array(numbers(found.calibration)), (order[18:] % 10) * 10 + order[18:] // 10)
    assert numbers(data.image_folder(folder, calibration=12).train) == numbers(found.train)


@pytest.mark.parametrize("name", ["validation", "val"])
def test_a_validation_part_is_for_calibration_beside_a_test_part_and_else_the_test_part(folder, name):
    shutil.copytree(folder / "test", folder / name)
    write(folder / name / "bee" / "more.png", pixels(291))
    both = data.image_folder(folder)
    assert (len(both.train), numbers(both.calibration)[4], len(both.test)) == (30, 291, 6)
    assert numbers(both.train) != sorted(numbers(both.train))  # in random order
    shutil.rmtree(folder / "test")
    one = data.image_folder(folder, calibration=5)
    assert (len(one.train), len(one.calibration), len(one.test)) == (25, 5, 7)


def test_a_dataset_in_any_order(folder):
    files = data.image_folder(folder, image_size=3, calibration=12).train
    order = [5, 0, 17, 5]
    dataset = tf.data.Dataset.from_tensor_slices(order).map(files.read, num_parallel_calls=2).batch(4)
    images, labels = next(iter(dataset))
    assert images.shape == (4, 3, 3, 3) and images.dtype == tf.float32 and labels.dtype == tf.int64
    np.testing.assert_array_equal(labels, files.labels[order])
    assert [shown(image) for image in images.numpy()] == [numbers(files)[i] for i in order]
    np.testing.assert_allclose(images[..., 2], 7 / 255, rtol=1e-6)
    some = files[:4]
    assert (some.paths, some.labels.tolist(), len(files[[3, 1]])) == (files.paths[:4], files.labels[:4].tolist(), 2)
    with pytest.raises(ValueError, match=r"one index. Received: .*before batch"):
        files.read([0, 1])


def test_pixels_are_those_of_the_file(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype("uint8")
    write(tmp_path / "a.png", image)
    path = str(tmp_path / "a.png")
    np.testing.assert_array_equal(data.ImageFiles([path], [0]).read(0)[0], np.divide(image, 255, dtype="float32"))
    # the central square has rows 1 to 4; at its own size nothing is interpolated
    square = data.ImageFiles([path], [0], image_size=4).read(0)[0]
    np.testing.assert_allclose(square, image[1:5] / 255, atol=1e-6)
    # one pixel of it is the weighted mean of all, and of an image of one colour that colour
    write(tmp_path / "b.png", pixels(300))
    one = data.ImageFiles([str(tmp_path / "b.png")], [0], image_size=1).read(0)[0]
    np.testing.assert_allclose(one[0, 0], np.array([1, 44, 7]) / 255, atol=1e-6)
    # grey: 0.299 red + 0.587 green + 0.114 blue of a JPEG is its first component
    grey = np.full((8, 8, 1), 90, "uint8")
    (tmp_path / "c.JPG").write_bytes(tf.io.encode_jpeg(grey).numpy())
    read = data.ImageFiles([str(tmp_path / "c.JPG")], [0], channels=1).read(0)[0]
    np.testing.assert_allclose(read, grey / 255, atol=1.5 / 255)


def test_the_fingerprint_is_of_names_sizes_labels_and_settings(folder, tmp_path_factory):
    found = data.image_folder(folder, calibration=12)
    moved = shutil.copytree(folder, tmp_path_factory.mktemp("moved") / "there")
    assert data.image_folder(moved, calibration=12).fingerprint == found.fingerprint
    others = {data.image_folder(folder, calibration=11).fingerprint, data.image_folder(folder, 8, 3, 12).fingerprint}
    write(moved / "test" / "cat" / "1.png", pixels(12, 40, 60))
    others.add(data.image_folder(moved, calibration=12).fingerprint)
    assert len({found.fingerprint, *others}) == 4


def test_files_that_cannot_be_read_are_named(folder):
    found = data.image_folder(folder, calibration=12).train
    text, torn, gone = (pathlib.Path(found.paths[i]) for i in (3, 5, 9))
    assert found.unreadable() == ()
    text.write_text("not an image")
    torn.write_bytes(torn.read_bytes()[:60])
    gone.unlink()
    assert found.unreadable() == (str(text), str(torn), str(gone))
    for path, error in ((text, tf.errors.InvalidArgumentError), (gone, tf.errors.NotFoundError)):
        with pytest.raises(error, match=str(path)):
            list(tf.data.Dataset.range(len(found)).skip(found.paths.index(str(path))).map(found.read).take(1))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: (f / "train/bee/notes.txt").write_text(""), r"files .jpg, .jpeg, .png in .*Received: '.*notes.txt'"),
        (
            lambda f: write(f / "train/dog/0.png", pixels(3)),
            r"classes of train in .*test'. Received: dog in only one of the two",
        ),
        (lambda f: shutil.rmtree(f / "test/ape"), "classes of train in .*test'. Received: ape in only"),
        (lambda f: [(f / part / "dog").mkdir() for part in ("train", "test")], "images in .*dog'. Received: an empty"),
        (lambda f: shutil.rmtree(f / "test"), "validation or test beside train. Received: .* with neither. Move some"),
        (
            lambda f: [shutil.rmtree(p) for p in (f / "train").iterdir()],
            "folder for each class in .*train'. Received: n",
        ),
        (lambda f: None, r"more than 10000 images in .*train'.*Received: 30. Choose a smaller `calibration`"),
    ],
)
def test_folders_that_are_not_as_expected(folder, change, message):
    change(folder)
    with pytest.raises(ValueError, match=message):
        data.image_folder(folder)


def test_bad_arguments(folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"train/CLASS/. Received: '.*nowhere', in which is no folder train"):
        data.image_folder(folder / "nowhere")
    monkeypatch.setenv("HOME", str(folder.parent))
    (folder / "train" / "ape" / ".DS_Store").write_text("")  # a hidden file is no image
    assert len(data.image_folder(f"~/{folder.name}", calibration=1).train) == 29
    with pytest.raises(ValueError, match=r"`image_size` to be an integer of at least 1. Received: 0"):
        data.ImageFiles(["a.png"], [0], image_size=0)
    with pytest.raises(ValueError, match=r"`channels` to be one of 1, 3. Received: 4"):
        data.ImageFiles(["a.png"], [0], channels=4)
    with pytest.raises(
        ValueError, match=r"a label for each path, and at least one. Received: 1 paths, labels .*\(2,\)"
    ):
        data.ImageFiles(["a.png"], [0, 1])


def test_imagenet_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.delenv("IMAGENET_DIR", raising=False)
    message = r"that IMAGENET_DIR names. Received: no IMAGENET_DIR. Download ILSVRC2012.*set IMAGENET_DIR=DIR"
    with pytest.raises(OSError, match=message):
        data.load("imagenet2012")
    with pytest.raises(OSError, match=r"Received: '/nowhere'. Download"):
        data.imagenet2012("/nowhere")
    shutil.copytree(folder / "train", folder / "more", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="10000 images"):
        data.imagenet2012(folder)


def test_imagenet_in_the_directory_of_the_environment(tmp_path, monkeypatch):
    # 1000 folders with links to one image, 11 a class to train
    write(tmp_path / "image.png", pixels(1))
    for k in range(1000):
        for part, count in (("train", 11), ("val", 1)):
            (tmp_path / part / f"n{k:08}").mkdir(parents=True)
            for i in range(count):
                (tmp_path / part / f"n{k:08}" / f"{i}.png").symlink_to(tmp_path / "image.png")
    monkeypatch.setenv("IMAGENET_DIR", str(tmp_path))
    data.load.cache_clear()
    found = data.load("imagenet2012")
    data.load.cache_clear()
    assert (len(found.train), len(found.calibration), len(found.test)) == (1000, 10_000, 1000)
    assert (found.name, found.source, found.class_names[7]) == ("imagenet2012", "ImageNet", "n00000007")
    shutil.rmtree(tmp_path / "train" / "n00000007")
    shutil.rmtree(tmp_path / "val" / "n00000007")
    with pytest.raises(ValueError, match=r"ImageNet's 1000 classes in .*Received: 999"):
        data.imagenet2012(tmp_path)
