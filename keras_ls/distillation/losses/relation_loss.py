"""The base of the losses that relate the examples of a batch to one another."""

import math

from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss
from keras_ls.losses.reduction import gather_over_replicas, own_share, reduce_over_replicas
from keras_ls.ops._backend import accumulation_dtype
from keras_ls.ops._tensors import as_weight
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import align_leading, mean_over_trailing, over_leading, zero_where_dropped


class RelationLoss(DistillationLoss):
    """A distillation loss for which an example's value depends on the rest of the batch, gathered over all replicas.

    Subclasses implement `call(teacher, student, weight)` for the whole batch: `[M, D]` and `[M, D']` of M examples,
    their weights `[M]`; they return `[M]` values whose weighted mean is the loss. What has weight 0, or is dropped by
    the mask, arrives as zeros of weight 0. An example is what one index of the first axis holds; with
    `examples_are_vectors`, each vector of the last axis.

    A mask over more axes than those of the examples zeroes what it drops, and drops an example that has nothing left;
    of such weights an example has the mean over what is left.
    """

    examples_are_vectors = False

    def reduced(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None, labels: Tensor = None) -> Tensor:
        """The reduced loss."""
        teacher, student, keep = self.without_dropped(y_true, y_pred)
        axes = len(student.shape) - 1 if self.examples_are_vectors else 1
        if any(a is not None and b is not None and a != b for a, b in zip(teacher.shape[:axes], student.shape[:axes])):
            raise ValueError(
                "Expected teacher and student features of as many examples. "
                f"Received: teacher {tuple(teacher.shape)}, student {tuple(student.shape)}."
            )
        sample_weight = as_weight(sample_weight)
        sample_weight, keep = mean_over_trailing(sample_weight, keep, axes), over_leading(keep, axes)
        shape = K.shape(student)[:axes]
        weight = K.ones(shape, accumulation_dtype())
        for factor in (sample_weight, keep):
            if factor is not None:
                weight = weight * align_leading(K.cast(factor, weight.dtype), weight)
        weight = K.reshape(weight, (math.prod(shape),))
        teacher, student = (zero_where_dropped(_rows(x, axes), weight != 0) for x in (teacher, student))
        losses = own_share(self.call(*map(gather_over_replicas, (teacher, student, weight))), math.prod(shape))
        losses = K.cast(K.reshape(losses, shape), student.dtype)
        return reduce_over_replicas(losses, sample_weight, keep, self.reduction)


def _rows(x, axes):
    shape = K.shape(x)
    # not -1, which a replica without examples leaves open
    return K.reshape(x, (math.prod(shape[:axes]), math.prod(shape[axes:])))
