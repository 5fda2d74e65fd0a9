"""Cross-entropy against smoothed targets, with a gradient written by hand for integer labels."""

import math

import keras
from keras import ops as K

from keras_ls.ops._backend import at_least_float32, backward_inputs, compiled_by_xla, matmul, mean
from keras_ls.ops._checks import as_fraction, checked_prior, checked_rates, concrete
from keras_ls.ops._inputs import align_labels, check_binary_labels, checked_labels, pick_inside, same_shape
from keras_ls.ops._tensors import as_tensor, check_numbers, checked_logits
from keras_ls.ops._types import Tensor

FEW_CLASSES = 32  # up to here a few small operations on dense rows are faster than one softmax and a scattered number


def smoothed_crossentropy(
    labels: Tensor, logits: Tensor, label_smoothing: float | Tensor = 0.0, prior: Tensor | None = None, axis: int = -1
) -> Tensor:
    """Cross-entropy of logits against smoothed targets, per example; integer targets never become one-hot.

    `ℓ = -(1 - α) log p_y - α Σ_k u_k log p_k`, with `p = softmax(z)` and `u` uniform or `prior`. Its gradient
    `p - (1 - α) [k = y] - α u` is written by hand for integer labels: the forward pass keeps one tensor of the size of
    the logits, and the gradient takes its place.

    Args:
        labels: integers, of the shape of `logits` without `axis` (or with 1 there), or dense targets of the shape of
            `logits` (one-hot, mixed or soft).
        logits: `[..., K]`, or K along `axis`.
        label_smoothing: α in [0, 1), a number or a scalar tensor.
        prior: class distribution `[K]`; None for the uniform one.
        axis: the class axis.

    Returns:
        Nats, one an example: the shape of `logits` without `axis`; float32, or float64 for float64 logits.
        A label out of range is an error, in a TensorFlow graph when it runs; compiled by XLA it gives NaN.
        Where logits are -inf (a masked vocabulary) `u` is spread over the example's possible classes alone, and such
        a logit has a gradient of 0; a label that is not possible costs infinitely much.

    Raises:
        ValueError: for α, prior, labels or shapes that do not fit, logits that are NaN or +inf.

    Examples:
        The lowest reachable value for K=10, α=0.1 is the entropy of the target, 0.5003, at a logit gap of log 91.

        >>> import math, keras_ls as kls
        >>> logits = [[math.log(91.0)] + [0.0] * 9]
        >>> round(float(kls.ops.smoothed_crossentropy([0], logits, 0.1)[0]), 4)
        0.5003

    Reference:
        Szegedy et al., 2016; Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", 2019.
    """
    logits = checked_logits("logits", logits, axis)
    labels = checked_labels(align_labels(labels, logits, axis), logits)
    return crossentropy_core(labels, logits, as_fraction("label_smoothing", label_smoothing, logits.dtype), prior)


def crossentropy_core(labels, logits, label_smoothing=0.0, prior=None):
    """`smoothed_crossentropy` of labels and logits that are aligned, classes last, and checked."""
    num_classes = logits.shape[-1]
    prior = checked_prior(prior, num_classes)
    alpha = K.cast(label_smoothing, logits.dtype)
    if len(labels.shape) == len(logits.shape):
        return _dense_crossentropy(K.cast(labels, logits.dtype), logits, alpha, prior)
    labels = K.cast(labels, "int32")
    if len(logits.shape) == 2:
        return _integer_crossentropy(labels, logits, alpha, prior)
    flat = K.reshape(logits, (math.prod(K.shape(labels)), num_classes))  # not -1, which an empty batch leaves open
    return K.reshape(_integer_crossentropy(K.reshape(labels, K.shape(flat)[:1]), flat, alpha, prior), K.shape(labels))


def _dense_crossentropy(targets, logits, alpha, prior):
    log_p = K.log_softmax(logits, axis=-1)
    log_p_target = K.sum(zero_where_impossible(targets, log_p), axis=-1)
    return -(1.0 - alpha) * log_p_target - weighted(alpha, mean_of_possible(log_p, prior))


def mean_of_possible(x, weights=None):
    """`Σ_k u_k x_k` over the last axis, u uniform or `weights`, spread over the classes whose x_k is not -inf."""
    plain = _plain_mean(x, weights)
    return where_masked(is_masked(plain), lambda: _spread_mean(x, weights), lambda: plain)


def share_of_possible(x, weights=None):
    """`[..., K]`: uniform or `weights`, spread over the classes whose x_k is not -inf."""
    share = _weights_of_possible(x, weights)
    return share / K.sum(share, axis=-1, keepdims=True)


def _weights_of_possible(x, weights):
    possible = K.cast(x > -math.inf, x.dtype)
    return possible if weights is None else possible * K.convert_to_tensor(weights, dtype=x.dtype)


def is_masked(means):
    """Whether a mean over classes is -inf: a class that counts is not possible."""
    return K.any(means == -math.inf)


def where_masked(masked, spread, plain):
    """`spread()`, which takes more passes over the classes, where it is needed, else `plain()`."""
    known = concrete(masked)
    if known is None:
        return K.cond(masked, spread, plain)
    return spread() if known else plain()


def _plain_mean(x, weights):
    if weights is None:
        return mean(x, axis=-1)
    if K.is_tensor(weights):
        return K.sum(zero_where_impossible(weights, x), axis=-1)
    # a class that has no part in the prior may have a logit of -inf
    x = x if (weights > 0).all() else K.where(weights > 0, x, K.zeros_like(x))
    return matmul(x, K.convert_to_tensor(weights, dtype=x.dtype))


