"""What a training reads: images in an order that is a function of seed and epoch, from any step on."""

import tensorflow as tf

from keras_ls import data
from keras_ls.data.shuffled_batches import epoch_order


def training_batches(training, cache=None):
    """Batches `(x, y)` of all epochs of a `Training`, the same each time it is read.

    The order of an epoch is that of `data.ShuffledBatches`; batches go on over the end of an epoch. Crops, flips and
    shifts are functions of the seed and of the position in the training.

    Args:
        training: a `Training`.
        cache: a `TeacherCache` that `write_teacher_cache` has written, to join; or None.

    Returns:
        A `tf.data.Dataset`, whose `seek(epoch, batch)` lets the next reading begin with a batch; all is one epoch.
    """
    start = tf.Variable(0, dtype="int64")
    batches = _examples(training, start).batch(training.batch_size) if training.augmented else _rows(training, start)
    if cache is None:
        batches = batches.map(lambda ids, example: example)
    else:
        batches = cache.join(batches, training.seed if training.augmented else None)
    batches = batches.prefetch(2)
    batches.seek = lambda epoch, batch=0: start.assign(batch * training.batch_size)
    return batches


def write_teacher_cache(training, cache, teacher):
    """Asks a teacher about all that a student sees in a `Training`, each thing once; returns the cache."""
    settings = {"batch_size": 1000, "shard_size": 100_000, "verbose": 0}
    if not training.augmented:
        images = tf.data.Dataset.from_tensor_slices(training.examples_seen).enumerate()
        return cache.write(teacher, images, **settings)
    return cache.write(teacher, lambda seed: _examples(training), [training.seed], **settings)


def _order(training, start):
    """`(position in the training, row)` of every example, an epoch at a time, from the position `start` on."""
    count = training.num_examples

    def of_epoch(epoch):
        order = tf.numpy_function(lambda epoch: epoch_order(count, training.seed, int(epoch)), [epoch], "int64")
        skipped = tf.maximum(start - epoch * count, 0)
        return (epoch * count + tf.range(count, dtype="int64"))[skipped:], tf.ensure_shape(order, [count])[skipped:]

    first = tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.range(start // count, training.epochs))
    return first.map(of_epoch)


def _rows(training, start):
    """Batches `(rows, (x, y))` of images as they are."""
    x, y = map(tf.constant, training.examples_seen)

    def gather(_, rows):
        return rows, (tf.gather(x, rows), tf.gather(y, rows))

    return _order(training, start).rebatch(training.batch_size).map(gather, num_parallel_calls=tf.data.AUTOTUNE)


def _examples(training, start=0):
    """`(position, (x, y))` of every augmented image."""
    x, y = map(tf.constant, training.examples_seen)
    changes = [
        augment(size, training.seed)
        for augment, size in ((data.random_crop_and_flip, training.crop), (data.random_shift, training.shift))
        if size is not None
    ]

    def example(position, row):
        pair = x[row], y[row]
        for change in changes:
            pair = change(position, pair)
        return position, pair

    return _order(training, start).unbatch().map(example, num_parallel_calls=tf.data.AUTOTUNE)
