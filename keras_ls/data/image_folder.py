"""Images of one's own in a folder a class, and ImageNet, which is kept that way."""

import dataclasses
import os

import numpy as np

from keras_ls.data.image_files import ImageFiles
from keras_ls.data.splits import Splits, calibration_cut
from keras_ls.files import local_path
from keras_ls.ops._checks import checked_count

SUFFIXES = (".jpg", ".jpeg", ".png")


def image_folder(
    directory: str | os.PathLike,
    image_size: int | None = None,
    channels: int = 3,
    calibration: int = 10_000,
) -> Splits:
    """A dataset of image files that need not fit into memory: `directory/train/CLASS/*.jpg`, also .jpeg and .png.

    Beside `train` there is `validation` (or `val`), or `test`, or both, with the same classes. With both, `validation`
    is for calibration; with one, that is the test part, and images for calibration are cut from `train` by a fixed
    random permutation. The training part is in random order: its first n are a random subset.

    Args:
        directory: the folder.
        image_size: height and width to which the central square of an image is resized; None for images of their own
            sizes, to be cropped to one size before they are batched.
        channels: 3 for colours, 1 for grey.
        calibration: how many images are cut for calibration, where they are.

    Returns:
        `Splits` whose parts are `ImageFiles`. The classes are the names of the folders, sorted.

    Raises:
        OSError: for a directory that is not there.
        ValueError: for no path, for folders that are not as above, with the name of what is in the way, and for a
            training part that is no larger than `calibration`.

    Examples:
        >>> import pathlib, tempfile, numpy as np, tensorflow as tf, keras_ls as kls
        >>> folder = tempfile.mkdtemp()
        >>> for part, name in [("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")]:
        ...     (pathlib.Path(folder) / part / name).mkdir(parents=True)
        ...     for i in range(3):
        ...         image = tf.io.encode_jpeg(np.zeros((40, 30, 3), "uint8"))
        ...         tf.io.write_file(f"{folder}/{part}/{name}/{i}.jpg", image)
        >>> pets = kls.data.image_folder(folder, image_size=32, calibration=2)
        >>> pets.class_names, len(pets.train), len(pets.calibration), len(pets.test)
        (('cat', 'dog'), 4, 2, 6)
        >>> indices = tf.data.Dataset.range(len(pets.train)).shuffle(4, seed=0)
        >>> indices.map(pets.train.read).batch(2).element_spec[0].shape
        TensorShape([None, 32, 32, 3])
    """
    calibration = checked_count("calibration", calibration)
    directory = local_path("directory", directory)
    if not (directory / "train").is_dir():
        raise FileNotFoundError(
            f"Expected a directory with images in train/CLASS/. Received: {str(directory)!r}, in which is no folder "
            "train."
        )
    held_out = [folder for part in (("validation", "val"), ("test",)) if (folder := _first_folder(directory, part))]
    if not held_out:
        raise ValueError(
            f"Expected a folder validation or test beside train. Received: {str(directory)!r} with neither. Move some "
            "images of each class there, none of which is in train."
        )
    class_names = tuple(sorted(_class_folders(directory / "train")))
    files = [_image_files(folder, class_names, image_size, channels) for folder in (directory / "train", *held_out)]
    count = len(files[0])
    if len(files) == 3:
        train = files[0][calibration_cut(count, 0)[0]]
        calibrating = files[1]
    elif calibration < count:
        train, calibrating = (files[0][rows] for rows in calibration_cut(count, calibration))
    else:
        raise ValueError(
            f"Expected more than {calibration} images in {str(directory / 'train')!r}, from which those for "
            f"calibration are cut. Received: {count}. Choose a smaller `calibration`, or add both validation and test."
        )
    return Splits(
        name=directory.name,
        train=train,
        calibration=calibrating,
        test=files[-1],
        class_names=class_names,
        source=f"images of {directory.name}",
    )


def imagenet2012(directory: str | os.PathLike | None = None) -> Splits:
    """ImageNet (ILSVRC 2012): 1000 classes, photographs of various sizes, in an `image_folder`.

    Its 50,000 validation images are the test part; 10,000 images for calibration are cut from the training set. Classes
    are WordNet numbers, such as "n01440764" for tench.

    Args:
        directory: folder with `train` and `validation` (or `val`), each with a folder a class; None for that of the
            environment variable IMAGENET_DIR.

    Returns:
        `Splits` of 1,271,167, 10,000 and 50,000 `ImageFiles`.

    Raises:
        OSError: where the images are not; the message says how to get them.
        ValueError: as `image_folder`, and for other than 1000 classes.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.imagenet2012("~/imagenet").num_classes  # doctest: +SKIP
        1000

    Reference:
        Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015.
    """
    if directory is None:
        directory = os.environ.get("IMAGENET_DIR") or None
    if directory is None or not local_path("directory", directory).is_dir():
        raise OSError(
            "Expected ImageNet's images in the directory that IMAGENET_DIR names. Received: "
            f"{'no IMAGENET_DIR' if directory is None else repr(os.fspath(directory))}. Download "
            "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from https://image-net.org, where an account is "
            "needed; extract them into DIR/train/CLASS/ and, sorted by class, DIR/validation/CLASS/; and set "
            "IMAGENET_DIR=DIR."
        )
    found = dataclasses.replace(image_folder(directory), name="imagenet2012", source="ImageNet")
    if found.num_classes != 1000:
        raise ValueError(
            f"Expected ImageNet's 1000 classes in {os.fspath(directory)!r}. Received: {found.num_classes}. "
            "data.image_folder reads any number."
        )
    return found


def _first_folder(directory, names):
    return next((directory / name for name in names if (directory / name).is_dir()), None)


def _class_folders(folder):
    names = {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")}
    if not names:
        raise ValueError(f"Expected a folder for each class in {str(folder)!r}. Received: none.")
    return names


def _image_files(folder, class_names, image_size, channels):
    other = sorted(_class_folders(folder) ^ set(class_names))
    if other:
        raise ValueError(
            f"Expected the classes of train in {str(folder)!r}. Received: {', '.join(other[:5])}"
            f"{', ...' if len(other) > 5 else ''} in only one of the two."
        )
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = sorted(entry.path for entry in os.scandir(folder / name) if not entry.name.startswith("."))
        wrong = [path for path in found if not path.lower().endswith(SUFFIXES)]
        if wrong:
            raise ValueError(f"Expected files {', '.join(SUFFIXES)} in {str(folder / name)!r}. Received: {wrong[0]!r}.")
        if not found:
            raise ValueError(f"Expected images in {str(folder / name)!r}. Received: an empty folder.")
        paths += found
        labels += [label] * len(found)
    return ImageFiles(paths, np.array(labels), image_size, channels)