def _spread_mean(x, weights):
    # two sums rather than one of shares, which would be another tensor of the size of x
    kept = K.where(x > -math.inf, x, K.zeros_like(x))
    total = kept if weights is None else kept * K.convert_to_tensor(weights, dtype=x.dtype)
    return K.sum(total, axis=-1) / K.sum(_weights_of_possible(x, weights), axis=-1)


def _integer_crossentropy(labels, logits, alpha, prior):
    """`[M]` losses of `[M, K]` logits: `log Σ_k exp(z_k) - (1 - α) z_y - α Σ_k u_k z_k`, z relative to its largest."""
    num_classes = logits.shape[-1]
    inside = K.logical_and(labels >= 0, labels < num_classes)
    labels = K.where(inside, labels, K.zeros_like(labels))
    share_of_class = 1 / num_classes if prior is None else K.convert_to_tensor(prior, dtype=logits.dtype)

    def parts(z):
        top = K.max(z, axis=-1, initial=float("-inf"))  # of an empty batch, too
        p, log_total = _softmax(z, top)
        z_u = _plain_mean(z, prior)
        masked = is_masked(z_u)
        z_u = where_masked(masked, lambda: _spread_mean(z, prior), lambda: z_u)
        return p, log_total, pick_inside(z, labels) - top, z_u - top, masked

    @K.custom_gradient
    def losses(z, alpha):
        forward = parts(z)
        _, log_total, z_y, z_u, _ = forward
        value = log_total - (1.0 - alpha) * z_y - weighted(alpha, z_u)

        def gradient(*args, upstream=None):
            upstream, (inputs, share) = backward_inputs(args, upstream, (z, alpha))
            p, _, z_y, z_u, masked = forward if inputs is z else parts(inputs)
            # each step runs in place where the backend reuses buffers: no second tensor of this size
            if compiled_by_xla():  # which takes a pass for each sum, but none for what it can fuse with p
                room = where_masked(
                    masked,
                    lambda: K.sum(_weights_of_possible(inputs, prior), axis=-1),
                    lambda: K.full(K.shape(labels), num_classes if prior is None else 1.0, p.dtype),
                )
                u = K.expand_dims(share / room, -1) * (1.0 if prior is None else share_of_class)
                d = p - K.where(inputs > -math.inf, u, K.zeros_like(p))
            else:
                d = where_masked(
                    masked,
                    lambda: p - share * share_of_possible(inputs, prior),
                    lambda: p - share * share_of_class,
                )
            d = subtract_at(d, labels, 1.0 - share) * K.expand_dims(upstream, -1)
            return d, K.sum(upstream * (z_y - z_u))

        return value, gradient

    # NaN, in the gradient too, for a label that tracing hid from the checks
    return losses(logits, alpha) * K.where(inside, K.ones((), logits.dtype), K.full((), float("nan"), logits.dtype))


def _softmax(z, top):
    """`p = softmax(z)` and `log Σ_k exp(z_k - top)`, with `top` the largest logit."""
    if compiled_by_xla() or z.shape[-1] <= FEW_CLASSES:
        e = K.exp(z - K.expand_dims(top, -1))
        total = K.sum(e, axis=-1)
        return e / K.expand_dims(total, -1), K.log(total)
    # one kernel instead of four; the largest p is exp(0) / total, at least 1/K, so that no digits are lost
    p = K.softmax(z, axis=-1)
    largest = K.max(p, axis=-1, initial=0.0)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.control_dependencies([largest]):  # while it is read, nothing else can take the place of p
            p = tf.identity(p)
    return p, -K.log(largest)


def subtract_at(x, labels, value):
    """`x[i, labels[i]] - value` in the place of `x[i, labels[i]]`, without a copy of `x` where it can be had."""
    # XLA makes one loop of the dense form, and would copy x to scatter into it
    if compiled_by_xla() or x.shape[-1] <= FEW_CLASSES:
        return x - value * K.one_hot(labels, x.shape[-1], dtype=x.dtype)
    index = K.stack([K.arange(K.shape(x)[0], dtype="int32"), labels], axis=-1)
    values = K.broadcast_to(value, K.shape(labels))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # tf.tensor_scatter_nd_add copies x on a CPU; this one has no XLA kernel
        return tf.raw_ops.ScatterNdNonAliasingAdd(input=x, indices=index, updates=-values)
    return K.scatter_update(x, index, pick_inside(x, labels) - values)


def weighted(alpha, values):
    """`alpha · values`, with 0 · ±∞ = 0: without smoothing, a class of logit -∞ does no harm."""
    alpha = K.cast(alpha, values.dtype)
    return K.where(alpha > 0, alpha * values, K.zeros_like(values))


def zero_where_impossible(weights, log_p):
    """`weights · log_p`, with 0 · log 0 = 0: no weight on a class means that its log-probability does not count."""
    counts = weights != 0
    return K.where(counts, weights * K.where(counts, log_p, K.zeros_like(log_p)), K.zeros_like(log_p))


def binary_smoothed_crossentropy(
    labels: Tensor, logits: Tensor, label_smoothing: float | Tensor = 0.0, prior: Tensor | None = None
) -> Tensor:
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
        t = 0.95 at p = 0.95 costs its entropy, `-0.95 log 0.95 - 0.05 log 0.05`:

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
