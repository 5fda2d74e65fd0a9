"""Label smoothing: the smoothed target, and what a teacher's softness amounts to."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops as K

from keras_ls.ops._backend import matmul, mean, to_accumulation_dtype
from keras_ls.ops._checks import (
    check_no_nan,
    check_some_weight,
    checked_count,
    checked_fraction,
    checked_positive,
    checked_prior,
    concrete,
)
from keras_ls.ops._inputs import (
    LABELS_ADVICE,
    align_labels,
    check_integer_labels,
    checked_labels,
    dropped,
    flatten_examples,
)
from keras_ls.ops._tensors import as_tensor, checked_logits
from keras_ls.ops._types import Tensor


def smooth_labels(
    labels: Tensor, num_classes: int, label_smoothing: float | Tensor, prior: Tensor | None = None
) -> Tensor:
    """Smoothed target distributions from integer labels.

    `q_k = (1 - α) [k = y] + α u_k`, with `u` uniform (`1/K`) or `prior`.

    Args:
        labels: integers in [0, num_classes), any shape.
        num_classes: K.
        label_smoothing: α in [0, 1).
        prior: class distribution `[K]`; None for the uniform one.

    Returns:
        float32 tensor of shape `labels.shape + [K]`; each row sums to 1.

    Raises:
        ValueError: for labels or α out of range, or a prior that is not a distribution over K classes.

    Examples:
        >>> import keras_ls as kls
        >>> [round(float(q), 3) for q in kls.ops.smooth_labels([2], num_classes=4, label_smoothing=0.1)[0]]
        [0.025, 0.025, 0.925, 0.025]

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.
    """
    alpha = checked_fraction("label_smoothing", label_smoothing)
    num_classes = checked_count("num_classes", num_classes)
    prior = checked_prior(prior, num_classes)
    labels = as_tensor("labels", labels, LABELS_ADVICE)
    check_integer_labels(labels, num_classes)
    base = 1.0 / num_classes if prior is None else K.convert_to_tensor(prior.astype("float32"))
    return (1.0 - alpha) * K.one_hot(K.cast(labels, "int32"), num_classes) + alpha * base


def effective_smoothing(teacher_logits: Tensor, labels: Tensor, temperature: float = 1.0, axis: int = -1) -> Tensor:
    """The label smoothing γ that a teacher's predictions amount to.

    `γ = mean_x Σ_k (1 - y_k) p_k(T) · K/(K-1)`, with `p(T) = softmax(z / T)`. A teacher that met its smoothed targets
    exactly has γ = α.

    Args:
        teacher_logits: `[..., K]`, or K along `axis`.
        labels: integers, of the shape of the logits without `axis`, or dense targets of their shape.
        temperature: T > 0.
        axis: the class axis.

    Returns:
        γ, a scalar tensor in [0, K/(K-1)].

    Raises:
        ValueError: for T, labels or shapes that do not fit, logits that are NaN or +inf, and no examples.

    Examples:
        A uniform prediction leaves nothing of the label: γ = 1.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.effective_smoothing([[0.0, 0.0, 0.0, 0.0]], [1])), 6)
        1.0

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 4, 2019.
    """
    temperature = checked_positive("temperature", temperature)
    logits = checked_logits("teacher_logits", teacher_logits, axis)
    if 0 in logits.shape:
        raise ValueError(f"Expected at least one example. Received: teacher_logits of shape {tuple(logits.shape)}.")
    labels = checked_labels(align_labels(labels, logits, axis), logits)
    return mean(smoothing_of_examples(logits, labels, temperature))


def smoothing_of_examples(logits, labels, temperature=1.0):
    """`Σ_k (1 - y_k) p_k(T) · K/(K-1)` of each example, whose mean is γ; NaN for a label that is no class.

    Args:
        logits: `[M, K]`, at least float32.
        labels: integers `[M]`, or dense targets `[M, K]`.
        temperature: T > 0.

    Returns:
        `[M]`.
    """
    p = K.softmax(logits / temperature, axis=-1)
    scale = p.shape[-1] / (p.shape[-1] - 1)
    if len(labels.shape) == len(p.shape):
        return scale * K.sum((1.0 - K.cast(labels, p.dtype)) * p, axis=-1)
    # summed over the wrong classes: 1 - p_y would lose a confident teacher's γ in the rounding of p_y
    labels = K.cast(labels, "int32")
    wrong_mass = K.sum((1.0 - K.one_hot(labels, p.shape[-1], dtype=p.dtype)) * p, axis=-1)
    inside = K.logical_and(labels >= 0, labels < p.shape[-1])
    return K.where(inside, scale * wrong_mass, K.full_like(wrong_mass, np.nan))


class SmoothingEstimate(NamedTuple):
    """The label smoothing that a network seems to have been trained with.

    Attributes:
        label_smoothing: α that explains most of what the training has left; may be a little below 0.
        match: how well it does, a cosine in [-1, 1]: near 1 where the targets were smoothed evenly, lower for a
            training that is not finished, or of another loss.
    """

    label_smoothing: Any
    match: Any


def estimate_smoothing(logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> SmoothingEstimate:
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
        Logits of targets smoothed with 0.1: the gap is log(1 + 2 · 0.9/.1).

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


def wrong_logit_variance(logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
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
