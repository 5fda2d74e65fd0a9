"""Named datasets, cut into parts."""

import functools

from keras_ls.data.digits import NOISE, digits
from keras_ls.data.splits import Splits
from keras_ls.ops.checks import checked_choice

__all__ = ["DATASETS", "Splits", "digits", "load"]

DATASETS = {
    "digits": digits,
    "digits-noise": functools.partial(digits, noise=NOISE),
}


@functools.cache
def load(name):
    """The dataset of this name.

    Args:
        name: one of `DATASETS`.

    Returns:
        `Splits`.

    Raises:
        ValueError: for another name; the message has the nearest valid one.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("digits").num_classes
        10
    """
    return DATASETS[checked_choice("dataset", name, DATASETS)]()
