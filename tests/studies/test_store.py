"""Trainings are done once, resume, and end with the same numbers."""

import dataclasses
import pathlib

import numpy as np
import pytest

from keras_ls import data
from keras_ls.data.splits import PARTS
from keras_ls.files import one_writer, remove
from keras_ls.studies import Store, Training
from keras_ls.studies.engine import store as store_module
from keras_ls.studies.engine import trainer, training
from keras_ls.studies.engine.pipeline import training_batches

TEACHER = Training("digits-noise", (8,), epochs=2)
STUDENT = Training("digits-noise", (4,), epochs=2, teacher=TEACHER, temperature=2.0)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("first"))
    return store, store.predictions(STUDENT)


def test_a_second_run_and_a_resumed_one_give_the_same_numbers(first, tmp_path):
    _, predictions = first
    again = Store(tmp_path)
    again.model(TEACHER)  # a run that was stopped after the teacher
    resumed = Store(tmp_path)
    np.testing.assert_array_equal(resumed.predictions(STUDENT).logits["test"], predictions.logits["test"])


def test_dropout_has_the_seed_of_the_training():
    # the seeds share a compiled step, and with it the generators of its dropout
    training = Training("digits-noise", (16,), dropout=0.5, epochs=2, seed=3)
    first = training.run().get_weights()
    dataclasses.replace(training, seed=4).run()
    for a, b in zip(training.run().get_weights(), first, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_tells_how_far_it_is(tmp_path):
    # 700 images, 40 times, in batches of 64: 437.5 steps, that is 438, of which a call takes 100
    told = []
    Store(tmp_path).model(dataclasses.replace(TEACHER, epochs=40), told.append)
    np.testing.assert_allclose(told, [100 / 438, 200 / 438, 300 / 438, 400 / 438, 1])


def test_a_damaged_teacher_cache_is_made_again(first, tmp_path):
    _, predictions = first
    Store(tmp_path).teacher_cache(STUDENT)
    shard = next((tmp_path / "teacher_caches").glob("*/*.npy"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.warns(UserWarning, match="the shard is truncated"):
        found = Store(tmp_path).predictions(STUDENT)
    np.testing.assert_array_equal(found.logits["test"], predictions.logits["test"])


def test_what_is_stored_is_read(first, monkeypatch):
    store, predictions = first
    monkeypatch.setattr(Training, "run", lambda *_: pytest.fail("trained again"))
    again = Store(store.directory)
    assert again.has(STUDENT)
    np.testing.assert_array_equal(again.predictions(STUDENT).logits["test"], predictions.logits["test"])


def test_predictions_are_those_of_the_saved_model(first):
    store, predictions = first
    x = data.load("digits-noise").test[0]
    model = Store(store.directory).model(STUDENT)
    np.testing.assert_allclose(model(x), predictions.logits["test"], atol=1e-6)
    # logits = features · templates + bias
    rebuilt = predictions.features["test"] @ predictions.templates.T + model.get_layer("logits").bias.numpy()
    np.testing.assert_allclose(rebuilt, predictions.logits["test"], atol=1e-5)


@pytest.mark.parametrize("change", [{}, {"shift": 1}], ids=["as they are", "shifted"])
def test_a_student_learns_from_what_its_teacher_says_to_the_same_images(first, tmp_path, monkeypatch, change):
    student = dataclasses.replace(STUDENT, **{"dataset": "digits-images", **change})
    monkeypatch.setitem(data.DATASETS, "digits-images", images)
    student = dataclasses.replace(student, teacher=dataclasses.replace(TEACHER, dataset="digits-images"))
    store = Store(tmp_path)
    teacher, seen = store.model(student.teacher), list(training_batches(student, store.teacher_cache(student)))
    assert sum(len(y) for _, y in seen) == 2 * 700
    for x, _ in seen:
        np.testing.assert_allclose(teacher(x["inputs"]), x["teacher_outputs"], atol=1e-5)
    moved = {image.tobytes() for x, _ in seen for image in x["inputs"].numpy()}
    assert (len(moved) > 1000) == bool(change)  # two epochs of 700 images, each shifted anew
    for (joined, y), (x, labels) in zip(seen, training_batches(student)):
        np.testing.assert_array_equal(joined["inputs"], x)
        np.testing.assert_array_equal(y, labels)


def images():
    """The digits as images."""
    digits = data.load("digits-noise")
    parts = {part: (getattr(digits, part)[0].reshape(-1, 8, 8, 1), getattr(digits, part)[1]) for part in PARTS}
    return dataclasses.replace(digits, name="digits-images", **parts)


def test_a_damaged_file_is_made_again(first, tmp_path):
    _, predictions = first
    again = Store(tmp_path)
    again.predictions(STUDENT)
    path = next((tmp_path / "predictions").glob("*teacher*"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="made again"):
        found = Store(tmp_path).predictions(STUDENT)
    np.testing.assert_array_equal(found.logits["test"], predictions.logits["test"])


def test_seeds_and_settings_have_keys_of_their_own():
    fingerprint = data.load("digits-noise").fingerprint
    others = [
        dataclasses.replace(STUDENT, **change)
        for change in (
            {"seed": 1},
            {"temperature": 3.0},
            {"epochs": 3},
            {"teacher": dataclasses.replace(TEACHER, seed=1)},
        )
    ]
    assert len({training.key(fingerprint) for training in [STUDENT, *others]}) == 5
    assert STUDENT.key(fingerprint) != STUDENT.key(data.load("digits").fingerprint)


def test_seeds_differ_though_they_share_a_compiled_step(first, tmp_path):
    _, predictions = first
    other = Store(tmp_path).predictions(dataclasses.replace(STUDENT, seed=1))
    assert np.abs(other.logits["test"] - predictions.logits["test"]).max() > 0.1


def test_a_directory_that_cannot_be_written_is_an_error_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Expected a directory that can be written"):
        Store(pathlib.Path(tmp_path / "file"))


def test_a_student_trains_under_a_mirrored_strategy_as_without(two_replicas, tmp_path):
    # all examples in every step: the order in which a strategy reads them plays no part
    student = dataclasses.replace(STUDENT, batch_size=700, teacher=dataclasses.replace(TEACHER, batch_size=700))
    plain = Store(tmp_path / "plain").predictions(student)
    mirrored = Store(tmp_path / "mirrored", two_replicas).predictions(student)
    np.testing.assert_allclose(mirrored.logits["test"], plain.logits["test"], atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"label_smoothing": 1.0}, {"temperature": 0.0}, {"epochs": 0}, {"batch_size": 1.5}, {"learning_rate": -1}],
)
def test_bad_settings(change):
    with pytest.raises(ValueError, match=f"Expected `{next(iter(change))}`"):
        dataclasses.replace(STUDENT, **change)


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def damages(content, count=12):
    """The content cut short at, or with a bit flipped in, places that are spread over it."""
    places = np.linspace(0, len(content) - 1, count).astype(int)
    return [content[:at] for at in places] + [flipped(content, at) for at in places]


def arrays_of(store, folder, training=TEACHER):
    found = store.predictions(training)
    return found.logits if folder == "predictions" else {**found.features, "templates": found.templates}


@pytest.mark.filterwarnings("ignore:.* is damaged or stale")
@pytest.mark.parametrize("folder", ["predictions", "features"])
def test_whatever_happens_to_arrays_their_numbers_stay(first, folder):
    store, _ = first
    expected = arrays_of(store, folder)
    path = next((store.directory / folder).glob(f"{TEACHER.name}-*.npz"))
    for content in damages(path.read_bytes()):
        path.write_bytes(content)
        again = Store(store.directory)
        again._models[TEACHER] = store.model(TEACHER)  # is read quicker so
        found = arrays_of(again, folder)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {name: arrays[name] for name in PARTS[1:]},
        lambda arrays: {**arrays, "test": arrays["test"][1:]},
        lambda arrays: {**arrays, "test": arrays["test"][:, 1:]},
        lambda arrays: {**arrays, "test": arrays["test"].astype("float16")},
        lambda arrays: {**arrays, "test": np.where(arrays["test"] > 0, np.nan, arrays["test"])},
        lambda arrays: {**arrays, "test": np.array([{}], object)},
    ],
    ids=["a part less", "a row less", "a class less", "rounded", "NaN", "objects"],
)
@pytest.mark.parametrize("folder", ["predictions", "features"])
def test_arrays_that_are_whole_but_not_of_this_network_are_made_again(first, folder, change):
    store, _ = first
    expected = arrays_of(store, folder)
    path = next((store.directory / folder).glob(f"{TEACHER.name}-*.npz"))
    np.savez(path, **change(expected))
    with pytest.warns(UserWarning, match=r"\.npz is damaged or stale, and made again \("):
        found = arrays_of(Store(store.directory), folder)
    np.testing.assert_array_equal(found["test"], expected["test"])


