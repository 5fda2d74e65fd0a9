"""Cross-entropy of independent binary labels against smoothed targets."""

from keras import ops as K

from keras_ls.ops._inputs import check_binary_labels, same_shape
from keras_ls.ops._tensors import as_tensor, check_numbers
from keras_ls.ops.checks import as_fraction, checked_rates
from keras_ls.ops.precision import at_least_float32


def binary_smoothed_crossentropy(labels, logits, label_smoothing=0.0, prior=None):
    """Cross-entropy of independent binary labels against smoothed targets, per label.

    `ℓ = log(1 + e^z) - t z`, with the target `t = (1 - α) y + α u` and u = ½ or `prior`. It is
    `-t log σ(z) - (1 - t) log(1 - σ(z))`, without a logarithm of 0.

    Args:
        labels: `[..., L]` in [0, 1].
        logits: `[..., L]`.
        label_smoothing: α in [0, 1), a number or a scalar tensor.
        prior: rate of each label `[L]`, or one number for all; None for ½.

    Returns:
        Nats, `[..., L]`; at least float32.

    Raises:
        ValueError: for α, prior, labels or shapes that do not fit, logits that are not finite.

    Examples:
        t = .95 at p = .95 costs its entropy, `-.95 log .95 - .05 log .05`:

        >>> import math, keras_ls as kls
        >>> round(float(kls.ops.binary_smoothed_crossentropy([1.0], [math.log(19.0)], 0.1)[0]), 4)
        0.1985

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.
    """
    z = at_least_float32(as_tensor("logits", logits))
    check_numbers("logits", z, finite=True)
    labels = as_tensor("labels", labels)
    if len(labels.shape) != len(z.shape) or not same_shape(labels, z):
        raise ValueError(
            f"Expected one label a logit. Received: labels of shape {tuple(labels.shape)}, logits of shape "
            f"{tuple(z.shape)}. For one class out of several use SmoothedCrossentropy."
        )
    check_binary_labels(labels)
    return binary_core(labels, z, as_fraction("label_smoothing", label_smoothing, z.dtype), prior)


def binary_core(labels, z, label_smoothing=0.0, prior=None):
    """`binary_smoothed_crossentropy` of labels and logits of one shape that are checked."""
    labels, alpha = K.cast(labels, z.dtype), K.cast(label_smoothing, z.dtype)
    rate = 0.5 if prior is None else K.convert_to_tensor(checked_rates(prior, z.shape[-1]), z.dtype)
    inside = K.logical_and(labels >= 0, labels <= 1)  # NaN for a label that tracing hid from the check
    labels = K.where(inside, labels, K.full_like(labels, float("nan")))
    return K.softplus(z) - ((1.0 - alpha) * labels + alpha * rate) * z
