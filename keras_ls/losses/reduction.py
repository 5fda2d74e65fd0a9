"""Reduction of per-example losses over the batch of all replicas."""

import keras
from keras import ops as K

from keras_ls.ops._backend import divide_no_nan
from keras_ls.ops._weights import align_leading


def num_replicas():
    """Replicas that take this step together: above 1 only inside `strategy.run` of a TensorFlow strategy."""
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def sum_over_replicas(x):
    """The sum of `x` over the replicas that take this step together."""
    context = _replica_context()
    return x if context is None or context.num_replicas_in_sync == 1 else context.all_reduce("SUM", x)


def reduce_over_replicas(values, sample_weight=None, keep=None, reduction="sum_over_batch_size"):
    """Reduces per-example losses so that one replica equals many.

    With `S` the sum of weighted losses over all replicas, the gradient is that of `S / D`, where D is what Keras
    divides by on one replica: the number of examples, or of the kept ones under a mask ("sum_over_batch_size", "mean"),
    the sum of the weights of the kept ones ("mean_with_sample_weight"), or 1 ("sum"). Keras instead averages over the
    replicas' own means, which differs for ragged batches and for masks.

    The value follows Keras's convention, see `as_logged`.
    """
    weight = None
    if sample_weight is not None:
        weight = align_leading(K.cast(sample_weight, values.dtype), values)
    if keep is not None:
        keep = K.cast(align_leading(K.cast(keep, values.dtype), values), "bool")
        keep = K.broadcast_to(keep, K.shape(values))
        values = K.where(keep, values, K.zeros_like(values))
    weighted = values if weight is None else values * weight
    if reduction in (None, "none") or len(values.shape) == 0:
        return weighted
    total = K.sum(weighted)
    own_batch = K.cast(K.shape(values)[0], values.dtype)
    if reduction == "sum":
        return total if num_replicas() == 1 else as_logged(total, own_batch, sum_over_replicas(own_batch))

    ones = K.ones_like(values) if keep is None else K.cast(keep, values.dtype)
    if reduction == "mean_with_sample_weight" and weight is not None:
        ones = ones * weight
    divisor = K.stop_gradient(K.sum(ones))
    if num_replicas() == 1:
        return divide_no_nan(total, divisor)
    divisor, batch = K.unstack(sum_over_replicas(K.stack([divisor, own_batch])), 2)
    return as_logged(divide_no_nan(total, divisor), own_batch, batch)


def as_logged(share, own_batch, batch):
    """A replica's share of a loss, with its gradient and the value by which a trainer's log of the loss is exact.

    Keras multiplies the value by the number of replicas and weighs it with the replica's own batch size `own_batch`;
    the shares are to add up over `batch`, the examples of all replicas.
    """
    logged = share * divide_no_nan(batch, num_replicas() * own_batch)
    return share + K.stop_gradient(logged - share)


def _replica_context():
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None


def gather_over_replicas(x):
    """`x` of all replicas that take this step together, one after the other along the first axis, in their order.

    Shares may differ in size, and be empty. Every replica then computes from all examples; the gradient of what it
    computes reaches the examples of the other replicas, too.
    """
    context = _replica_context()
    return x if context is None or context.num_replicas_in_sync == 1 else context.all_gather(x, axis=0)


def own_share(gathered, count):
    """The rows of this replica, which put `count` of them in, out of what `gather_over_replicas` returned."""
    context = _replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return gathered
    counts = context.all_gather(K.reshape(K.cast(count, "int32"), (1,)), axis=0)
    start = K.sum(counts[: context.replica_id_in_sync_group])
    return gathered[start : start + count]
