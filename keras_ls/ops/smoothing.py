"""Label smoothing: the smoothed target, what a teacher's softness amounts to, and labels aligned with predictions."""

import numpy as np
from keras import ops as K

from keras_ls.ops.checks import (
    check_integer_labels,
    check_no_nan,
    checked_count,
    checked_fraction,
    checked_positive,
    checked_prior,
)
from keras_ls.ops.float64 import mean
from keras_ls.ops.precision import at_least_float32


def smooth_labels(labels, num_classes, label_smoothing, prior=None):
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
    labels = K.convert_to_tensor(labels)
    check_integer_labels(labels, num_classes)
    base = 1.0 / num_classes if prior is None else K.convert_to_tensor(prior.astype("float32"))
    return (1.0 - alpha) * K.one_hot(K.cast(labels, "int32"), num_classes) + alpha * base


def effective_smoothing(teacher_logits, labels, temperature=1.0):
    """The label smoothing γ that a teacher's predictions amount to.

    `γ = mean_x Σ_k (1 - y_k) p_k(T) · K/(K-1)`, with `p(T) = softmax(z / T)`. A teacher that met its smoothed targets
    exactly has γ = α.

    Args:
        teacher_logits: `[N, K]`.
        labels: integers `[N]`, or dense targets `[N, K]`.
        temperature: T > 0.

    Returns:
        γ, a scalar tensor in [0, K/(K-1)].

    Raises:
        ValueError: for T, labels or shapes that do not fit.

    Examples:
        A uniform prediction leaves nothing of the label: γ = 1.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.effective_smoothing([[0.0, 0.0, 0.0, 0.0]], [1])), 6)
        1.0

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 4, 2019.
    """
    temperature = checked_positive("temperature", temperature)
    logits = at_least_float32(teacher_logits)
    num_classes = logits.shape[-1]
    if 0 in logits.shape:
        raise ValueError(f"Expected at least one example. Received: teacher_logits of shape {tuple(logits.shape)}.")
    check_no_nan("teacher_logits", logits, "Was the teacher trained to a NaN loss?")
    labels = align_labels(labels, logits)
    if len(labels.shape) < len(logits.shape):
        check_integer_labels(labels, num_classes)
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


def classes_last(predictions, axis):
    """`predictions` with the class axis moved to the end."""
    rank = len(predictions.shape)
    if not -rank <= axis < rank:
        raise ValueError(
            f"Expected `axis`, where the classes are, to be an axis of the predictions. Received: axis={axis}, "
            f"predictions of shape {tuple(predictions.shape)}."
        )
    return predictions if axis in (-1, len(predictions.shape) - 1) else K.moveaxis(predictions, axis, -1)


def align_labels(labels, predictions, axis=-1):
    """Integer labels of the rank of `predictions` less one, or dense ones with the classes last; else an error.

    `predictions` have their classes last already; `axis` is where dense labels, or a trailing 1, have theirs.
    """
    labels = K.convert_to_tensor(labels)
    rank = len(predictions.shape)
    if predictions.shape[-1] is not None and predictions.shape[-1] < 2:
        raise ValueError(
            f"Expected predictions over at least two classes. Received shape: {tuple(predictions.shape)}. "
            "For one logit an example, stack it with a zero: softmax([0, z]) is sigmoid(z)."
        )
    if len(labels.shape) == rank:
        labels = labels if axis in (-1, rank - 1) else K.moveaxis(labels, axis, -1)
        if labels.shape[-1] == 1:
            labels = K.squeeze(labels, axis=-1)
    expected = tuple(predictions.shape)[: len(labels.shape)]
    known = all(a is None or b is None or a == b for a, b in zip(labels.shape, expected))
    if len(labels.shape) not in (rank, rank - 1) or not known:
        raise ValueError(
            "Expected integer labels of the predictions' shape without the class axis, or dense labels of their whole "
            f"shape. Received: labels of shape {tuple(labels.shape)}, predictions of shape {tuple(predictions.shape)} "
            "(classes last)."
        )
    return labels


def pick(values, labels):
    """`values[..., labels]`; NaN where a label lies outside the classes and tracing hid it from the checks."""
    num_classes = values.shape[-1]
    labels = K.cast(labels, "int32")
    inside = K.logical_and(labels >= 0, labels < num_classes)
    picked = pick_inside(values, K.where(inside, labels, K.zeros_like(labels)))
    return K.where(inside, picked, K.full_like(picked, np.nan))


def pick_inside(values, labels):
    """`values[..., labels]` of int32 labels that are known to be classes."""
    return K.squeeze(K.take_along_axis(values, K.expand_dims(labels, -1), axis=-1), axis=-1)
