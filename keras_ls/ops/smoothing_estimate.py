"""What the logits of a trained network tell of the targets that it was trained with."""

from typing import Any, NamedTuple

from keras import ops as K

from keras_ls.ops._inputs import dropped, flatten_examples
from keras_ls.ops._tensors import as_tensor
from keras_ls.ops.checks import check_no_nan, check_some_weight, concrete
from keras_ls.ops.float64 import matmul, mean
from keras_ls.ops.precision import to_accumulation_dtype


class SmoothingEstimate(NamedTuple):
    """The label smoothing that a network seems to have been trained with.

    Attributes:
        label_smoothing: α that explains most of what the training has left; may be a little below 0.
        match: how well it does, a cosine in [-1, 1]: near 1 where the targets were smoothed evenly, lower for a
            training that is not finished, or of another loss.
    """

    label_smoothing: Any
    match: Any


def estimate_smoothing(logits, labels, sample_weight=None) -> SmoothingEstimate:
    """The label smoothing α of a network's training, from its logits on the data that it was trained on.

    Where training has ended, the gradient of the loss with respect to the last layer is 0, `mean_x (q - p) hᵀ = 0`,
    with the targets `q = (1 - α) y + α/K`: the residuals that remain of hard labels are those that smoothing asks for.
    Through the logits, which are linear in the features h, and with z centred over the classes:

    `A = mean_x (y - p) zᵀ = α B`, `B = mean_x (y - 1/K) zᵀ`

    α is the least-squares solution `⟨A, B⟩ / ⟨B, B⟩`, and `match = ⟨A, B⟩ / (‖A‖ ‖B‖)`. It needs no perfect fit of the
    targets, but the training data: on others the errors hide it.

    Args:
        logits: `[N, K]`, on training data.
        labels: integers `[N]`, or one-hot `[N, K]`.
        sample_weight: `[N]`, or None; the scale of the weights says nothing.

    Returns:
        `SmoothingEstimate` of scalars; float64 (float32 on JAX).

    Raises:
        ValueError: for shapes or labels that do not fit, and logits that are not finite.

    Examples:
        Logits of targets smoothed with .1: the gap is log(1 + 2 · .9/.1).

        >>> import math, keras_ls as kls
        >>> found = kls.ops.estimate_smoothing([[math.log(19.0), 0.0], [0.0, math.log(19.0)]], [0, 1])
        >>> round(float(found.label_smoothing), 4), round(float(found.match), 4)
        (0.1, 1.0)
    """
    labels, logits, weight = _examples(labels, logits, sample_weight)
    centered = logits - mean(logits, axis=-1)[:, None]
    share = (weight / K.sum(weight))[:, None] * centered
    left = matmul(K.transpose(labels - K.softmax(logits, axis=-1)), share)
    asked = matmul(K.transpose(labels - 1 / logits.shape[-1]), share)
    product, square = K.sum(left * asked), K.sum(asked * asked)
    _check_defined(square, "They are all equal, or too large to be squared.")
    return SmoothingEstimate(product / square, product / K.sqrt(K.sum(left * left) * square))


def wrong_logit_variance(logits, labels, sample_weight=None):
    """Variance between the logits of an example's wrong classes, over the squared gap to the label's: without scale.

    `mean_x var_{k≠y} z_k / mean_x (z_y - mean_{k≠y} z_k)²`. It is what a teacher tells beside the label: evenly
    smoothed targets ask for 0.

    Args:
        logits: `[N, K]`.
        labels: integers `[N]`, or one-hot `[N, K]`.
        sample_weight: `[N]`, or None; the scale of the weights says nothing.

    Returns:
        A scalar, at least 0; float64 (float32 on JAX).

    Raises:
        ValueError: as `estimate_smoothing`.

    Examples:
        Wrong logits ±1 have variance 1; the label's is 10 above their mean.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.wrong_logit_variance([[10.0, 1.0, -1.0]], [0])), 6)
        0.01

    Reference:
        Chandrasegaran et al., "Revisiting Label Smoothing and Knowledge Distillation Compatibility: What was Missing?",
        2022, on what smoothing erases between the wrong classes.
    """
    labels, logits, weight = _examples(labels, logits, sample_weight)
    wrong, count = 1 - labels, logits.shape[-1] - 1
    middle = K.sum(wrong * logits, axis=-1) / count
    variance = K.sum(wrong * K.square(logits - middle[:, None]), axis=-1) / count
    gap = K.sum(labels * logits, axis=-1) - middle
    squares = K.sum(weight * gap * gap)
    _check_defined(
        squares, "The label's lies on the mean of the others in every row, or they are too large to be squared."
    )
    return K.sum(weight * variance) / squares


def _examples(labels, logits, sample_weight):
    """One-hot labels, finite logits and weights, wide enough for sums."""
    logits = as_tensor("logits", logits)
    if len(logits.shape) != 2 or logits.shape[-1] < 2:
        raise ValueError(f"Expected `logits` [N, K] with K ≥ 2. Received: shape {tuple(logits.shape)}.")
    labels, logits, weight = flatten_examples(labels, logits, sample_weight)
    check_some_weight(weight)
    logits = to_accumulation_dtype(dropped(logits, weight[:, None]))
    check_no_nan("logits", logits - logits, "They must be finite: infinite logits (inf - inf) have no variance.")
    if len(labels.shape) == 1:
        labels = K.one_hot(K.cast(labels, "int32"), logits.shape[-1])
    return K.cast(labels, logits.dtype), logits, K.cast(weight, logits.dtype)


def _check_defined(square, why):
    known = concrete(square)
    if known is not None and not 0 < known < float("inf"):
        raise ValueError(f"Expected `logits` that differ. Received: a sum of squares of {known:g}. {why}")
