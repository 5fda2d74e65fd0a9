"""Datasets of `(id, example)`, as a teacher cache reads them."""

import functools
import numbers

from keras_ls.batches import endless, is_endless
from keras_ls.ops.checks import checked_count


def check_examples(dataset):
    """Returns whether a `tf.data.Dataset` of `(id, (x, ...))` is batched, or raises `ValueError`."""
    import tensorflow as tf

    expected = "Expected a tf.data.Dataset of (id, (x, ...)) with integer ids, such as dataset.enumerate() gives."
    if not isinstance(dataset, tf.data.Dataset):
        advice = " Call the function with an augmentation seed." if callable(dataset) else ""
        raise ValueError(f"{expected} Received: {type(dataset).__name__}.{advice}")
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        parts = f"{len(spec)} parts" if isinstance(spec, tuple) else type(spec).__name__
        raise ValueError(f"{expected} Received: elements of {parts}. Call enumerate() before shuffle().")
    ids = spec[0]
    if not isinstance(ids, tf.TensorSpec) or not ids.dtype.is_integer or ids.shape.rank not in (0, 1):
        raise ValueError(f"{expected} Received: ids {ids}. Call enumerate() before shuffle() and batch().")
    return ids.shape.rank == 1


def inputs_of(example):
    """X of `(x, ...)` or of x alone."""
    return example[0] if isinstance(example, tuple) else example


def checksums(x):
    """64 bits an example `[N]` of the bytes of a batch of inputs (a tensor or a structure of them), as int64.

    FarmHash, in the graph: a Python function would wait for the interpreter that trains.
    """
    import tensorflow as tf

    parts = [tf.fingerprint(part) for part in tf.nest.flatten(x)]
    parts = parts[0] if len(parts) == 1 else tf.fingerprint(tf.concat(parts, axis=1))
    return tf.bitcast(parts, "int64")


def checked_batches(dataset, batch_size):
    """Batches of `(ids, checksums, x)` in the order of a dataset of `(id, (x, ...))`, batched or not."""
    import tensorflow as tf

    batched = check_examples(dataset)
    if is_endless(dataset):
        raise endless("dataset", "tf.data.Dataset")
    dataset = dataset.rebatch(batch_size) if batched else dataset.batch(batch_size)

    def check(ids, example):
        x = inputs_of(example)
        return tf.cast(ids, "int64"), checksums(x), x

    return dataset.map(check, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def views(dataset, seeds):
    """Seed → a function that returns the dataset of its pass."""
    if seeds is None:
        return {None: lambda: dataset}
    if isinstance(seeds, numbers.Integral):
        seeds = [seeds]
    seeds = [checked_count("augmentation_seeds", seed, minimum=0) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"Expected `augmentation_seeds` to differ, at least one. Received: {seeds}.")
    if not callable(dataset):
        raise ValueError(
            "Expected `dataset` to be a function of the augmentation seed, as `augmentation_seeds` are given. "
            f"Received: {type(dataset).__name__}. Give lambda seed: the dataset augmented with it."
        )
    return {seed: functools.partial(dataset, seed) for seed in seeds}
