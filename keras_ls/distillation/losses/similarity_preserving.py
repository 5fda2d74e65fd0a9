"""Distillation of the similarities between examples."""

import keras

from keras_ls.distillation.losses.distillation_loss import checked_layer_names
from keras_ls.distillation.losses.relation_loss import RelationLoss
from keras_ls.ops.relations import similarity_core


@keras.saving.register_keras_serializable(package="keras_ls")
class SimilarityPreserving(RelationLoss):
    """Similarities between the examples of a batch, as the student sees them, from the teacher's.

    `L = 1/N² ‖G̃_t - G̃_s‖²_F`, with `G = A Aᵀ` for features A, flattened to `[N, D]`, and G̃ the same with rows of
    length 1. Widths of teacher and student may differ. L falls with 1/N by itself, as the rows have N entries.

    Pairs are over the whole batch, gathered over the replicas; an example of weight w counts w times.

    Args:
        teacher_layer_name: None for the teacher's output, a layer's name, a path through nested models such as
            "encoder/block_2/conv", or a list of them, whose losses add up.
        student_layer_name: of the student, likewise.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss, and of its log.
        dtype: "float32" or "float64".

    Call arguments:
        - `y_true`: the teacher's features, or a list of them, one a layer name.
        - `y_pred`: the student's, likewise.
        - `sample_weight`: weights of the examples.

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
        teacher_layer_name=None,
        student_layer_name=None,
        reduction="sum_over_batch_size",
        name="similarity_preserving",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.teacher_layer_name, self.student_layer_name = checked_layer_names(teacher_layer_name, student_layer_name)

    def call(self, teacher, student, weight):
        """Values of the examples of the whole batch."""
        return similarity_core(teacher, student, weight)

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }
