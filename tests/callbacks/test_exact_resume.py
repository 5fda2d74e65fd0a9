"""Trainings that die and go on: equal to undisturbed ones in every bit."""

import contextlib
import errno
import itertools
import json
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.files import one_writer

X = np.random.default_rng(0).normal(size=(22, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 22)
STEPS = 6  # of an epoch, at 4 examples each; the last has 2


def network():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, name="hidden"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )


def plain():
    model = network()
    on_jax = keras.backend.backend() == "jax"  # where Keras 3.15 cannot finish averages, nor such a loss learn
    model.compile(
        keras.optimizers.Adam(0.05, use_ema=not on_jax, ema_overwrite_frequency=None),
        kls.losses.SmoothedCrossentropy(0.1) if on_jax else kls.losses.OnlineLabelSmoothing(3, steps_per_epoch=STEPS),
        metrics=["accuracy", kls.metrics.ExpectedCalibrationError(name="ece")],
    )
    return model, [
        kls.callbacks.SmoothingSchedule(lambda epoch, alpha: 0.9 * alpha),
        keras.callbacks.ReduceLROnPlateau(monitor="loss", min_delta=0.1, patience=1),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
    ]


def distiller():
    teacher = network()
    model = kls.Distiller(
        teacher,
        network(),
        [
            kls.distillation.LogitsDistillation(2.0),
            kls.distillation.FeatureDistillation("mse", "hidden", "hidden", projector="auto"),
        ],
    )
    model.compile("adam", kls.losses.SmoothedCrossentropy(0.1))
    return model, [kls.callbacks.DistillationSchedule([0.9, 0.5, 0.1])]


def data(kind):
    if kind == "arrays":
        return {"x": X, "y": Y, "batch_size": 4}
    if kind == "shuffled":
        return {"x": kls.data.ShuffledBatches(X, Y, batch_size=4, seed=3), "shuffle": False}
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(22, seed=5)
    if kind == "endless":
        return {"x": batches.repeat().batch(4), "steps_per_epoch": STEPS}
    return {"x": batches.batch(4)}


class Die(keras.callbacks.Callback):
    """Ends the training in mid-step, the first time in `fit` that so many steps are done."""

    def __init__(self, after):
        super().__init__()
        self.after, self.steps = after, itertools.count(1)  # an iterator is no state, which would be restored

    def on_train_batch_end(self, batch, logs=None):
        if next(self.steps) == self.after:
            raise KeyboardInterrupt


def train(directory, make=plain, kind="arrays", every="2 steps", die=None, epochs=3, seed=0, eager=True):
    """`(history, epochs, weights)`, or None of a training that died; eagerly, as a trace takes longer."""
    keras.utils.set_random_seed(seed)
    model, callbacks = make()
    model.run_eagerly = eager
    if directory is not None:  # in the middle, as the order of callbacks must not matter
        callbacks.insert(1, kls.callbacks.ExactResume(directory, every))
    try:
        history = model.fit(
            **data(kind), epochs=epochs, verbose=0, callbacks=[*callbacks, Die(die)], validation_data=(X, Y)
        )
    except KeyboardInterrupt:
        callbacks[1]._checkpoints.wait()  # a test looks at the files
        return None
    return history.history, history.epoch, [keras.ops.convert_to_numpy(w) for w in model.variables]


