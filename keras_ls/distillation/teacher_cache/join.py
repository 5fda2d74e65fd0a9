"""What a teacher said, looked up by id in a `tf.data` graph."""

import numpy as np

from keras_ls.distillation.forward_pass import select_inputs
from keras_ls.distillation.teacher_cache.examples import check_examples, checksums, inputs_of


def join(dataset, shards, shape, in_memory, verify, teacher_inputs=None):
    """`(id, (x, ...))` → `({"inputs": x, "teacher_outputs": logits}, ...)`, for examples or batches.

    Everything but reading memory-mapped rows is TensorFlow's, without the interpreter.

    Args:
        dataset: a `tf.data.Dataset`.
        shards: arrays of rows.
        shape: shape of one example's logits.
        in_memory: whether to hold the rows in tensors.
        verify: whether to compare the checksums of the inputs.
        teacher_inputs: what of x the teacher got.

    Returns:
        A `tf.data.Dataset`.
    """
    import tensorflow as tf

    batched = check_examples(dataset)
    ids = np.concatenate([shard["id"] for shard in shards])
    order = None if (np.diff(ids) > 0).all() else np.argsort(ids)
    find = _lookup(_in_order(ids, order))
    known_checks = tf.constant(_in_order(np.concatenate([shard["checksum"] for shard in shards]), order))
    read = (_from_memory if in_memory else _from_disk)(shards, order)

    def joined(ids, example):
        x = inputs_of(example)
        if not batched:
            ids, x = ids[None], tf.nest.map_structure(lambda part: part[None], x)
        places, assertions = find(tf.cast(ids, "int64"))
        if verify:
            stale = tf.gather(known_checks, places) != checksums(select_inputs(x, teacher_inputs))
            assertions.append(
                _assert_none(
                    stale,
                    ids,
                    "Expected the inputs that the teacher saw, sequences padded to the same length. Received others "
                    "(the dataset was edited, its ids are of other examples, or the augmentation has another seed); "
                    "write the cache again, join the pass of that seed, or pad as then. The ids:",
                )
            )
        with tf.control_dependencies(assertions):
            logits = _expanded(read(tf.identity(places)), shape)
        both = {"inputs": inputs_of(example), "teacher_outputs": logits if batched else logits[0]}
        return (both, *example[1:]) if isinstance(example, tuple) else both

    return dataset.map(joined, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _in_order(rows, order):
    return rows if order is None else rows[order]


def _lookup(known):
    """A function of ids that returns their places among the known ones, which rise, and assertions that they are there.

    Few operations, as this runs beside every step of a training.
    """
    import tensorflow as tf

    first, last = known[0], len(known) - 1
    counted, known = known[-1] - first == last, tf.constant(known)

    def find(wanted):
        if counted:  # no gaps, as `enumerate` gives them
            place = tf.clip_by_value(wanted - first if first else wanted, 0, last)
            missing = place + first != wanted if first else place != wanted
        else:
            place = tf.minimum(tf.searchsorted(known, wanted, out_type="int64"), last)
            missing = tf.gather(known, place) != wanted
        message = "Expected ids that are in the cache. Received ids that are not; write the cache of the whole dataset:"
        return place, [_assert_none(missing, wanted, message)]

    return find


def _assert_none(wrong, ids, message):
    import tensorflow as tf

    # the bare operation: `tf.debugging.Assert` adds a conditional function around it
    condition = tf.logical_not(tf.reduce_any(wrong))
    return tf.raw_ops.Assert(condition=condition, data=[message, tf.gather_nd(ids, tf.where(wrong))], summarize=5)


def _from_memory(shards, order):
    import tensorflow as tf

    rows = _in_order(np.concatenate(shards), order)
    fields = {name: tf.constant(np.ascontiguousarray(rows[name])) for name in _stored(rows.dtype)}
    return lambda places: {name: tf.gather(field, places) for name, field in fields.items()}


def _from_disk(shards, order):
    import tensorflow as tf

    starts = np.cumsum([0] + [len(shard) for shard in shards])
    kinds = shards[0].dtype

    def fetch(places):
        positions = places if order is None else order[places]
        rows = np.empty(len(positions), kinds)
        owners = np.searchsorted(starts, positions, side="right") - 1
        for owner in np.unique(owners):
            mine = owners == owner
            rows[mine] = shards[owner][positions[mine] - starts[owner]]
        return [np.ascontiguousarray(rows[name]) for name in _stored(kinds)]

    def read(places):
        types = [tf.as_dtype(kinds[name].base) for name in _stored(kinds)]
        found = tf.numpy_function(fetch, [places], types, stateful=False)
        return {
            name: tf.ensure_shape(values, (None, *kinds[name].shape)) for name, values in zip(_stored(kinds), found)
        }

    return read


def _stored(kinds):
    """The fields that make the logits; in float32 all offsets are 0."""
    unused = {"id", "checksum"} | ({"offset"} if kinds["values"].base == "float32" else set())
    return [name for name in kinds.names if name not in unused]


def _expanded(fields, shape):
    """As `expand` of `rows`, in a graph."""
    import tensorflow as tf

    values = tf.cast(fields["values"], "float32")
    if "offset" in fields:
        values += fields["offset"][..., None]
    if "index" not in fields:
        return values
    num_classes, kept = shape[-1], values.shape[-1] - 1
    flat = tf.reshape(values, (-1, kept + 1))
    index = tf.reshape(tf.cast(fields["index"], "int32"), (-1, kept))
    row = tf.repeat(tf.range(tf.shape(flat)[0])[:, None], kept, axis=1)
    logits = tf.repeat(flat[:, -1:], num_classes, axis=1)
    logits = tf.tensor_scatter_nd_update(logits, tf.stack([row, index], axis=-1), flat[:, :-1])
    return tf.reshape(logits, (-1, *shape))
