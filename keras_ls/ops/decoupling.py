"""The two parts of the divergence between a teacher and a student: about the target class, and about the others."""

import math

from keras import ops as K

from keras_ls.ops._checks import as_positive, checked_flag
from keras_ls.ops._inputs import align_labels, check_integer_labels, pick
from keras_ls.ops._tensors import checked_logit_pair
from keras_ls.ops._types import Tensor
from keras_ls.ops.divergences import kl_core, softened


def decoupled_divergences(
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    standardize: bool = False,
    axis: int = -1,
) -> tuple[Tensor, Tensor]:
    """Divergence about the target class (TCKD), and about the others given that it is not the target (NCKD).

    With `b = (p_y, 1 - p_y)` and `p̂` the softmax over the classes other than y, all at temperature T:
    `TCKD = KL(b_t ‖ b_s)`, `NCKD = KL(p̂_t ‖ p̂_s)`, and `KL(p_t ‖ p_s) = TCKD + (1 - p_y of the teacher) · NCKD`. The
    authors' code leaves class y out by taking 1000 off its logit; here it is left out. NCKD is 0 where the teacher's
    other logits are all -∞.

    Args:
        labels: integers, of the shape of the logits without `axis` (or with 1 there).
        teacher_logits: `[..., K]`, or K along `axis`.
        student_logits: of the same shape.
        temperature: T > 0, a number or a scalar tensor.
        standardize: whether each logit vector first gets mean 0 and standard deviation 1, as by `standardize_logits`.
        axis: the class axis.

    Returns:
        `(TCKD, NCKD)`: nats, `[...]` each, at least float32. A label out of range gives NaN where tracing hides it.

    Raises:
        ValueError: for a temperature that is not above 0, dense labels, labels out of range, logits of two shapes, NaN
            or +inf.

    Examples:
        `p_t = (½, ¼, ¼)`, `p_s = (½, ⅜, ⅛)`: they agree on class 0, not on the others:
        `½ log ⅔ + ½ log 2 = 0.1438`.

        >>> import numpy as np, keras_ls as kls
        >>> teacher, student = np.log([[4.0, 2.0, 2.0]]), np.log([[4.0, 3.0, 1.0]])
        >>> target, others = kls.ops.decoupled_divergences([0], teacher, student)
        >>> round(float(target[0]), 4) + 0.0, round(float(others[0]), 4)
        (0.0, 0.1438)

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation", 2022.
    """
    standardize = checked_flag("standardize", standardize)
    teacher, student = checked_logit_pair(teacher_logits, student_logits, axis, finite=standardize)
    labels = align_labels(labels, teacher, axis)
    if len(labels.shape) == len(teacher.shape):
        raise ValueError(
            f"Expected integer labels. Received: dense labels of shape {tuple(labels.shape)}. Take their argmax."
        )
    check_integer_labels(labels, teacher.shape[-1])
    return decoupled_core(labels, teacher, student, as_positive("temperature", temperature, student.dtype), standardize)


def decoupled_core(labels, teacher_logits, student_logits, temperature=1.0, standardize=False):
    """`decoupled_divergences` of checked labels, and logits of one dtype, classes last."""
    parts = []
    for logits in (teacher_logits, student_logits):
        logits = softened(logits, temperature, standardize)
        target = K.cast(labels, "int32")[..., None] == K.arange(logits.shape[-1], dtype="int32")
        others = K.where(target, K.full_like(logits, -math.inf), logits)
        # none left, as where all of them are masked: any distribution over them, and no NaN in the gradient
        none = K.max(others, axis=-1, keepdims=True) == -math.inf
        others = K.where(K.logical_and(none, K.logical_not(target)), K.zeros_like(others), others)
        none = none[..., 0]
        rest = K.where(none, K.full_like(logits[..., 0], -math.inf), K.logsumexp(others, axis=-1))
        parts.append((K.stack([pick(logits, labels), rest], axis=-1), others, none))
    (teacher, teacher_others, nothing_to_teach), (student, student_others, _) = parts
    others = kl_core(teacher_others, student_others)
    return kl_core(teacher, student), K.where(nothing_to_teach, K.zeros_like(others), others)
