"""Divergences between softened predictions, and the standardized and squared-error forms of logits."""

import math

from keras import ops as K

from keras_ls.ops._backend import at_least_float32, few_epsilons, mean
from keras_ls.ops._checks import as_positive, check_same_shape, checked_flag
from keras_ls.ops._tensors import checked_features, checked_logit_pair, checked_logits
from keras_ls.ops._types import Tensor


def kl_divergence(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    student_temperature: float | Tensor | None = None,
    standardize: bool = False,
    axis: int = -1,
) -> Tensor:
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
        `KL((0.5, 0.5) ‖ (0.25, 0.75)) = ½ log 2 + ½ log ⅔ = 0.1438`.

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
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    student_temperature: float | Tensor | None = None,
    standardize: bool = False,
    axis: int = -1,
) -> Tensor:
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


def binary_kl_divergence(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    student_temperature: float | Tensor | None = None,
) -> Tensor:
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
        `KL((0.5, 0.5) ‖ (0.25, 0.75)) = ½ log 2 + ½ log ⅔ = 0.1438`.

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


def standardize_logits(logits: Tensor, axis: int = -1) -> Tensor:
    """Each logit vector with mean 0 and standard deviation 1.

    `Z(z) = (z - mean z) / σ(z)`, with `σ² = 1/K Σ_k (z_k - mean z)²`. Logits that are all equal give zeros. The
    authors' code divides by K - 1 in σ² and adds 1e-7 to σ; the formula here is the paper's.

    Args:
        logits: `[..., K]`, or K along `axis`.
        axis: the class axis.

    Returns:
        The shape of `logits`, at least float32.

    Raises:
        ValueError: for logits that are not finite.

    Examples:
        >>> import keras_ls as kls
        >>> [float(z) for z in kls.ops.standardize_logits([[5.0, 9.0, 5.0, 9.0]])[0]]
        [-1.0, 1.0, -1.0, 1.0]

    Reference:
        Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
    """
    logits = standardized(checked_logits("logits", logits, axis, finite=True))
    return logits if axis == -1 else K.moveaxis(logits, -1, axis)


def standardized(logits):
    """`standardize_logits` of checked logits, classes last."""
    centered = center_logits(logits)
    variance = _row_mean(centered * centered)
    # but for rounding, which must not be blown up to a deviation of 1; NaN is not equal
    equal = variance <= few_epsilons(logits) ** 2 * _row_mean(logits * logits)
    return K.where(equal, K.zeros_like(logits), centered / K.sqrt(K.where(equal, K.ones_like(variance), variance)))


def center_logits(logits):
    """Each logit vector less its mean: `z - 1/K Σ_k z_k`."""
    return logits - _row_mean(logits)


def squared_logit_error(
    teacher_logits: Tensor, student_logits: Tensor, center: bool = False, standardize: bool = False, axis: int = -1
) -> Tensor:
    """`½ Σ_k (z_s - z_t)_k²`, per example.

    Args:
        teacher_logits: `[..., K]`.
        student_logits: `[..., K]`.
        center: whether each logit vector first gets mean 0, as the softmax does not see its mean.
        standardize: whether it first gets mean 0 and standard deviation 1.
        axis: the class axis.

    Returns:
        Squared units of logits, of the shape of the logits without `axis`; at least float32.

    Raises:
        ValueError: for logits that are not finite, or of two shapes.

    Examples:
        >>> import keras_ls as kls
        >>> float(kls.ops.squared_logit_error([[1.0, 2.0]], [[2.0, 4.0]])[0])  # ½ (1² + 2²)
        2.5
        >>> float(kls.ops.squared_logit_error([[1.0, 2.0]], [[2.0, 4.0]], center=True)[0])  # ½ (½² + ½²)
        0.25

    Reference:
        Ba and Caruana, "Do Deep Nets Really Need to Be Deep?", 2014.
    """
    center, standardize = checked_flag("center", center), checked_flag("standardize", standardize)
    teacher, student = checked_logit_pair(teacher_logits, student_logits, axis, finite=True)
    return squared_error_core(teacher, student, center, standardize)


def squared_error_core(teacher_logits, student_logits, center=False, standardize=False):
    """`squared_logit_error` of checked logits of one dtype, classes last."""
    form = standardized if standardize else center_logits if center else at_least_float32
    return K.sum(K.square(form(student_logits) - form(teacher_logits)), axis=-1) / 2


def softened(logits, temperature=1.0, standardize=False):
    """Checked logits over T, a number or a scalar tensor; standardized first if asked."""
    return (standardized(logits) if standardize else logits) / K.cast(temperature, logits.dtype)


def _row_mean(x):
    return mean(x, axis=-1)[..., None]
