"""Divergences between softmax distributions given as logits, per example, through log-softmax throughout."""

import math

from keras import ops as K

from keras_ls.ops._tensors import checked_features, checked_logit_pair
from keras_ls.ops.checks import as_positive, check_same_shape, checked_flag
from keras_ls.ops.softening import softened


def kl_divergence(
    teacher_logits, student_logits, temperature=1.0, student_temperature=None, standardize=False, axis=-1
):
    """`KL(softmax(z_t / T) ‖ softmax(z_s / T_s))`, per example.

    Nothing is clipped, so a true divergence of thousands of nats is returned as such and keeps its gradient.

    Args:
        teacher_logits: `[..., K]`, or K along `axis`.
        student_logits: of the same shape.
        temperature: T > 0, a number or a scalar tensor.
        student_temperature: T_s > 0, likewise; None for T.
        standardize: whether each logit vector first gets mean 0 and standard deviation 1, as by `standardize_logits`.
        axis: the class axis.

    Returns:
        Nats, of the shape of the logits without `axis`; at least float32.

    Raises:
        ValueError: for a temperature that is not above 0, logits of two shapes, NaN or +inf.

    Examples:
        `KL((.5, .5) ‖ (.25, .75)) = ½ log 2 + ½ log ⅔ = 0.1438`.

        >>> import math, keras_ls as kls
        >>> round(float(kls.ops.kl_divergence([[0.0, 0.0]], [[0.0, math.log(3.0)]])[0]), 4)
        0.1438

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    return kl_core(*_checked(teacher_logits, student_logits, temperature, student_temperature, standardize, axis))


def kl_core(teacher_logits, student_logits, temperature=1.0, student_temperature=None, standardize=False):
    """`kl_divergence` of checked logits of one dtype, classes last."""
    return _relative_entropy(
        *_log_probabilities(teacher_logits, student_logits, temperature, student_temperature, standardize)
    )


def jensen_shannon_divergence(
    teacher_logits, student_logits, temperature=1.0, student_temperature=None, standardize=False, axis=-1
):
    """`½ KL(p_t ‖ m) + ½ KL(p_s ‖ m)` with `m = ½ (p_t + p_s)`, per example; `p` as in `kl_divergence`.

    Symmetric, and at most log 2: one example on which teacher and student disagree cannot rule the batch.

    Args:
        teacher_logits: `[..., K]`, or K along `axis`.
        student_logits: of the same shape.
        temperature: T > 0, a number or a scalar tensor.
        student_temperature: T_s > 0, likewise; None for T.
        standardize: whether each logit vector first gets mean 0 and standard deviation 1, as by `standardize_logits`.
        axis: the class axis.

    Returns:
        Nats, of the shape of the logits without `axis`, in [0, log 2]; at least float32.

    Raises:
        ValueError: for a temperature that is not above 0, logits of two shapes, NaN or +inf.

    Examples:
        Two that agree on nothing: log 2.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.jensen_shannon_divergence([[500.0, 0.0]], [[0.0, 500.0]])[0]), 4)
        0.6931

    Reference:
        Lin, "Divergence Measures Based on the Shannon Entropy", 1991.
    """
    return jensen_shannon_core(
        *_checked(teacher_logits, student_logits, temperature, student_temperature, standardize, axis)
    )


def jensen_shannon_core(teacher_logits, student_logits, temperature=1.0, student_temperature=None, standardize=False):
    """`jensen_shannon_divergence` of checked logits of one dtype, classes last."""
    log_t, log_s = _log_probabilities(teacher_logits, student_logits, temperature, student_temperature, standardize)
    # a class that both rule out: log 0 - log 0 has no value, nor a gradient
    finite_t, finite_s = (K.where(log_p == -math.inf, K.full_like(log_p, -1e30), log_p) for log_p in (log_t, log_s))
    # Keras's logaddexp computes in float32 on PyTorch
    larger = K.stop_gradient(K.maximum(finite_t, finite_s))
    log_m = larger + K.log((K.exp(finite_t - larger) + K.exp(finite_s - larger)) / 2)
    return (_relative_entropy(log_t, log_m) + _relative_entropy(log_s, log_m)) / 2


def binary_kl_divergence(teacher_logits, student_logits, temperature=1.0, student_temperature=None):
    """`KL(Bernoulli(σ(z_t / T)) ‖ Bernoulli(σ(z_s / T_s)))`, per label.

    Args:
        teacher_logits: of any shape, one an independent label.
        student_logits: of the same shape.
        temperature: T > 0, a number or a scalar tensor.
        student_temperature: T_s > 0, likewise; None for T.

    Returns:
        Nats, of the shape of the logits; at least float32.

    Raises:
        ValueError: for a temperature that is not above 0, logits of two shapes, or that are not finite.

    Examples:
        `KL((.5, .5) ‖ (.25, .75)) = ½ log 2 + ½ log ⅔ = 0.1438`.

        >>> import math, keras_ls as kls
        >>> round(float(kls.ops.binary_kl_divergence([0.0], [math.log(3.0)])[0]), 4)
        0.1438

    Reference:
        Yang et al., "Multi-Label Knowledge Distillation", 2023.
    """
    teacher, student = (
        checked_features("teacher_logits", teacher_logits),
        checked_features("student_logits", student_logits),
    )
    check_same_shape(teacher, student)
    temperature = as_positive("temperature", temperature, student.dtype)
    if student_temperature is not None:
        student_temperature = as_positive("student_temperature", student_temperature, student.dtype)
    return binary_kl_core(K.cast(teacher, student.dtype), student, temperature, student_temperature)


def binary_kl_core(teacher_logits, student_logits, temperature=1.0, student_temperature=None):
    """`binary_kl_divergence` of checked logits of one dtype."""
    # softmax([0, z]) is (1 - σ(z), σ(z))
    teacher, student = (K.stack([K.zeros_like(z), z], axis=-1) for z in (teacher_logits, student_logits))
    return kl_core(teacher, student, temperature, student_temperature)


def _checked(teacher_logits, student_logits, temperature, student_temperature, standardize, axis):
    standardize = checked_flag("standardize", standardize)
    teacher, student = checked_logit_pair(teacher_logits, student_logits, axis, finite=standardize)
    temperature = as_positive("temperature", temperature, student.dtype)
    if student_temperature is not None:
        student_temperature = as_positive("student_temperature", student_temperature, student.dtype)
    return teacher, student, temperature, student_temperature, standardize


def _log_probabilities(teacher_logits, student_logits, temperature, student_temperature, standardize):
    teacher = softened(teacher_logits, temperature, standardize)
    student = softened(student_logits, temperature if student_temperature is None else student_temperature, standardize)
    return K.log_softmax(teacher, axis=-1), K.log_softmax(student, axis=-1)


def _relative_entropy(log_p, log_q):
    """`Σ_k p_k (log p_k - log q_k)`."""
    p = K.exp(log_p)
    possible = p > 0  # 0 · (log 0 - …) = 0, also where a logit is -inf
    difference = K.where(possible, log_p, K.zeros_like(log_p)) - K.where(possible, log_q, K.zeros_like(log_q))
    return K.sum(p * difference, axis=-1)