def assert_same(result, expected):
    assert result[:2] == expected[:2]
    for ours, theirs in zip(result[2], expected[2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "make,kind",
    [
        (plain, "arrays"),
        pytest.param(plain, "endless", marks=pytest.mark.tensorflow),
        pytest.param(distiller, "dataset", marks=pytest.mark.tensorflow),
        (distiller, "shuffled"),
    ],
)
def test_killed_trainings_end_as_undisturbed_ones(make, kind, tmp_path):
    # ShuffledBatches begin with the epoch that the callback tells them
    undisturbed = tmp_path / "undisturbed" if kind == "shuffled" else None
    expected = train(undisturbed, make, kind, eager=False)
    for die in (1, 3, STEPS, 3):  # within an epoch, twice within the same one, at its end
        assert train(tmp_path / "killed", make, kind, die=die, eager=False) is None
    assert_same(train(tmp_path / "killed", make, kind, eager=False), expected)


def test_a_complete_training_is_not_repeated(tmp_path, capsys):
    expected = train(tmp_path, every="epoch")
    model, callbacks = plain()
    model.run_eagerly = True
    steps = []
    callbacks += [
        kls.callbacks.ExactResume(tmp_path),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch)),
    ]
    history = model.fit(**data("arrays"), epochs=3, verbose=2, callbacks=callbacks, validation_data=(X, Y))
    assert history.history == expected[0] and history.epoch == expected[1] and not steps
    assert "is complete: its model and history are restored" in capsys.readouterr().out
    with pytest.raises(AssertionError):  # one of more epochs goes on
        assert_same(train(tmp_path, epochs=4), expected)


@pytest.mark.parametrize("suffix", [".npz", ".weights.h5"])
def test_a_torn_checkpoint_is_passed_over(tmp_path, suffix):
    expected = train(None)
    train(tmp_path, die=5)
    latest = max(tmp_path.glob(f"*{suffix}"))
    latest.write_bytes(latest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is damaged: the checkpoint before it is used"):
        result = train(tmp_path)
    assert_same(result, expected)


def test_two_checkpoints_and_the_beginning_of_the_epoch_are_kept(tmp_path):
    train(tmp_path, every="1 step", die=STEPS + 4)
    kept = ["epoch000001-step000000000", "epoch000001-step000000002", "epoch000001-step000000003"]
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == sorted(
        f"{name}{suffix}" for name in kept for suffix in (".npz", ".weights.h5")
    )


@pytest.mark.tensorflow  # elsewhere Keras shuffles arrays by random numbers that a checkpoint has
def test_data_in_another_order_begin_the_epoch_again(tmp_path):
    train(tmp_path, die=STEPS + 3)  # the checkpoint is of 2 steps of epoch 1
    steps = []
    keras.utils.set_random_seed(1)
    model, callbacks = plain()
    model.run_eagerly = True
    callbacks += [
        kls.callbacks.ExactResume(tmp_path),
        keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: steps.append(batch)),
    ]
    with pytest.warns(UserWarning, match="epoch 2 begins again, in a new order"):
        model.fit(**data("arrays"), epochs=2, verbose=0, callbacks=callbacks)
    assert steps == list(range(STEPS))


def test_another_training_is_refused(tmp_path, monkeypatch):
    train(tmp_path, die=3)
    monkeypatch.setattr("keras_ls.callbacks.exact_resume._PROCESS", "another")
    model = network()
    model.compile("sgd", kls.losses.SmoothedCrossentropy(0.2))
    with pytest.raises(ValueError, match=r"holds, with the .* Give each training a directory of its own"):
        model.fit(X, Y, verbose=0, callbacks=[kls.callbacks.ExactResume(tmp_path)])


def test_one_training_at_a_time(tmp_path):
    with one_writer(tmp_path), pytest.raises(BlockingIOError, match="one writer at a time"):
        train(tmp_path)


def test_a_full_disk_leaves_the_checkpoints_of_before(tmp_path, monkeypatch):
    expected = train(None)

    def full(path, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(batch, logs):
        monkeypatch.setattr(model, "save_weights", full)

    keras.utils.set_random_seed(0)
    model, callbacks = plain()
    model.run_eagerly = True
    callbacks.insert(1, kls.callbacks.ExactResume(tmp_path, "2 steps"))
    callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=fill))
    with pytest.raises(OSError, match=r"room for a checkpoint.*No space left on device.*make room"):
        model.fit(**data("arrays"), epochs=3, verbose=0, callbacks=callbacks, validation_data=(X, Y))
    assert not list(tmp_path.glob(".[0-9]*"))
    assert_same(train(tmp_path), expected)


