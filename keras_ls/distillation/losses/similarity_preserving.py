"""Distillation of the similarities between examples."""

import keras

from keras_ls.distillation.losses.distillation_loss import checked_layer_names
from keras_ls.distillation.losses.relation_loss import RelationLoss
from keras_ls.ops._types import Tensor
from keras_ls.ops.relations import similarity_core


@keras.saving.register_keras_serializable(package="keras_ls")
class SimilarityPreserving(RelationLoss):
    """Similarities between the examples of a batch, as the student sees them, from the teacher's.

    `L = 1/N² ‖G̃_t - G̃_s‖²_F`, with `G = A Aᵀ` for features A, flattened to `[N, D]`, and G̃ the same with rows of
    length 1. Widths of teacher and student may differ. L falls with 1/N by itself, as the rows have N entries.

    Pairs are over the whole batch, gathered over the replicas; an example of weight w counts w times.

    Args:
        teacher_layer_name, student_layer_name, reduction, name, dtype: as in `DistillationLoss`.

    Call arguments:
        - `y_true`, `y_pred`: features `[N, ...]` of the teacher and of the student, or lists, one a layer name.

    Returns:
        Without unit; a scalar, or one value an example for `reduction="none"`: its row's share.

    Raises:
        ValueError: for layer names that do not pair up, and numbers of examples that differ.

    Examples:
        To the teacher the two are orthogonal, to the student the same: `((1 - 1/√2)² + ½) / 2` a row.

        >>> import keras_ls as kls
        >>> loss = kls.distillation.SimilarityPreserving()
        >>> round(float(loss([[2.0, 0.0], [0.0, 1.0]], [[1.0], [1.0]])), 4)
        0.2929

    Reference:
        Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019.
    """

    def __init__(
        self,
        teacher_layer_name: str | list[str | None] | None = None,
        student_layer_name: str | list[str | None] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "similarity_preserving",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.teacher_layer_name, self.student_layer_name = checked_layer_names(teacher_layer_name, student_layer_name)

    def call(self, teacher: Tensor, student: Tensor, weight: Tensor) -> Tensor:
        """Values of the examples of the whole batch."""
        return similarity_core(teacher, student, weight)

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }
