"""Named datasets, cut into parts."""

import functools

from keras_ls.data.augment import center_crop, random_crop_and_flip, random_shift
from keras_ls.data.digits import NOISE, digits
from keras_ls.data.prediction_file import read_predictions
from keras_ls.data.shuffled_batches import ShuffledBatches
from keras_ls.data.splits import PARTS, Splits
from keras_ls.data.tfds_images import cifar10, mnist
from keras_ls.ops._checks import checked_choice

__all__ = [
    "DATASETS",
    "ShuffledBatches",
    "Splits",
    "center_crop",
    "cifar10",
    "digits",
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
    "cifar10": cifar10,
}


@functools.cache
def load(name: str) -> Splits:
    """The dataset of this name, read once a process.

    Args:
        name: one of `DATASETS`.

    Returns:
        `Splits` of read-only arrays, as all who load the dataset share them: change a copy, `x.copy()`.

    Raises:
        ValueError: for another name; the message has the nearest valid one.
        OSError: where a dataset that is downloaded cannot be had.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("digits").num_classes
        10
    """
    splits = DATASETS[checked_choice("dataset", name, DATASETS)]()
    for part in PARTS:
        for array in getattr(splits, part):
            array.flags.writeable = False
    return splits
