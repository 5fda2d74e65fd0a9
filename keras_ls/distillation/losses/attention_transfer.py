"""Distillation of where the teacher looks."""

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss, checked_layer_names
from keras_ls.ops._backend import mean
from keras_ls.ops._checks import check_same_shape, checked_positive
from keras_ls.ops._types import Tensor
from keras_ls.ops.features import attention_core


@keras.saving.register_keras_serializable(package="keras_ls")
class AttentionTransfer(DistillationLoss):
    """Squared distance between the attention maps of the student and of the teacher.

    `ℓ = 1/P Σ_i (a_s - a_t)_i²` over the P positions of the features, with `a = q / ‖q‖₂` and `q_i = Σ_c |A_ic|^p` over
    the channels. Channels may differ in number, positions may not. Over several layers the losses add up.

    The paper writes `β/2 ‖a_s - a_t‖₂`, with 10³ over the numbers of positions and examples for β; its authors' code,
    as here, takes the mean of the squares, times 10³. So weigh it with about 1000.

    Args:
        power: p >= 1; below, zeros of a ReLU would have an infinite gradient.
        teacher_layer_name, student_layer_name, reduction, name, dtype: as in `DistillationLoss`.

    Call arguments:
        - `y_true`, `y_pred`: features `[N, ..., C]` of the teacher and of the student, or lists, one a layer name.

    Returns:
        Without unit, in [0, 2/P]; a scalar, or one value an example for `reduction="none"`. What a mask drops within an
        example counts as positions without activity.

    Raises:
        ValueError: for features without positions or with other positions than the teacher's, layer names that do not
            pair up, and a power below 1.

    Examples:
        The teacher looks at the first of two positions, the student at the second: `(1² + 1²) / 2`.

        >>> import keras_ls as kls
        >>> loss = kls.distillation.AttentionTransfer()
        >>> float(loss([[[3.0, 1.0], [0.0, 0.0]]], [[[0.0], [2.0]]]))
        1.0

    Reference:
        Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017.
    """

    def __init__(
        self,
        teacher_layer_name: str | list[str | None] | None = None,
        student_layer_name: str | list[str | None] | None = None,
        power: float = 2,
        reduction: str | None = "sum_over_batch_size",
        name: str = "attention_transfer",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.teacher_layer_name, self.student_layer_name = checked_layer_names(teacher_layer_name, student_layer_name)
        self.power = checked_positive("power", power)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Per-example mean squared distances."""
        check_same_shape(
            y_true[..., 0],
            y_pred[..., 0],
            "positions (channels last)",
            " Choose layers of one resolution, or pool the features of the larger one.",
        )
        y_true = K.cast(y_true, y_pred.dtype)
        return mean(K.square(attention_core(y_pred, self.power) - attention_core(y_true, self.power)), axis=-1)

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
            "power": self.power,
        }
