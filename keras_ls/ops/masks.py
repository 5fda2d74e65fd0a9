"""Masks and weights aligned with the values that they weigh."""

from keras import ops as K

from keras_ls.ops.float64 import divide_no_nan
from keras_ls.ops.precision import at_least_float32

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
