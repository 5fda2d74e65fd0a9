"""Label smoothing: the smoothed target, and what a teacher's softness amounts to."""

import numpy as np
from keras import ops as K

from keras_ls.ops._inputs import LABELS_ADVICE, align_labels, check_integer_labels, checked_labels
from keras_ls.ops._tensors import as_tensor, checked_logits
from keras_ls.ops.checks import checked_count, checked_fraction, checked_positive, checked_prior
from keras_ls.ops.float64 import mean


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
    labels = as_tensor("labels", labels, LABELS_ADVICE)
    check_integer_labels(labels, num_classes)
    base = 1.0 / num_classes if prior is None else K.convert_to_tensor(prior.astype("float32"))
    return (1.0 - alpha) * K.one_hot(K.cast(labels, "int32"), num_classes) + alpha * base


def effective_smoothing(teacher_logits, labels, temperature=1.0, axis=-1):
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
