"""Distillation of softened logits."""

import keras

from keras_ls.distillation.losses.distillation_loss import DistillationLoss, as_two_classes, check_classes
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._checks import check_same_shape, checked_choice, checked_positive
from keras_ls.ops._types import Tensor
from keras_ls.ops.divergences import jensen_shannon_core, kl_core


@keras.saving.register_keras_serializable(package="keras_ls")
class LogitsDistillation(DistillationLoss):
    """Divergence of the student's softened prediction from the teacher's.

    `ℓ = T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T_s))`. T² keeps the gradient's size as T grows. The KL
    divergence differs from the cross-entropy of the papers by the teacher's entropy, which has no gradient: 0 says that
    the student agrees. The setting of Müller et al. is `student_temperature=1, scale_by_temperature=False`.

    Args:
        temperature: T > 0, of the teacher.
        student_temperature: T_s > 0; None for T.
        scale_by_temperature: whether to multiply by T².
        divergence: "forward_kl" (default, the formula above), "reverse_kl" (`KL(p_student ‖ p_teacher)`, for a student
            too small to follow the teacher everywhere: it keeps to classes that the teacher finds likely) or
            "jensen_shannon" (of both with their mean: bounded by log 2, so that no example rules the batch).
        standardize: whether each logit vector first gets mean 0 and standard deviation 1, so that the student need not
            match the scale of the teacher's logits. Logits of -∞ have no standard deviation, and give NaN.
        reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        temperature: T, a `keras.Variable`, to assign to while training.
        student_temperature: T_s, likewise, or None.

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`; one logit z of a sigmoid (`[..., 1]` or `[N]`) counts as two
          classes with the logits `[0, z]`.
        - `y_pred`: the student's, likewise.

    Returns:
        Nats (times T²); a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a temperature that is not above 0, logits of different shapes, and a single logit with
            `standardize`.

    Examples:
        `KL((0.5, 0.5) ‖ (0.25, 0.75)) = 0.1438`; here T = 2, so it is multiplied by 4.

        >>> import math, keras_ls as kls
        >>> loss = kls.distillation.LogitsDistillation(temperature=2.0)
        >>> round(float(loss([[0.0, 0.0]], [[0.0, 2 * math.log(3.0)]])), 4)
        0.5754

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; `standardize`: Sun et al.,
        "Logit Standardization in Knowledge Distillation", 2024.
    """

    takes_logits = True
    temperature = Coefficient(checked_positive)
    student_temperature = Coefficient(checked_positive, optional=True)

    def __init__(
        self,
        temperature: float = 3.0,
        student_temperature: float | None = None,
        scale_by_temperature: bool = True,
        divergence: str = "forward_kl",
        standardize: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "logits_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = temperature
        self.student_temperature = student_temperature
        self.scale_by_temperature = bool(scale_by_temperature)
        self.divergence = checked_choice("divergence", divergence, ["forward_kl", "reverse_kl", "jensen_shannon"])
        self.standardize = bool(standardize)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Per-example divergences."""
        check_same_shape(y_true, y_pred)
        if self.standardize:
            check_classes(f"{self.name!r} with standardize=True", y_pred, "the standard deviation says nothing")
        y_true, y_pred = as_two_classes(y_true), as_two_classes(y_pred)
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        t = keras.ops.cast(self.temperature.value, y_pred.dtype)
        t_s = t if self.student_temperature is None else keras.ops.cast(self.student_temperature.value, y_pred.dtype)
        if self.divergence == "forward_kl":
            divergence = kl_core(y_true, y_pred, t, t_s, self.standardize)
        elif self.divergence == "reverse_kl":
            divergence = kl_core(y_pred, y_true, t_s, t, self.standardize)
        else:
            divergence = jensen_shannon_core(y_true, y_pred, t, t_s, self.standardize)
        return t * t * divergence if self.scale_by_temperature else divergence

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "temperature": number(self.temperature),
            "student_temperature": number(self.student_temperature),
            "scale_by_temperature": self.scale_by_temperature,
            "divergence": self.divergence,
            "standardize": self.standardize,
        }
