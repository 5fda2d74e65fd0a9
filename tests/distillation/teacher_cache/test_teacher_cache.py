"""`TeacherCache`: what is joined is what the teacher said, whatever the order, compression or place."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import CachedTeacher, TeacherCache
from tests.distillation.networks import WEIGHT, X, Y, kl, teacher
from tests.distillation.teacher_cache.caches import IMAGES, data, image_network, spoken, view, weighted, written

ORDERS = {
    "batch": lambda d, join: join(d.batch(8)),
    "shuffle, batch": lambda d, join: join(d.shuffle(21, seed=3).batch(8)),
    "join first": lambda d, join: join(d).shuffle(21, seed=3).batch(8),
    "join between": lambda d, join: join(d.shuffle(21, seed=3)).batch(8),
    "part": lambda d, join: join(d.skip(5).take(9).batch(8)),
    "repeat": lambda d, join: join(d.repeat(2).batch(8)),
}


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("top_k", [None, 1])
@pytest.mark.parametrize("order", ORDERS)
def test_every_example_gets_its_own_logits(tmp_path, order, top_k, in_memory):
    t = teacher()
    cache = written(tmp_path, model=t, top_k=top_k, shard_size=8)
    joined = ORDERS[order](weighted(), lambda d: cache.join(d, in_memory=in_memory))
    seen = 0
    for x, y, w in joined:
        np.testing.assert_array_equal(y, [Y[np.abs(X - row).sum(axis=1).argmin()] for row in x["inputs"].numpy()])
        np.testing.assert_array_equal(w, [WEIGHT[np.abs(X - row).sum(axis=1).argmin()] for row in x["inputs"].numpy()])
        expected = t(x["inputs"]).numpy()
        if top_k:  # of 3 classes, 2 share what the largest leaves
            largest = expected.argmax(axis=1)[:, None]
            rest = (np.exp(expected).sum(axis=1) - np.exp(expected.max(axis=1))) / 2
            expected = np.where(np.arange(3) == largest, expected, np.log(rest)[:, None])
        np.testing.assert_allclose(x["teacher_outputs"], expected, atol=1e-5)
        seen += len(y)
    assert seen == {"part": 9, "repeat": 42}.get(order, 21)
    assert joined.element_spec[0]["teacher_outputs"].shape == (None, 3)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("start, step", [(0, 1), (100, 1), (-5, 1), (10**12, 7)])
def test_ids_in_any_order_and_far_apart(tmp_path, start, step, in_memory):
    t = teacher()
    ids = np.random.default_rng(0).permutation(start + step * np.arange(21))
    dataset = tf.data.Dataset.from_tensor_slices((ids, (X, Y)))
    cache = written(tmp_path, dataset, t, shard_size=8)
    np.testing.assert_allclose(spoken(cache.join(dataset.batch(21), in_memory=in_memory)), t(X), atol=1e-5)
    for wrong in (start - 1, start + 21 * step, start + 1 if step > 1 else start + 30):
        moved = dataset.map(lambda i, e, wrong=wrong: (tf.where(i == start, tf.cast(wrong, "int64"), i), e))
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"Expected ids that are in the cache.*\[{wrong}\]"):
            spoken(cache.join(moved.batch(21), in_memory=in_memory))


def test_examples_without_labels_and_inputs_of_several_parts(tmp_path):
    parts = {"a": keras.Input((2,), name="a"), "b": keras.Input((2,), name="b")}
    keras.utils.set_random_seed(0)
    both = keras.Model(parts, keras.layers.Dense(3)(keras.layers.Concatenate()(list(parts.values()))))
    inputs = {"a": X[:, :2], "b": X[:, 2:]}
    dataset = tf.data.Dataset.from_tensor_slices(inputs).enumerate()
    cache = written(tmp_path, dataset, both)
    joined = next(iter(cache.join(dataset.batch(21))))
    assert set(joined["inputs"]) == {"a", "b"}
    np.testing.assert_allclose(joined["teacher_outputs"], both(inputs), atol=1e-5)
    edited = tf.data.Dataset.from_tensor_slices({**inputs, "b": X[:, 2:] + 1}).enumerate()
    with pytest.raises(tf.errors.InvalidArgumentError, match="the inputs that the teacher saw"):
        spoken(cache.join(edited.batch(21)).map(lambda x: (x,)))


def test_a_batched_dataset_gives_the_same_cache(tmp_path):
    # batches of 5 are cut into batches of 4
    one, other = written(tmp_path / "one"), written(tmp_path / "other", data().batch(5))
    assert one.manifest == other.manifest  # with the hashes of the shards


@pytest.mark.parametrize("top_k", [None, 1])
def test_sequences(tmp_path, top_k):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 4))
    tagger = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    x = np.random.default_rng(0).normal(size=(9, 5, 4)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros((9, 5)))).enumerate()
    found = spoken(written(tmp_path, dataset, tagger, top_k=top_k).join(dataset.batch(3)))
    logits = tagger(x).numpy()
    assert found.shape == (9, 5, 3)
    if top_k is None:
        np.testing.assert_allclose(found, logits, atol=1e-5)
    np.testing.assert_allclose(found.max(axis=-1), logits.max(axis=-1), atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(axis=-1), np.exp(logits).sum(axis=-1), rtol=1e-4)


@pytest.mark.parametrize("dtype, top_k", [("float32", None), ("float16", None), ("float32", 1), ("float16", 2)])
def test_kl_error_is_that_of_what_is_read(tmp_path, dtype, top_k):
    t = teacher()
    # 21 examples in shards of 8, 8 and 5: the mean is over examples
    cache = written(tmp_path, model=t, dtype=dtype, top_k=top_k, shard_size=8, temperatures=(1.0, 4.0))
    restored = spoken(cache.join(data().batch(21)))
    for temperature in (1.0, 4.0):
        error = kl(t(X).numpy(), restored, temperature)
        # teacher and cache run batches of 21 and 4, and round differently
        found = cache.kl_error[temperature]
        assert found["mean"] == pytest.approx(error.mean(), rel=1e-3, abs=1e-9)
        assert found["max"] == pytest.approx(error.max(), rel=1e-3, abs=1e-9)
    assert (cache.kl_error[1.0]["max"] == 0) == (dtype == "float32" and top_k is None)


def test_a_half_precision_teacher(tmp_path):
    t = teacher()
    half = keras.Sequential([keras.Input((4,)), t, keras.layers.Activation("linear", dtype="float16")])
    dataset = data()
    found = spoken(written(tmp_path, dataset, half).join(dataset.batch(21)))
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, half.predict(X, batch_size=4, verbose=0).astype("float32"))


def test_passes_of_several_augmentation_seeds(tmp_path):
    t = image_network(0, 9)
    cache = written(tmp_path, view, t, augmentation_seeds=[3, 0])
    assert cache.augmentation_seeds == [3, 0]
    written(tmp_path, view, t, augmentation_seeds=range(5))  # adds the others
    cache = TeacherCache(tmp_path, t)
    assert cache.augmentation_seeds == [3, 0, 1, 2, 4] and cache.num_classes == 3
    for seed in range(5):
        images = np.stack([x for _, (x, _) in view(seed).as_numpy_iterator()])
        np.testing.assert_allclose(spoken(cache.join(view(seed).batch(8), seed)), t(images), atol=1e-5)
    fingerprints = {one["dataset"] for one in cache.manifest["passes"]}
    assert len(fingerprints) == 5  # other shifts


def test_epochs_follow_one_another(tmp_path):
    t = image_network(0, 9)
    cache = written(tmp_path, view, t, augmentation_seeds=range(3))
    stream = list(cache.epochs(view, [2, 0, 2], batch_size=8))
    assert [len(y) for _, y in stream] == [8, 8, 5] * 3
    for x, _ in stream:
        np.testing.assert_allclose(x["teacher_outputs"], t(x["inputs"]), atol=1e-5)
    orders = [np.concatenate([y for _, y in stream[start : start + 3]]) for start in (0, 3, 6)]
    assert all(sorted(order) == sorted(Y) for order in orders)
    assert any((orders[0] != order).any() for order in orders[1:])  # shuffled anew, with the same seed too
    again = list(cache.epochs(view, [2, 0, 2], batch_size=8))
    for (x, _), (same, _) in zip(stream, again):
        np.testing.assert_array_equal(x["inputs"], same["inputs"])
    plain = np.concatenate([x["inputs"] for x, _ in cache.epochs(view, [1], batch_size=8, shuffle_seed=None)])
    np.testing.assert_array_equal(plain, np.stack([x for _, (x, _) in view(1).as_numpy_iterator()]))


def test_a_hundred_epochs(tmp_path):
    t = image_network(0, 9)
    cache = written(tmp_path, view, t, augmentation_seeds=range(2))
    assert sum(1 for _ in cache.epochs(view, [0, 1] * 50, batch_size=21)) == 100


def test_writing_again_changes_nothing_and_runs_no_teacher(tmp_path, monkeypatch):
    t = teacher()
    written(tmp_path, model=t)
    before = (tmp_path / "manifest.json").read_bytes()
    # which cannot be called
    monkeypatch.setattr("keras_ls.distillation.teacher_cache.teacher_cache.in_inference_mode", lambda _: None)
    written(tmp_path, model=t)
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_the_teacher_is_left_as_it_was(tmp_path):
    t = teacher()
    t.compile("sgd", "mse")
    weights, trainable = t.get_weights(), t.trainable
    written(tmp_path, model=t)
    for a, b in zip(weights, t.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert t.trainable == trainable


def test_dropout_and_batch_normalization_are_in_inference_mode(tmp_path):
    from tests.distillation.networks import batch_norm_network

    t = batch_norm_network()
    before = t.get_weights()
    cache = written(tmp_path, model=t)
    np.testing.assert_allclose(spoken(cache.join(data().batch(21))), t(X, training=False), atol=1e-5)
    for a, b in zip(before, t.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_the_manifest_says_what_is_there(tmp_path):
    cache = written(tmp_path, dtype="float16", top_k=2, shard_size=7, dataset_name="made up")
    facts = json.loads((tmp_path / "manifest.json").read_text())
    assert facts["format"] == 1 and facts["shape"] == [3] and facts["versions"]["keras_ls"] == kls.__version__
    # 7 rounded up to batches of 4
    assert facts["settings"]["shard_size"] == 8 and facts["settings"]["dataset_name"] == "made up"
    (one,) = facts["passes"]
    assert one["examples"] == 21 and [shard["rows"] for shard in one["shards"]] == [8, 8, 5]
    assert {path.name for path in tmp_path.iterdir()} == {
        "manifest.json",
        ".lock",
        *(shard["file"] for shard in one["shards"]),
    }
    # ids are the rows', in any order: the checksum of the dataset is that of its examples
    assert cache.manifest["passes"][0]["dataset"] == one["dataset"]
    assert np.load(tmp_path / one["shards"][2]["file"], allow_pickle=False)["id"].tolist() == [16, 17, 18, 19, 20]
    cache.verify()


def test_the_fingerprint_of_a_dataset_does_not_depend_on_its_order(tmp_path):
    shuffled = data().shuffle(21, seed=0, reshuffle_each_iteration=False)
    one, other = written(tmp_path / "one"), written(tmp_path / "other", shuffled)
    assert one.manifest["passes"][0]["dataset"] == other.manifest["passes"][0]["dataset"]
    edited = tf.data.Dataset.from_tensor_slices((np.where(np.arange(84).reshape(21, 4) == 7, 0, X), Y)).enumerate()
    changed = written(tmp_path / "changed", edited)
    assert changed.manifest["passes"][0]["dataset"] != one.manifest["passes"][0]["dataset"]


def test_a_stranger_to_keras_can_fit_from_it(tmp_path):
    # the layout that CachedTeacher reads
    cache = written(tmp_path)
    x, _ = next(iter(cache.join(data().batch(21))))
    np.testing.assert_array_equal(CachedTeacher()(x), x["teacher_outputs"])
    assert IMAGES.shape[0] == len(x["inputs"])
