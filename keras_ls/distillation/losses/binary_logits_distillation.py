"""Distillation of independent labels."""

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._checks import check_same_shape, checked_positive
from keras_ls.ops._types import Tensor
from keras_ls.ops.divergences import binary_kl_core


@keras.saving.register_keras_serializable(package="keras_ls")
class BinaryLogitsDistillation(DistillationLoss):
    """Divergence of the student's softened prediction of each label from the teacher's, for labels that do not compete.

    `ℓ = T² Σ_k KL(Bernoulli(σ(z_teacher,k / T)) ‖ Bernoulli(σ(z_student,k / T_s)))`, of networks whose outputs a
    sigmoid follows: any number of the K labels may hold at once. For K = 1 it is `LogitsDistillation`.

    The labels add up, as the classes do in a softmax, while Keras's `BinaryCrossentropy` is their mean: beside it,
    `distillation_loss_weights=1 / K` gives both the same scale.

    Args:
        temperature: T > 0, of the teacher.
        student_temperature: T_s > 0; None for T.
        scale_by_temperature: whether to multiply by T².
        reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        temperature: T, a `keras.Variable`, to assign to while training.
        student_temperature: T_s, likewise, or None.

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`, or `[N]` of one label.
        - `y_pred`: the student's, likewise.

    Returns:
        Nats (times T²), summed over labels; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a temperature that is not above 0, and logits of different shapes.

    Examples:
        On each of two labels `KL((0.5, 0.5) ‖ (0.25, 0.75)) = 0.1438`:

        >>> import math, keras_ls as kls
        >>> loss = kls.distillation.BinaryLogitsDistillation(temperature=1.0)
        >>> round(float(loss([[0.0, 0.0]], [[math.log(3.0), -math.log(3.0)]])), 4)
        0.2877

    Reference:
        Yang et al., "Multi-Label Knowledge Distillation", 2023; T²: Hinton, Vinyals and Dean, "Distilling the Knowledge
        in a Neural Network", 2015.
    """

    takes_logits = True
    temperature = Coefficient(checked_positive)
    student_temperature = Coefficient(checked_positive, optional=True)

    def __init__(
        self,
        temperature: float = 3.0,
        student_temperature: float | None = None,
        scale_by_temperature: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_logits_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = temperature
        self.student_temperature = student_temperature
        self.scale_by_temperature = bool(scale_by_temperature)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Per-example divergences."""
        check_same_shape(y_true, y_pred)
        t = K.cast(self.temperature.value, y_pred.dtype)
        t_s = t if self.student_temperature is None else K.cast(self.student_temperature.value, y_pred.dtype)
        divergences = binary_kl_core(K.cast(y_true, y_pred.dtype), y_pred, t, t_s)
        if len(divergences.shape) > 1:
            divergences = K.sum(divergences, axis=-1)
        return t * t * divergences if self.scale_by_temperature else divergences

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "temperature": number(self.temperature),
            "student_temperature": number(self.student_temperature),
            "scale_by_temperature": self.scale_by_temperature,
        }
