"""Writing a pass of a teacher cache, from where it was left."""

import functools
import hashlib
import math

import keras
import numpy as np

from keras_ls.distillation.teacher_cache.examples import checked_batches, numpy_batches
from keras_ls.distillation.teacher_cache.rows import compress, divergences, expand


def in_inference_mode(teacher):
    """A function of a batch that runs `teacher` on one device, whatever strategy it was made under."""
    if keras.backend.backend() != "tensorflow":
        return teacher.predict_on_batch
    import tensorflow as tf

    # `predict_on_batch` gives the batch to every replica of a strategy; a partial, as TensorFlow counts the traces of a
    # lambda over all teachers, and warns of the fifth
    return tf.function(functools.partial(teacher, training=False), reduce_retracing=True)


def write_pass(manifest, predict, dataset, seed, verbose=1, teacher_inputs=None):
    """Adds the pass of `seed` to a cache; what is there is compared with the dataset and not made again.

    Batches never lie across two shards, so that a pass that is resumed has the batches, and the bytes, of one that was
    not interrupted. Of a complete pass the first batch alone is compared.

    Args:
        manifest: the `CacheManifest`.
        predict: a function of a batch that returns the teacher's logits.
        dataset: `tf.data.Dataset` of `(id, (x, ...))`.
        seed: augmentation seed, or None.
        verbose: 1 to show the progress.
        teacher_inputs: what of x the teacher gets.

    Raises:
        ValueError: for a dataset that differs from the one that the rows were made of, is empty or has an id twice, and
            logits that are not finite.
    """
    settings = manifest.facts["settings"]
    batches = checked_batches(dataset, settings["batch_size"], teacher_inputs)
    one = manifest.one_pass(seed)
    if one is None:
        one = {"augmentation_seed": seed, "complete": False, "shards": []}
        manifest.facts["passes"].append(one)
    there = np.empty(0, manifest.row_type[["id", "checksum"]])
    for shard in one["shards"][: 1 if one["complete"] else None]:
        there = np.append(there, manifest.read_shard(shard, in_memory=False)[["id", "checksum"]])
    size = int(batches.cardinality())
    if one["complete"] and size >= 0 and size != math.ceil(one["examples"] / settings["batch_size"]):
        raise ValueError(
            f"Expected the {one['examples']} examples that were written. Received: {size} batches of "
            f"{settings['batch_size']}. {_stale(seed)}"
        )
    progress = keras.utils.Progbar(size if size > 0 else None, verbose=verbose, unit_name="batch")
    position, found = 0, []
    for ids, checks, x in numpy_batches(batches):
        start, position = position, position + len(ids)
        if start < len(there):
            _compare(there[start:position], ids, checks, seed)
            if one["complete"]:
                return
        else:
            found.append(_rows(manifest, predict(x), ids, checks))
            if sum(len(rows) for rows, _ in found) == settings["shard_size"]:
                _write(manifest, one, found)
                found = []
        progress.add(1)
    if position < len(there):
        raise ValueError(f"Expected the {len(there)} examples that were written. Received: {position}. {_stale(seed)}")
    if found:
        _write(manifest, one, found)
    if not position:
        raise ValueError("Expected at least one example. Received: an empty dataset.")
    _complete(manifest, one)


def checked_logits(outputs, shape=None):
    """A teacher's outputs as an array `[N, ..., K]`, or `ValueError`; `shape` is that of one example's, if known."""
    if isinstance(outputs, (dict, list, tuple)):
        received = sorted(outputs) if isinstance(outputs, dict) else f"{len(outputs)} outputs"
        raise ValueError(
            f"Expected a teacher with one output, its logits. Received: {received}. "
            "Give keras.Model(teacher.inputs, one of its outputs)."
        )
    logits = np.asarray(outputs)
    if logits.ndim < 2 or logits.shape[-1] < 2:
        raise ValueError(f"Expected logits [N, ..., K] of at least 2 classes. Received: shape {logits.shape}.")
    if shape is not None and list(logits.shape[1:]) != shape:
        raise ValueError(f"Expected logits {shape} an example, as in the manifest. Received: {list(logits.shape[1:])}.")
    return logits


def _rows(manifest, outputs, ids, checks):
    """Rows, and temperature → divergences of their compression."""
    settings = manifest.facts["settings"]
    logits = checked_logits(outputs, manifest.facts["shape"])
    wrong = ~np.isfinite(logits).reshape(len(logits), -1).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"Expected finite logits of the teacher. Received: NaN or ∞ for {wrong.sum()} examples, the first with id "
            f"{ids[wrong][0]}. Look at the teacher and at that example."
        )
    fields = compress(logits, settings["dtype"], settings["top_k"])
    restored = expand(fields, logits.shape[-1])
    rows = np.empty(len(ids), manifest.row_type)
    for name, values in {"id": ids, "checksum": checks, **fields}.items():
        rows[name] = values
    return rows, {t: divergences(logits, restored, t) for t in settings["temperatures"]}


def _write(manifest, one, found):
    rows = np.concatenate([rows for rows, _ in found])
    errors = {t: np.concatenate([e[t] for _, e in found]) for t in manifest.facts["settings"]["temperatures"]}
    kl_error = {str(t): {"mean": float(error.mean()), "max": float(error.max())} for t, error in errors.items()}
    manifest.write_shard(one, rows, kl_error)


def _complete(manifest, one):
    rows = [manifest.read_shard(shard, in_memory=False, compare=False) for shard in one["shards"]]
    ids = np.concatenate([shard["id"] for shard in rows])
    known, counts = np.unique(ids, return_counts=True)
    if len(known) < len(ids):
        raise ValueError(
            f"Expected an id of its own for every example. Received: {len(ids) - len(known)} duplicates, such as id "
            f"{known[counts > 1][0]}. Call enumerate() once, on the whole dataset."
        )
    # in the order of the ids: the same for the dataset in whatever order
    facts = np.stack([ids, np.concatenate([shard["checksum"] for shard in rows])], axis=1)[np.argsort(ids)]
    one["examples"] = len(ids)
    one["dataset"] = hashlib.sha256(np.ascontiguousarray(facts, "<i8").tobytes()).hexdigest()
    one["complete"] = True
    manifest.save()


def _compare(rows, ids, checks, seed):
    if len(rows) == len(ids):
        different = (rows["id"] != ids) | (rows["checksum"] != checks)
        if not different.any():
            return
        received = f"id {ids[different][0]} in place of id {rows['id'][different][0]}, or with another input"
    else:
        received = f"{len(ids)} examples where there were {len(rows)}"
    raise ValueError(f"Expected the examples that were written, in their order. Received: {received}. {_stale(seed)}")


def _stale(seed):
    return (
        f"The cache is stale for this dataset (augmentation_seed={seed}): its content, order or augmentation changed. "
        "Write another cache, of a dataset that is not shuffled anew each time."
    )
