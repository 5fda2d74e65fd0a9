"""Named datasets, cut into parts."""

import functools
import importlib

from keras_ls.data.augment import (
    center_crop,
    inception_center_crop,
    inception_random_crop,
    random_crop_and_flip,
    random_shift,
)
from keras_ls.data.digits import NOISE, digits
from keras_ls.data.image_files import ImageFiles
from keras_ls.data.image_folder import image_folder, imagenet2012
from keras_ls.data.prediction_file import read_predictions
from keras_ls.data.shuffled_batches import ShuffledBatches
from keras_ls.data.splits import PARTS, Splits
from keras_ls.data.tfds_images import cifar10, cifar100, fashion_mnist, mnist
from keras_ls.ops._checks import checked_choice

__all__ = [
    "DATASETS",
    "ImageFiles",
    "ShuffledBatches",
    "Splits",
    "center_crop",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "image_folder",
    "imagenet2012",
    "inception_center_crop",
    "inception_random_crop",
    "load",
    "mnist",
    "random_crop_and_flip",
    "random_shift",
    "read_predictions",
]

DATASETS = {
    "digits": digits,
    "digits-noise": functools.partial(digits, noise=NOISE),
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet2012": imagenet2012,
}


@functools.cache
def load(name: str) -> Splits:
    """The dataset of this name, read once a process.

    Args:
        name: one of `DATASETS`, or "module:function", a function without arguments that returns `Splits`.

    Returns:
        `Splits` of read-only arrays, as all who load the dataset share them: change a copy, `x.copy()`. Those of
        "imagenet2012" hold `ImageFiles`.

    Raises:
        ValueError: for another name, with the nearest valid one; for a module or function that is not there, and one
            that returns something else.
        OSError: where a dataset that is downloaded cannot be had.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("digits").num_classes
        10
        >>> kls.data.load("keras_ls.data.digits:digits").name
        'digits'
    """
    own = isinstance(name, str) and ":" in name
    splits = _function(name)() if own else DATASETS[checked_choice("dataset", name, DATASETS)]()
    if not isinstance(splits, Splits):
        raise ValueError(
            f"Expected {name} to return keras_ls.data.Splits. Received: {type(splits).__name__}. Its "
            "docstring says what they hold."
        )
    for part in PARTS:
        content = getattr(splits, part)
        for array in () if isinstance(content, ImageFiles) else content:
            array.flags.writeable = False
    return splits


def _function(name):
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        if not module.startswith(error.name or " "):
            raise  # one that the module itself imports
        found = None
    if not callable(found):
        raise ValueError(
            f"Expected `dataset` as module:function, a function that can be imported. Received: {name!r}. Run the "
            "command where the module is, or set PYTHONPATH."
        )
    return found
