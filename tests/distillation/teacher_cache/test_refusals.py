"""What a `TeacherCache` refuses, and that its message says which."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ls.distillation import TeacherCache
from tests.distillation.networks import X, Y, network, teacher
from tests.distillation.teacher_cache.caches import data, image_network, spoken, view, written

REFUSED = tf.errors.InvalidArgumentError


@pytest.fixture
def cache(tmp_path):
    return written(tmp_path / "cache", shard_size=8)


def manifest_path(cache):
    return cache.directory / "manifest.json"


def shard_path(cache):
    return cache.directory / cache.manifest["passes"][0]["shards"][1]["file"]


def test_another_teacher(cache):
    t = teacher()
    t.set_weights([w * 1.001 for w in t.get_weights()])
    for refused in (lambda: cache.check(t), lambda: TeacherCache(cache.directory, t)):
        with pytest.raises(ValueError, match=r"Expected the teacher of the cache .* stale"):
            refused()
    with pytest.raises(ValueError, match="stale"):
        written(cache.directory, model=t, shard_size=8)
    cache.check(teacher())


def test_a_truncated_shard(cache):
    path = shard_path(cache)
    path.write_bytes(path.read_bytes()[:-1])
    for refused in (lambda: cache.join(data()), cache.verify):
        with pytest.raises(ValueError, match=f"{path.name}.*truncated"):
            refused()


def test_a_shard_with_a_changed_bit(cache):
    path = shard_path(cache)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    for refused in (lambda: cache.join(data(), in_memory=False), cache.verify):
        with pytest.raises(ValueError, match=f"{path.name}.*corrupted"):
            refused()


def test_a_missing_shard(cache):
    shard_path(cache).unlink()
    with pytest.raises(ValueError, match="no such file"):
        cache.join(data())


def rewritten(cache, change):
    """A manifest with a changed fact and a right checksum."""
    from keras_ls.distillation.teacher_cache.manifest import CacheManifest

    manifest = CacheManifest.read(cache.directory)
    change(manifest.facts)
    manifest.save()
    return TeacherCache(cache.directory)


def test_shards_of_other_classes_than_the_manifest(cache):
    changed = rewritten(cache, lambda facts: facts.update(shape=[4]))
    with pytest.raises(ValueError, match="classes, dtype or top-k are not the manifest's"):
        changed.join(data())


def test_another_format(cache):
    facts = json.loads(manifest_path(cache).read_text())
    manifest_path(cache).write_text(json.dumps({**facts, "format": 2}))
    with pytest.raises(ValueError, match=r"Expected a cache of format 1\. Received: format 2"):
        TeacherCache(cache.directory)


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("32", "16"), lambda _: "[]"])
def test_a_damaged_manifest(cache, damage):
    path = manifest_path(cache)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"manifest.*corrupted"):
        TeacherCache(cache.directory)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"dtype": "float16"}, "dtype='float32'"),
        ({"top_k": 2}, "top_k=None"),
        ({"batch_size": 8}, "batch_size=4"),
        ({"dataset_name": "other"}, "dataset_name=None"),
    ],
)
def test_other_settings_than_the_cache_has(cache, settings, named):
    with pytest.raises(ValueError, match=f"Expected {named}"):
        written(cache.directory, **{"shard_size": 8, **settings})


def test_an_edited_dataset_when_it_is_written_again(cache):
    edited = tf.data.Dataset.from_tensor_slices((X + 1, Y)).enumerate()
    with pytest.raises(ValueError, match="stale for this dataset"):
        written(cache.directory, edited, shard_size=8)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("in_memory", [True, False])
def test_an_edited_dataset_when_it_is_joined(cache, batched, in_memory):
    changed = X.copy()
    changed[13, 2] += 1e-6
    edited = tf.data.Dataset.from_tensor_slices((changed, Y)).enumerate()
    edited = edited.batch(8) if batched else edited
    with pytest.raises(REFUSED, match=r"the inputs that the teacher saw.*\[13\]"):
        spoken(cache.join(edited, in_memory=in_memory))
    assert len(spoken(cache.join(edited, verify=False, in_memory=in_memory))) == 21


def test_a_dataset_numbered_after_it_was_shuffled(cache):
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(21, seed=0).enumerate()
    with pytest.raises(REFUSED, match="the inputs that the teacher saw"):
        spoken(cache.join(shuffled.batch(8)))


def test_ids_that_are_not_there(cache):
    with pytest.raises(REFUSED, match=r"Expected ids that are in the cache.*\[40\]"):
        spoken(cache.join(data().map(lambda i, e: (tf.where(i == 20, tf.cast(40, "int64"), i), e)).batch(8)))
    with pytest.raises(REFUSED, match=r"Expected ids that are in the cache.*\[-1\]"):
        spoken(cache.join(data().map(lambda i, e: (i - 1, e)), verify=False))


def test_an_augmentation_seed_of_another_pass(tmp_path):
    cache = written(tmp_path, view, image_network(0, 9), augmentation_seeds=[0, 1])
    with pytest.raises(REFUSED, match="augmentation has another seed"):
        spoken(cache.join(view(1).batch(8), 0))
    for seed in (2, None):
        with pytest.raises(ValueError, match=r"one of \[0, 1\].*Received: .*not there"):
            cache.join(view(1), seed)


def test_duplicate_ids(tmp_path):
    with pytest.raises(ValueError, match="21 duplicates, such as id 0"):
        written(tmp_path, data().repeat(2))
    with pytest.raises(ValueError, match="not complete"):
        TeacherCache(tmp_path).join(data())


def test_a_teacher_that_says_nan(tmp_path):
    x = X.copy()
    x[6] = np.nan
    with pytest.raises(ValueError, match=r"Expected finite logits.*1 examples, the first with id 6"):
        written(tmp_path, tf.data.Dataset.from_tensor_slices((x, Y)).enumerate())


@pytest.mark.parametrize(
    "dataset, message",
    [
        (X, "Received: ndarray"),
        (view, "augmentation seed"),
        (tf.data.Dataset.from_tensor_slices(X), "elements of TensorSpec"),
        (tf.data.Dataset.from_tensor_slices((X, Y)), "ids TensorSpec"),
        (tf.data.Dataset.from_tensor_slices((Y, X, Y)), "elements of 3 parts"),
        (tf.data.Dataset.from_tensor_slices((Y.astype("float32"), (X, Y))), "ids TensorSpec"),
        (data().take(0), "an empty dataset"),
        (data().repeat(), "repeats for ever"),
    ],
)
def test_no_dataset_of_ids_and_examples(tmp_path, dataset, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        written(tmp_path, dataset)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"top_k": 3}, "Expected `top_k` below the 3 classes"),
        ({"top_k": 0}, "Expected `top_k`"),
        ({"dtype": "bfloat16"}, "Expected `dtype` to be one of"),
        ({"batch_size": 0}, "Expected `batch_size`"),
        ({"temperatures": (0.0,)}, "Expected `temperatures` > 0"),
        ({"augmentation_seeds": [0]}, "to be a function of the augmentation seed"),
        ({"augmentation_seeds": [1, 1], "dataset": view}, "Expected `augmentation_seeds` to differ"),
        ({"augmentation_seeds": [], "dataset": view}, "Expected `augmentation_seeds` to differ"),
        ({"augmentation_seeds": ["a"], "dataset": view}, "Expected `augmentation_seeds` to be an integer"),
    ],
)
def test_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path, **arguments)


@pytest.mark.parametrize("outputs", ["dict", "list", "one"])
def test_a_teacher_without_single_logits(tmp_path, outputs):
    inputs = keras.Input((4,))
    logits = keras.layers.Dense(3)(inputs)
    several = {
        "dict": {"a": logits, "b": logits},
        "list": [logits, logits],
        "one": keras.layers.Dense(1)(inputs),
    }[outputs]
    with pytest.raises(ValueError, match=r"Expected (a teacher with one output|logits \[N, \.\.\., K\] of at least 2)"):
        written(tmp_path, model=keras.Model(inputs, several))


@pytest.mark.parametrize("model", ["teacher.keras", keras.Sequential([keras.layers.Dense(3)])])
def test_no_teacher(tmp_path, model):
    with pytest.raises(ValueError, match=r"Expected `teacher` to be a built keras\.Model"):
        written(tmp_path, model=model)


def test_nothing_written_yet(tmp_path):
    cache = TeacherCache(tmp_path / "none")
    for refused in (lambda: cache.join(data()), lambda: cache.kl_error, lambda: cache.check(network()), cache.verify):
        with pytest.raises(ValueError, match="Expected a cache that was written"):
            refused()
    assert not (tmp_path / "none").exists()  # asking makes no directory


def test_batches_given_to_epochs(tmp_path):
    cache = written(tmp_path, view, image_network(0, 9), augmentation_seeds=[0])
    with pytest.raises(ValueError, match="single examples"):
        cache.epochs(lambda seed: view(seed).batch(2))
    with pytest.raises(ValueError, match=r"^Expected `view` to come to an end\. Received: .* repeats for ever"):
        cache.epochs(lambda seed: view(seed).repeat())
    with pytest.raises(ValueError, match="at least one augmentation seed"):
        cache.epochs(view, [])


def test_a_dataset_that_grew_since_the_cache_was_complete(cache):
    grown = tf.data.Dataset.from_tensor_slices((np.tile(X, (2, 1)), np.tile(Y, 2))).enumerate()
    with pytest.raises(ValueError, match=r"Expected the 21 examples that were written\. Received: 11 batches of 4"):
        written(cache.directory, grown, shard_size=8)


def test_probabilities_are_not_taken_for_logits_without_a_word(tmp_path):
    softmax = keras.Sequential([teacher(), keras.layers.Softmax()])
    with pytest.warns(
        UserWarning, match="Expected logits for a TeacherCache. Received: the outputs of a model that ends in a softmax"
    ):
        written(tmp_path / "softmax", model=softmax)
