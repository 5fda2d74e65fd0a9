"""What is done to logits before a softmax compares them: a temperature, and standardization."""

from keras import ops as K

from keras_ls.ops.checks import checked_positive
from keras_ls.ops.float64 import mean
from keras_ls.ops.precision import at_least_float32, few_epsilons


def standardize_logits(logits):
    """Each logit vector with mean 0 and standard deviation 1.

    `Z(z) = (z - mean z) / σ(z)`, with `σ² = 1/K Σ_k (z_k - mean z)²`. Logits that are all equal give zeros. The
    authors' code divides by K - 1 in σ² and adds 1e-7 to σ; the formula here is the paper's.

    Args:
        logits: `[..., K]`.

    Returns:
        `[..., K]`, at least float32.

    Examples:
        >>> import keras_ls as kls
        >>> [float(z) for z in kls.ops.standardize_logits([[5.0, 9.0, 5.0, 9.0]])[0]]
        [-1.0, 1.0, -1.0, 1.0]

    Reference:
        Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
    """
    logits = at_least_float32(logits)
    centered = center_logits(logits)
    variance = _row_mean(centered * centered)
    # but for rounding, which must not be blown up to a deviation of 1; NaN is not equal
    equal = variance <= few_epsilons(logits) ** 2 * _row_mean(logits * logits)
    return K.where(equal, K.zeros_like(logits), centered / K.sqrt(K.where(equal, K.ones_like(variance), variance)))


def center_logits(logits):
    """Each logit vector less its mean: `z - 1/K Σ_k z_k`, at least float32."""
    logits = at_least_float32(logits)
    return logits - _row_mean(logits)


def squared_logit_error(teacher_logits, student_logits, center=False, standardize=False):
    """`½ Σ_k (z_s - z_t)_k²`, per example.

    Args:
        teacher_logits: `[..., K]`.
        student_logits: `[..., K]`.
        center: whether each logit vector first gets mean 0, as the softmax does not see its mean.
        standardize: whether it first gets mean 0 and standard deviation 1.

    Returns:
        Squared units of logits, of the shape of the logits without the last axis; at least float32.

    Examples:
        >>> import keras_ls as kls
        >>> float(kls.ops.squared_logit_error([[1.0, 2.0]], [[2.0, 4.0]])[0])  # ½ (1² + 2²)
        2.5
        >>> float(kls.ops.squared_logit_error([[1.0, 2.0]], [[2.0, 4.0]], center=True)[0])  # ½ (½² + ½²)
        0.25

    Reference:
        Ba and Caruana, "Do Deep Nets Really Need to Be Deep?", 2014.
    """
    form = standardize_logits if standardize else center_logits if center else at_least_float32
    return K.sum(K.square(form(student_logits) - form(teacher_logits)), axis=-1) / 2


def softened(logits, temperature=1.0, standardize=False, name="temperature"):
    """Logits over T (a number, which is checked, or a scalar tensor), at least float32; standardized first if asked."""
    logits = standardize_logits(logits) if standardize else at_least_float32(logits)
    return logits / (
        K.cast(temperature, logits.dtype) if K.is_tensor(temperature) else checked_positive(name, temperature)
    )


def _row_mean(x):
    return mean(x, axis=-1)[..., None]
