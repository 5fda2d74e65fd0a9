"""Keras's own losses, made to add up over the replicas as ours do."""

from keras import ops as K

from keras_ls.losses.reduction import as_logged, num_replicas, sum_over_replicas
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops._backend import divide_no_nan


def weigh_keras_loss(value, losses, batch):
    """The value of Keras's own `losses` for a replica's `batch` examples, with a gradient exact over all replicas.

    Keras takes the mean over each replica's examples first, which differs for ragged batches, and counts a sum as it
    counts a mean in the logs. Ours, and reductions that divide by weights, stay as they are.
    """
    reductions = {getattr(loss, "reduction", "mean") for loss in losses}
    if num_replicas() == 1 or any(isinstance(loss, ReplicaExactLoss) for loss in losses):
        return value
    if reductions <= {"sum_over_batch_size", "mean"}:
        return weigh_with_share(value, batch)
    if reductions == {"sum"}:
        batch = K.cast(batch, value.dtype)
        return as_logged(value, batch, sum_over_replicas(batch))
    return value


def weigh_with_share(value, batch):
    """A replica's mean over its `batch` examples, divided by the replicas, as a part of the mean over all examples."""
    own = K.cast(batch, value.dtype)
    value = K.where(own == 0, K.zeros_like(value), value)  # the mean over no examples may be NaN
    total = sum_over_replicas(own)
    return as_logged(value * num_replicas() * divide_no_nan(own, total), own, total)
