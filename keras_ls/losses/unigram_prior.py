"""The class distribution of a dataset, to smooth towards."""

import numpy as np

from keras_ls.batches import Batches
from keras_ls.ops._checks import checked_class, checked_count
from keras_ls.ops._types import Data


def unigram_prior(
    data: Data, num_classes: int, ignore_class: int | None = None, steps: int | None = None
) -> np.ndarray:
    """How often each class occurs: `u_k = Σ_i w_i [y_i = k] / Σ_i w_i`, the unigram distribution.

    Args:
        data: labels as an array of integers (any shape) or dense targets `[..., K]`, whose rows are distributions
            (K columns that sum to 1 are taken for one, whatever their dtype); or a dataset of `(x, y)` or
            `(x, y, sample_weight)`: a tuple of arrays, a `tf.data.Dataset`, a `keras.utils.PyDataset`, any iterable.
        num_classes: K.
        ignore_class: integer label that does not count, such as that of padding, or None.
        steps: how many batches of a dataset to read, as one that repeats for ever needs; None for all.

    Returns:
        NumPy float64 `[K]`, fractions that sum to 1.

    Raises:
        ValueError: for labels out of range, batches without labels or batch axis, nothing to count, a dataset
            that repeats for ever without `steps`.

    Examples:
        >>> import keras_ls as kls
        >>> prior = kls.losses.unigram_prior([0, 0, 0, 1, -1], num_classes=2, ignore_class=-1)
        >>> prior.tolist()
        [0.75, 0.25]
        >>> loss = kls.losses.SmoothedCrossentropy(0.1, prior=prior)

    Reference:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017.
    """
    num_classes = checked_count("num_classes", num_classes, minimum=2)
    ignore_class = checked_class("ignore_class", ignore_class)
    counts = np.zeros(num_classes)
    for labels, weight in _labels(data, steps):
        counts += _counts(labels, weight, num_classes, ignore_class)
    if not np.all(counts >= 0):
        raise ValueError(f"Expected dense targets and weights without negative numbers or NaN. Received: {counts}.")
    if counts.sum() <= 0:
        raise ValueError("Expected at least one label of positive weight. Received: none.")
    return counts / counts.sum()


def _labels(data, steps):
    """Yields `(labels, weight)` arrays; weight may be None."""
    if hasattr(data, "__array__") or (isinstance(data, list) and not (data and isinstance(data[0], tuple))):
        yield np.asarray(data), None
        return
    for _, labels, weight in Batches(data, "data", batch_size=None, steps=steps):
        yield np.asarray(labels), None if weight is None else np.asarray(weight)


def _counts(labels, weight, num_classes, ignore_class):
    if labels.ndim == 0 or labels.dtype.kind not in "biuf":
        raise ValueError(f"Expected labels as an array of numbers. Received: {labels!r}.")
    if labels.ndim > 1 and labels.shape[-1] == num_classes:
        rows = labels.reshape(-1, num_classes).astype("float64")
        if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
            return (rows * _flat_weight(weight, labels.shape[:-1])[:, None]).sum(axis=0)
    weight = _flat_weight(weight, labels.shape)
    labels = labels.reshape(-1)
    if ignore_class is not None:
        kept = labels != ignore_class
        labels, weight = labels[kept], weight[kept]
    wrong = (labels < 0) | (labels >= num_classes) | (labels != np.floor(labels))
    if wrong.any():
        raise ValueError(
            f"Expected integer labels in [0, {num_classes}), or rows of {num_classes} that sum to 1. "
            f"Received: {labels[wrong][0]}. "
            "Use `ignore_class` for examples without a label."
        )
    return np.bincount(labels.astype("int64"), weights=weight, minlength=num_classes)


def _flat_weight(weight, shape):
    """One weight a label, from weights of the first axes."""
    if weight is None:
        return np.ones(int(np.prod(shape)))
    weight = np.asarray(weight, "float64")
    if weight.ndim == len(shape) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
    return np.broadcast_to(weight, shape).reshape(-1)