def test_a_directory_in_the_place_of_arrays(first):
    store, predictions = first
    path = next((store.directory / "predictions").glob(f"{STUDENT.name}-*.npz"))
    path.unlink()
    path.mkdir()
    with pytest.warns(UserWarning, match="made again"):
        found = Store(store.directory).predictions(STUDENT)
    np.testing.assert_array_equal(found.logits["test"], predictions.logits["test"])


@pytest.mark.filterwarnings("ignore:.* is damaged or stale")
def test_whatever_happens_to_a_network_its_weights_stay(first, tmp_path, monkeypatch):
    store, _ = first
    expected = store.model(TEACHER).get_weights()
    path = Store(tmp_path)._path("models", TEACHER, "keras")
    store.model(TEACHER).save(path)
    whole, trained = path.read_bytes(), []
    monkeypatch.setattr(Training, "run", lambda *_: trained.append(1) or store.model(TEACHER))
    at = whole.find(expected[0].tobytes()[:64])  # a weight, which HDF5 would read as another number
    for content in [flipped(whole, at + 3), *damages(whole)]:
        path.write_bytes(content)
        for found, weight in zip(Store(tmp_path).model(TEACHER).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(found, weight)
    assert len(trained) > 12  # at least those that were cut, and the weight


def test_a_network_of_other_shapes_is_trained_again(first, tmp_path):
    store, _ = first
    again = Store(tmp_path)
    dataclasses.replace(TEACHER, widths=(9,)).build().save(again._path("models", TEACHER, "keras"))
    with pytest.warns(UserWarning, match=r"\.keras is damaged or stale, and made again \(expected weights of"):
        found = again.model(TEACHER)
    np.testing.assert_array_equal(found.get_weights()[0], store.model(TEACHER).get_weights()[0])


def test_a_network_of_other_code_is_trained_again_and_it_is_said(first, tmp_path, monkeypatch, recwarn):
    Store(tmp_path).model(TEACHER)
    other_settings = dataclasses.replace(TEACHER, epochs=1)  # which have the same name
    Store(tmp_path).model(other_settings)
    assert not [str(w.message) for w in recwarn if "other code" in str(w.message)]
    monkeypatch.setattr(training, "sources_hash", lambda has_teacher: "of a mended loss")
    with pytest.warns(UserWarning, match=f"{TEACHER.name} was made by other code or versions: it is trained again"):
        Store(tmp_path).model(TEACHER)
    assert len(list((tmp_path / "models").iterdir())) == 3


@pytest.fixture
def cached(first, tmp_path):
    """A store with the networks of `first`, and a cache of the teacher."""
    store = Store(tmp_path)
    store._models[TEACHER] = first[0].model(TEACHER)
    cache = store.teacher_cache(STUDENT)
    store._caches.clear()
    return store, cache.directory


def content_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_cache_that_cannot_be_used_is_made_again_to_the_same_bytes(cached):
    store, directory = cached
    whole = content_of(directory)
    shard, manifest = next(directory.glob("*.npy")).name, "manifest.json"
    # the manifest without its last line break, which means nothing
    for name, content in ((shard, whole[shard]), (manifest, whole[manifest].rstrip())):
        for damaged in damages(content, 4):
            (directory / name).write_bytes(damaged)
            store._caches.clear()
            with pytest.warns(UserWarning, match="is damaged or stale, and made again"):
                store.teacher_cache(STUDENT)
            assert content_of(directory) == whole


def test_a_cache_of_another_teacher_and_a_file_in_its_place(cached):
    store, directory = cached
    whole = content_of(directory)
    other, teacher = TEACHER.build(), store._models[TEACHER]
    store._models[TEACHER] = other
    with pytest.warns(UserWarning, match="Expected the teacher of the cache"):
        store.teacher_cache(STUDENT).check(other)
    remove(directory)
    directory.write_text("")
    store._caches.clear()
    store._models[TEACHER] = teacher
    with pytest.warns(UserWarning, match="expected a directory"):
        store.teacher_cache(STUDENT)
    assert content_of(directory) == whole


def test_errors_of_writing_a_cache_remove_nothing(cached, monkeypatch):
    store, directory = cached
    whole = content_of(directory)
    with one_writer(directory), pytest.raises(BlockingIOError, match="Expected one writer at a time"):
        store.teacher_cache(STUDENT)

    def fails(*_):
        raise ValueError("of the teacher's own")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_teacher_cache", fails)
        with pytest.raises(ValueError, match="of the teacher's own"):
            store.teacher_cache(STUDENT)
    assert content_of(directory) == whole


@pytest.mark.parametrize("change", [{}, {"shift": 1, "dropout": 0.5, "loss": "online"}], ids=["student", "augmented"])
def test_a_long_training_that_is_killed_goes_on_within(first, tmp_path, monkeypatch, change):
    monkeypatch.setattr(trainer, "LONG", 1)
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", "100 steps")
    monkeypatch.setitem(data.DATASETS, "digits-images", images)
    long = dataclasses.replace(TEACHER if change else STUDENT, epochs=40, **change)
    if change:
        long = dataclasses.replace(long, dataset="digits-images")
    whole = Store(tmp_path / "whole").model(long).get_weights()
    assert not any((tmp_path / "whole" / "checkpoints").iterdir())  # what is done needs none

    def die(share):
        if share > 0.6:
            raise KeyboardInterrupt

    Store(tmp_path / "killed").model(TEACHER)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "killed").model(long, die)
    told = []
    resumed = Store(tmp_path / "killed").model(long, told.append)
    assert min(told) > 0.6  # 438 steps, of which 200 were done
    for ours, theirs in zip(resumed.get_weights(), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_order_is_that_of_shuffled_batches():
    student = dataclasses.replace(STUDENT, batch_size=100, seed=3)  # 7 batches an epoch
    batches = data.ShuffledBatches(*student.examples_seen, batch_size=100, seed=3)
    expected = []
    for epoch in range(2):
        batches.seek(epoch)
        expected += [batches[i] for i in range(7)]
    dataset = training_batches(student)
    for start in (0, 9):
        dataset.seek(0, start)
        for found, (x, y) in zip(dataset, expected[start:], strict=True):
            np.testing.assert_array_equal(found[0], x)
            np.testing.assert_array_equal(found[1], y)


def test_training_with_the_calibration_split():
    both = dataclasses.replace(STUDENT, with_calibration=True)
    splits = data.load("digits-noise")
    assert both.num_examples == len(splits.train[1]) + len(splits.calibration[1]) == len(both.examples_seen[1])
    np.testing.assert_array_equal(both.examples_seen[0][-1], splits.calibration[0][-1])
