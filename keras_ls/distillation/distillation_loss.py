"""The base of the distillation losses: a Keras loss whose `y_true` is what the teacher says."""

from keras_ls.losses.replica_exact_loss import ReplicaExactLoss


class DistillationLoss(ReplicaExactLoss):
    """A loss between a teacher's and a student's outputs, per example, with weights, masks and replicas as any loss.

    Subclasses implement `call(teacher_outputs, student_outputs)` and return one value an example.
    """

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None):
        """The reduced loss, in the argument order of `keras.distillation`."""
        return self(teacher_outputs, student_outputs, sample_weight)
