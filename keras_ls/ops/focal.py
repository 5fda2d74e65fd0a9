"""Focal cross-entropy, from integer labels."""

from keras import ops as K

from keras_ls.ops._backend import backward_inputs
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._inputs import align_labels, check_integer_labels
from keras_ls.ops._tensors import checked_logits
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core

FLSD_53 = "flsd-53"


def focal_crossentropy(labels: Tensor, logits: Tensor, gamma: float | str = 3.0, axis: int = -1) -> Tensor:
    """Focal cross-entropy, per example: `ℓ = -(1 - p_y)^γ log p_y`, with `p = softmax(z)`.

    Args:
        labels: integers, of the shape of `logits` without `axis` (or with 1 there).
        logits: `[..., K]`, or K along `axis`.
        gamma: γ >= 0, or "flsd-53": γ = 5 for examples with `p_y < 0.2` and 3 for the others.
        axis: the class axis.

    Returns:
        Nats, `[...]`, at least float32. The gradient is finite up to `p_y = 1`.

    Raises:
        ValueError: for another γ, dense labels, labels out of range, logits that are NaN or +inf.

    Examples:
        `(1 - ½)² log 2`:

        >>> import keras_ls as kls
        >>> round(float(kls.ops.focal_crossentropy([0], [[0.0, 0.0]], gamma=2.0)[0]), 4)
        0.1733

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", 2017; for calibration, and FLSD-53: Mukhoti et al.,
        "Calibrating Deep Neural Networks using Focal Loss", 2020.
    """
    gamma = checked_gamma(gamma)
    logits = checked_logits("logits", logits, axis)
    labels = align_labels(labels, logits, axis)
    if len(labels.shape) < len(logits.shape):
        check_integer_labels(labels, logits.shape[-1])
    return focal_core(labels, logits, gamma)


def focal_core(labels, logits, gamma):
    """`focal_crossentropy` of labels and logits that are aligned, classes last, and checked."""
    if len(labels.shape) == len(logits.shape):
        raise ValueError(
            f"Expected integer labels for the focal loss. Received: dense labels of shape {tuple(labels.shape)}. "
            "Take their argmax; mixed targets have no single p_y."
        )
    log_p = -crossentropy_core(labels, logits)
    if gamma == 0.0:
        return -log_p

    def parts(log_p):
        p = K.exp(log_p)
        power = K.where(p < 0.2, 5.0, 3.0) if gamma == FLSD_53 else gamma
        return p, power, K.power(-K.expm1(log_p), K.cast(power, log_p.dtype))

    @K.custom_gradient
    def focal(log_p):
        value = -parts(log_p)[2] * log_p

        def gradient(*args, upstream=None):
            upstream, (t,) = backward_inputs(args, upstream, (log_p,))
            p, power, focus = parts(t)
            # -log p / (1 - p) is 1 at p = 1, where the parts of the plain product rule are 0 and infinite
            nearly = K.cast(t > -1e-4, "bool")
            safe = K.where(nearly, -K.ones_like(t), K.maximum(t, -100.0))
            ratio = K.where(nearly, 1.0 - t / 2, safe / K.expm1(safe))
            return -upstream * focus * (1.0 + K.cast(power, t.dtype) * p * ratio)

        return value, gradient

    return focal(log_p)


def checked_gamma(gamma):
    """Returns γ as a float, or "flsd-53", or raises `ValueError`."""
    if isinstance(gamma, str) and gamma.lower() == FLSD_53:
        return FLSD_53
    if isinstance(gamma, str):
        raise ValueError(f'Expected `gamma` >= 0 or "{FLSD_53}". Received: {gamma!r}.')
    return checked_non_negative("gamma", gamma)
