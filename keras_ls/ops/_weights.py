"""Masks and sample weights: which examples count, and for how many."""

import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32, divide_no_nan, to_accumulation_dtype

try:  # JAX arrays cannot carry attributes: Keras keeps their masks in a table
    from keras.src.backend import get_keras_mask
except ImportError:

    def get_keras_mask(x):
        """Returns the Keras mask that `x` carries, or None."""
        return getattr(x, "_keras_mask", None)


def align_leading(weight, values):
    """`weight` with the rank of `values`: leading axes match, missing trailing ones are broadcast.

    A trailing axis of length 1 too many is dropped, as Keras does.
    """
    weight = K.convert_to_tensor(weight)
    rank = len(values.shape)
    if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
        weight = K.squeeze(weight, axis=-1)
    while len(weight.shape) < rank:
        weight = K.expand_dims(weight, -1)
    fits = all(a is None or b is None or a in (1, b) for a, b in zip(weight.shape, values.shape))
    if len(weight.shape) != rank or not fits:
        raise ValueError(
            f"Expected `sample_weight` or mask broadcastable to {tuple(values.shape)} from its leading axes. "
            f"Received: shape {tuple(weight.shape)}."
        )
    return weight


def is_not_ignored(labels, ignore_class):
    """Where labels are others than `ignore_class`.

    Compared in floating point: in the labels' own dtype -1 may be 255 (uint8) or True (bool).
    """
    return at_least_float32(labels) != ignore_class


def zero_where_dropped(x, keep, axis=-1):
    """`x` with zeros where `keep` is False, so that padding (even NaN) reaches neither value nor gradient.

    `keep` has the shape of `x`, of `x` without its class axis `axis`, or of its first axes.
    """
    if len(keep.shape) == len(x.shape) - 1:
        keep = K.expand_dims(keep, axis)
    return K.where(align_leading(keep, x), x, K.zeros_like(x))


def over_leading(keep, rank):
    """A mask over the first `rank` axes at most, or None: what stands there is kept when any of it is."""
    if keep is None or len(keep.shape) <= rank:
        return keep
    return K.any(keep, axis=tuple(range(rank, len(keep.shape))))


def mean_over_trailing(weight, keep, rank):
    """Weights over the first `rank` axes at most, or None: of more axes the mean, over what `keep` (or None) keeps."""
    if weight is None:
        return None
    weight = at_least_float32(K.convert_to_tensor(weight))
    if len(weight.shape) <= rank or (len(weight.shape) == rank + 1 and weight.shape[-1] == 1):
        return weight
    axes = tuple(range(rank, len(weight.shape)))
    if keep is None or len(keep.shape) <= rank:
        return K.mean(weight, axis=axes)
    keep = K.cast(align_leading(keep, weight), weight.dtype)
    return divide_no_nan(K.sum(weight * keep, axis=axes), K.sum(K.broadcast_to(keep, K.shape(weight)), axis=axes))


def are_counts(weight, axis=None):
    """Whether all weights are whole numbers; over `axis`, or over all."""
    return K.all(weight == K.floor(weight), axis=axis)


def number_of_examples(weight, axis=None):
    """How many examples the weights stand for: their sum where all are whole, else how many are above 0."""
    weight = to_accumulation_dtype(weight)
    above = K.sum(to_accumulation_dtype(weight > 0), axis=axis)
    return K.where(are_counts(weight, axis), K.sum(weight, axis=axis), above)


def to_counts(weight):
    """The weights in examples: whole ones as they are, others scaled so as to sum to how many are above 0."""
    weight = to_accumulation_dtype(weight)
    share = divide_no_nan(weight, K.max(weight))  # of equal weights 1, which no sum rounds
    above = K.sum(to_accumulation_dtype(weight > 0))
    return K.where(are_counts(weight), weight, share * divide_no_nan(above, K.sum(share)))


def to_effective_counts(weight):
    """NumPy weights in examples, for a variance: whole ones as they are, others summing to their `effective_size`."""
    weight = np.asarray(weight, "float64")
    if (weight == np.floor(weight)).all():
        return weight
    share = weight / weight.max()  # of equal weights 1, which no sum rounds
    return share * (share.sum() / np.square(share).sum())


def effective_size(total, squares):
    """Kish's effective sample size `(Σ w)² / Σ w²`: of equal weights their number. 0 where there is none.

    NaN where the squares are too large or too small for their dtype.
    """
    size = divide_no_nan(total * total, squares)
    lost = K.logical_or(K.logical_and(total > 0, squares == 0), squares == float("inf"))
    return K.where(lost, K.full_like(size, float("nan")), size)


def weight_totals(weight, axis=None):
    """`[3, ...]`: how many weights are above 0, how many are no whole number, and the sum of the squares.

    They add up over batches, and tell afterwards what the weights counted for: `examples_of_totals`.
    """
    weight = to_accumulation_dtype(weight)
    above, broken = (to_accumulation_dtype(x) for x in (weight > 0, weight != K.floor(weight)))
    return K.stack([K.sum(x, axis=axis) for x in (above, broken, weight * weight)])


def examples_of_totals(totals, weight):
    """`(examples, counts)`: `number_of_examples` and `are_counts` of weights of this sum and `weight_totals`."""
    counts = totals[1] == 0
    return K.where(counts, weight, totals[0]), counts
