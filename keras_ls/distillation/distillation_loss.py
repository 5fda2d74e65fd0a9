"""The base of the distillation losses: a Keras loss whose `y_true` is what the teacher says."""

import keras

from keras_ls.losses.reduction import reduce_over_replicas
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops.masks import zero_where_dropped


class DistillationLoss(ReplicaExactLoss):
    """A loss between a teacher's and a student's outputs, per example, with weights, masks and replicas as any loss.

    Subclasses implement `call(teacher_outputs, student_outputs)` and return one value an example; with `needs_labels`,
    `call(teacher_outputs, student_outputs, labels)`.

    Attributes:
        teacher_layer_name: which features of the teacher the loss compares: None for its output, a layer's name, a path
            through nested models such as "encoder/block_2/conv", or a list of them.
        student_layer_name: of the student, likewise.
        needs_labels: whether the loss wants the true labels, too.
        projector: a Keras layer that the loss trains along with the student, or None.
    """

    teacher_layer_name = None
    student_layer_name = None
    needs_labels = False
    projector = None

    def build(self, teacher_shape, student_shape):
        """Makes the variables of the loss, if it has some, for features of these shapes."""

    @property
    def trainable_variables(self):
        """Those of the projector."""
        return [] if self.projector is None else self.projector.trainable_variables

    def __call__(self, y_true, y_pred, sample_weight=None, labels=None):
        """Reduces `call`, with weights and masks, over the batch of all replicas."""
        with keras.name_scope(self.name):
            teacher, student, keep = self.without_dropped(y_true, y_pred)
            losses = self.call(teacher, student, *self.checked_labels(labels, keep))
            return reduce_over_replicas(losses, sample_weight, keep, self.reduction)

    def checked_labels(self, labels, keep):
        """A tuple of the labels for a loss that needs them, of nothing for others."""
        if not self.needs_labels:
            return ()
        if labels is None:
            raise ValueError(
                f"Expected `labels` for {self.name!r}. Received: None. A Distiller hands on the `y` that it is fitted "
                "to; elsewhere call the loss with `labels=y`."
            )
        labels = keras.ops.convert_to_tensor(labels)
        return (labels if keep is None else zero_where_dropped(labels, keep, self.axis),)

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, labels=None):
        """The reduced loss, in the argument order of `keras.distillation`."""
        return self(teacher_outputs, student_outputs, sample_weight, labels)
