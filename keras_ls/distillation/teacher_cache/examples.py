"""Datasets of `(id, example)`, as a teacher cache reads them."""

import functools
import numbers
import re

from keras_ls.batches import endless, is_endless
from keras_ls.distillation.forward_pass import select_inputs
from keras_ls.ops._checks import checked_count

PAD = (
    "Pad all sequences to one length, such as by padded_batch(n, padded_shapes=...): what a teacher says may depend on "
    "the padding, so that examples are known with it."
)


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

    parts = tf.nest.flatten(x)
    sparse = [type(part).__name__ for part in parts if not tf.is_tensor(part) or hasattr(part, "dense_shape")]
    ragged = [type(part).__name__ for part in parts if hasattr(part, "row_splits")]
    if sparse or ragged:
        raise ValueError(f"Expected inputs as dense tensors. Received: {[*sparse, *ragged][0]}. {PAD}")
    parts = [tf.fingerprint(part) for part in parts]
    parts = parts[0] if len(parts) == 1 else tf.fingerprint(tf.concat(parts, axis=1))
    return tf.bitcast(parts, "int64")


def checked_batches(dataset, batch_size, teacher_inputs=None):
    """Batches of `(ids, checksums, x)` in the order of a dataset of `(id, (x, ...))`, batched or not.

    `teacher_inputs` say what of x the teacher gets, as `select_inputs` takes them.
    """
    import tensorflow as tf

    batched = check_examples(dataset)
    if is_endless(dataset):
        raise endless("dataset", "tf.data.Dataset", " or take as many as there are, with take(n)")
    dataset = dataset.rebatch(batch_size) if batched else dataset.batch(batch_size)

    def check(ids, example):
        x = select_inputs(inputs_of(example), teacher_inputs)
        return tf.cast(ids, "int64"), checksums(x), x

    return dataset.map(check, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def numpy_batches(batches):
    """The batches as arrays; `ValueError` where inputs of several shapes would have to lie in one."""
    import tensorflow as tf

    try:
        yield from batches.as_numpy_iterator()
    except (tf.errors.FailedPreconditionError, tf.errors.InvalidArgumentError) as error:
        # of Dataset.rebatch, and of Dataset.batch
        if "perform copy" not in str(error) and "Cannot batch tensors with different shapes" not in str(error):
            raise
        shapes = " and ".join(re.findall(r"\[[\d,]+\]", str(error))[:2])
        received = f"several lengths, of shapes {shapes}"
        raise ValueError(f"Expected inputs of one shape. Received: {received}. {PAD}") from error


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
