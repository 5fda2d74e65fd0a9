"""Trainings are done once, resume, and end with the same numbers."""

import dataclasses
import pathlib

import numpy as np
import pytest

from keras_ls import data
from keras_ls.data.splits import PARTS
from keras_ls.studies import Store, Training

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
    store, told = Store(tmp_path), []
    store.tell = told.append
    store.model(dataclasses.replace(TEACHER, epochs=40))
    np.testing.assert_allclose(told, [100 / 438, 200 / 438, 300 / 438, 400 / 438, 1])


def test_a_damaged_teacher_cache_is_made_again(first, tmp_path):
    _, predictions = first
    Store(tmp_path).teacher_cache(STUDENT)
    shard = next((tmp_path / "teacher_caches").glob("*/*.npy"))
    shard.write_bytes(shard.read_bytes()[:100])
    np.testing.assert_array_equal(Store(tmp_path).predictions(STUDENT).logits["test"], predictions.logits["test"])


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
    teacher, seen = store.model(student.teacher), list(student.batches(store.teacher_cache(student)))
    assert sum(len(y) for _, y in seen) == 2 * 700
    for x, _ in seen:
        np.testing.assert_allclose(teacher(x["inputs"]), x["teacher_outputs"], atol=1e-5)
    moved = {image.tobytes() for x, _ in seen for image in x["inputs"].numpy()}
    assert (len(moved) > 1000) == bool(change)  # two epochs of 700 images, each shifted anew
    for (joined, y), (x, labels) in zip(seen, student.batches()):
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
    np.testing.assert_array_equal(Store(tmp_path).predictions(STUDENT).logits["test"], predictions.logits["test"])


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


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-200])


def _flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _without_a_part(path):
    arrays = dict(np.load(path))
    np.savez(path, **{name: arrays[name] for name in PARTS[1:]})


def _of_other_rows(path):
    np.savez(path, **{name: array[1:] for name, array in np.load(path).items()})


def _a_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_truncated, _flipped, _without_a_part, _of_other_rows, _a_directory])
def test_damaged_predictions_are_made_again(first, damage):
    store, predictions = first
    damage(next((store.directory / "predictions").glob(f"{STUDENT.name}-*.npz")))
    np.testing.assert_array_equal(
        Store(store.directory).predictions(STUDENT).logits["test"], predictions.logits["test"]
    )
