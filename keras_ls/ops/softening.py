"""What is done to logits before a softmax compares them: a temperature, and standardization."""

from keras import ops as K

from keras_ls.ops._tensors import checked_logit_pair, checked_logits
from keras_ls.ops.checks import checked_flag
from keras_ls.ops.float64 import mean
from keras_ls.ops.precision import at_least_float32, few_epsilons


def standardize_logits(logits, axis=-1):
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


def squared_logit_error(teacher_logits, student_logits, center=False, standardize=False, axis=-1):
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