class Counts(keras.callbacks.Callback):
    """What it remembers in its attributes: a number, a list of numbers, an array that is written in place."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.steps, self.losses, self.hits = limit, 0, [], np.zeros(STEPS)
        self.images = np.zeros((1 << 21) + 1)  # more than 16 MB

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.losses.append(logs["loss"])
        self.hits[batch] += 1


def test_what_callbacks_remember_but_not_what_they_were_made_with(tmp_path):
    def fit(limit, die):
        keras.utils.set_random_seed(0)
        model, _ = plain()
        model.run_eagerly = True
        counts = Counts(limit)
        callbacks = [counts, kls.callbacks.ExactResume(tmp_path, "2 steps"), Die(die)]
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(**data("arrays"), epochs=2, verbose=0, callbacks=callbacks)
        callbacks[1]._checkpoints.wait()
        return counts

    first = fit(limit=1, die=STEPS + 3)
    second = fit(limit=5, die=None)
    assert second.limit == 5 and second.steps == 2 * STEPS == len(second.losses)
    assert second.losses[: STEPS + 2] == first.losses[: STEPS + 2] and second.hits.tolist() == [2] * STEPS
    assert max(path.stat().st_size for path in tmp_path.glob("*.npz")) < 100_000  # without the images


def test_a_second_fit_is_not_moved_by_the_first(tmp_path):
    # Keras keeps the epoch that a callback asked for, for every `fit` after it
    train(tmp_path, die=STEPS + 1, every="epoch")
    keras.utils.set_random_seed(0)
    model, callbacks = plain()
    model.run_eagerly = True
    callbacks.insert(1, kls.callbacks.ExactResume(tmp_path))
    model.fit(**data("arrays"), epochs=3, verbose=0, callbacks=callbacks, validation_data=(X, Y))
    assert model.fit(X, Y, verbose=0).epoch == [0]


@pytest.mark.parametrize("every", [0, -1, True, 1.5, "fortnight", "0 steps", "2 epochs and a half", None])
def test_every(every, tmp_path):
    with pytest.raises(ValueError, match="Expected `every` to be"):
        kls.callbacks.ExactResume(tmp_path, every)


@pytest.mark.parametrize("every", [2, "2 epochs"])
def test_every_second_epoch(every, tmp_path):
    train(tmp_path, every=every, die=3 * STEPS + 1, epochs=4)
    assert max(tmp_path.glob("*.npz")).name == "epoch000002-step000000000.npz"


def test_outside_of_fit():
    callback = kls.callbacks.ExactResume("unused")
    callback.set_model(network())
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match=r"Expected `fit` of a keras\.Model"):
        callback.on_train_begin()


@pytest.mark.tensorflow
def test_twenty_kills_at_random_moments(tmp_path):
    program = [sys.executable, "-m", "tests.callbacks.killed_trainings", str(tmp_path), "10"]
    output = subprocess.run(program, capture_output=True, text=True, timeout=900)
    assert output.returncode == 0, output.stderr
    for work, arrays in (("distill", 8), ("study", 1)):
        found = json.loads(output.stdout.splitlines()[-1])[work]
        assert found["kills"] >= 10 and found["arrays"] == arrays and found["equal"], (work, found)


@pytest.mark.tensorflow
def test_under_a_strategy(two_replicas, tmp_path):
    def make():
        with two_replicas.scope():
            model = network()
            model.compile("adam", kls.losses.SmoothedCrossentropy(0.1), jit_compile=False)
            return model, [keras.callbacks.EarlyStopping("loss", patience=2)]

    expected = train(tmp_path / "undisturbed", make, "shuffled", eager=False)
    assert train(tmp_path / "killed", make, "shuffled", die=STEPS + 3, eager=False) is None
    result = train(tmp_path / "killed", make, "shuffled", eager=False)
    assert result[1] == expected[1]
    for ours, theirs in zip(result[2], expected[2], strict=True):  # sums over replicas round
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
