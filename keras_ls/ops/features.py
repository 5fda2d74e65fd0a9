"""Features of one example compared: their direction, and where a network looks."""

import math

from keras import ops as K

from keras_ls.ops._checks import checked_positive
from keras_ls.ops._inputs import same_shape
from keras_ls.ops._tensors import checked_features
from keras_ls.ops._types import Tensor


def attention_map(features: Tensor, power: float = 2) -> Tensor:
    """The share of each position in the activity of an example, as a vector of length 1.

    `a = q / ‖q‖₂`, with `q_i = Σ_c |A_ic|^p` over the channels at position i. An example without activity gives zeros.

    Args:
        features: `[N, ..., C]`: channels last, one or more axes of positions.
        power: p from 1 to 100; below, zeros of a ReLU would have an infinite gradient.

    Returns:
        `[N, P]`, P the number of positions; at least float32.

    Raises:
        ValueError: for features without positions or that are not finite, and a power out of range.

    Examples:
        Two positions with the activities 3 and 4:

        >>> import keras_ls as kls
        >>> [round(float(a), 4) for a in kls.ops.attention_map([[[1.0, -1.0, 1.0], [2.0, 0.0, 0.0]]])[0]]
        [0.6, 0.8]

    Reference:
        Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017.
    """
    return attention_core(checked_features("features", features), power)


def attention_core(features, power=2):
    """`attention_map` of checked features."""
    power = checked_positive("power", power)
    if not 1 <= power <= 100:
        raise ValueError(
            f"Expected `power` from 1 to 100. Received: {power:g}. Below, zeros have an infinite gradient; above, "
            "numbers overflow."
        )
    if len(features.shape) < 3:
        raise ValueError(
            "Expected features [N, ..., C] with axes of positions between examples and channels. "
            f"Received: shape {tuple(features.shape)}. Take them from a layer before the pooling."
        )
    activity = K.sum(K.square(features) if power == 2 else K.power(K.abs(features), power), axis=-1)
    examples, *positions = K.shape(activity)
    return unit(K.reshape(activity, (examples, math.prod(positions))))


def cosine_distance(x: Tensor, y: Tensor) -> Tensor:
    """One minus the cosine of the angle between x and y: `1 - x·y / (‖x‖ ‖y‖)`; the cosine with zeros is 0.

    Args:
        x: `[..., D]`.
        y: of the same shape.

    Returns:
        `[...]`, in [0, 2]; at least float32.

    Raises:
        ValueError: for features of two shapes, or that are not finite.

    Examples:
        >>> import keras_ls as kls
        >>> [float(d) for d in kls.ops.cosine_distance([[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 3.0]])]
        [0.0, 1.0]
    """
    x, y = checked_features("x", x), checked_features("y", y)
    if len(x.shape) == 0 or len(x.shape) != len(y.shape) or not same_shape(x, y):
        raise ValueError(
            f"Expected `x` and `y` [..., D] of one shape. Received: {tuple(x.shape)} and {tuple(y.shape)}."
        )
    return cosine_core(x, K.cast(y, x.dtype))


def cosine_core(x, y):
    """`cosine_distance` of checked features of one shape."""
    x, y = unit(x), unit(y)
    return 1 - K.sum(x * y, axis=-1)


def unit(x):
    """Vectors of the last axis with length 1; zeros stay zeros."""
    top = K.max(K.abs(x), axis=-1, keepdims=True)  # whose square may be more than a float32 holds
    x = x / K.stop_gradient(K.where(top == 0, K.ones_like(top), top))
    square = K.sum(K.square(x), axis=-1, keepdims=True)
    return x / K.sqrt(K.where(square == 0, K.ones_like(square), square))
