"""Relational distillation: distances and angles between examples (RKD)."""

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import checked_layer_names
from keras_ls.distillation.losses.relation_loss import RelationLoss
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._types import Tensor
from keras_ls.ops.relations import angle_core, distance_core


@keras.saving.register_keras_serializable(package="keras_ls")
class RelationalDistillation(RelationLoss):
    """Distances and angles between the examples of a batch, as the student sees them, from the teacher's (RKD).

    `L = λ_D mean_ij h(ψ_t(i, j) - ψ_s(i, j)) + λ_A mean_ijk h(cos_t ∠jik - cos_s ∠jik)`, with ψ the distance of two
    examples over the mean distance of those that differ, and h Huber's loss (`½ d²` up to |d| = 1, then `|d| - ½`). As
    in the authors' code, the means count all N² pairs and N³ triples, those of an example with itself included. Widths
    of teacher and student may differ.

    Pairs are over the whole batch, gathered over the replicas; an example of weight w counts w times. Time and memory
    grow with N³, or N² without the angles.

    Args:
        distance_weight: λ_D >= 0, or None to leave the distances out.
        angle_weight: λ_A >= 0, or None to leave the angles out.
        teacher_layer_name, student_layer_name, reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        distance_weight: λ_D, a `keras.Variable`, to assign to while training, or None.
        angle_weight: λ_A, likewise.

    Call arguments:
        - `y_true`, `y_pred`: features `[N, ...]` of the teacher and of the student, or lists, one a layer name.

    Returns:
        Without unit; a scalar, or one value an example for `reduction="none"`: its mean over partners and pairs.

    Raises:
        ValueError: for negative weights, layer names that do not pair up, and numbers of examples that differ.

    Examples:
        The student turns and doubles what the teacher sees, which changes no relation:

        >>> import keras_ls as kls
        >>> teacher, student = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], [[5.0, 5.0], [5.0, 7.0], [1.0, 5.0]]
        >>> round(float(kls.distillation.RelationalDistillation()(teacher, student)), 6)
        0.0

    Reference:
        Park et al., "Relational Knowledge Distillation", 2019.
    """

    distance_weight = Coefficient(checked_non_negative, optional=True)
    angle_weight = Coefficient(checked_non_negative, optional=True)

    def __init__(
        self,
        distance_weight: float | None = 25.0,
        angle_weight: float | None = 50.0,
        teacher_layer_name: str | list[str | None] | None = None,
        student_layer_name: str | list[str | None] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "relational_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight
        self.teacher_layer_name, self.student_layer_name = checked_layer_names(teacher_layer_name, student_layer_name)

    def call(self, teacher: Tensor, student: Tensor, weight: Tensor) -> Tensor:
        """Values of the examples of the whole batch."""
        losses = K.zeros_like(weight)
        for share, error in ((self.distance_weight, distance_core), (self.angle_weight, angle_core)):
            if share is not None:
                losses = losses + K.cast(share.value, weight.dtype) * error(teacher, student, weight)
        return losses

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "distance_weight": number(self.distance_weight),
            "angle_weight": number(self.angle_weight),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }
