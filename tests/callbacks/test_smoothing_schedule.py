import math
import warnings

import h5py
import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.losses.coefficient import number

losses = kls.losses
Schedule = kls.callbacks.SmoothingSchedule
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 4, 12)
# XLA's compilations take seconds; on JAX the point is that the compiled step is made anew
QUICK = {"jit_compile": "auto" if keras.backend.backend() == "jax" else False}


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])


def compiled(loss, **options):
    model = network()
    model.compile(keras.optimizers.SGD(0.5), loss, **{**QUICK, **options})
    return model


def fit(model, epochs, *callbacks, **options):
    options = {"verbose": 0, "shuffle": False, "batch_size": 5, **options}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options).history


def one_after_the_other(make, values):
    """The same training by hand: an epoch with every value in turn, each with a loss of its own."""
    model = network()
    for value in values:
        model.compile(keras.optimizers.SGD(0.5), make(value), run_eagerly=True)
        fit(model, 1)
    return model


def assert_same_weights(a, b):
    for one, other in zip(a.get_weights(), b.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-6)


# what it does to a training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule, values",
    [
        ([0.9, 0.0], [0.9, 0.0, 0.0]),  # the last one stays
        (np.array([0.9, 0.4, 0.1]), [0.9, 0.4, 0.1]),
        (lambda epoch, alpha: 0.2 * epoch, [0.0, 0.2, 0.4]),
        (lambda epoch, alpha: alpha / 2, [0.4, 0.2, 0.1]),  # from the .8 it was made with
    ],
)
def test_every_epoch_trains_with_its_value(schedule, values):
    make = losses.SmoothedCrossentropy
    model = compiled(make(0.8))
    history = fit(model, 3, Schedule(schedule), validation_data=(X, Y))
    assert history["label_smoothing"] == pytest.approx(values, rel=1e-6)
    expected = one_after_the_other(make, values)
    assert_same_weights(model, expected)
    # the value of the last epoch stays, in evaluation too
    loss = model.evaluate(X, Y, verbose=0)
    assert loss == pytest.approx(expected.evaluate(X, Y, verbose=0), rel=1e-5)
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [losses.MaxSuppression, losses.ConfidencePenalty, lambda weight: losses.MarginSmoothing(0.5, weight)],
    ids=["MaxSuppression", "ConfidencePenalty", "MarginSmoothing"],
)
def test_weights_of_penalties(make):
    model = compiled(make(0.1))
    history = fit(model, 3, Schedule([0.0, 2.0, 0.7], "weight"))
    assert history["weight"] == [0.0, 2.0, 0.7]
    assert_same_weights(model, one_after_the_other(make, [0.0, 2.0, 0.7]))


def test_starts_at_the_epoch_that_training_starts_at():
    model = compiled(losses.SmoothedCrossentropy(0.1))
    history = fit(model, 4, Schedule([0.4, 0.3, 0.2, 0.1]), initial_epoch=2)
    assert history["label_smoothing"] == [0.2, 0.1]


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_new_trace(jit_compile):
    class Counting(losses.SmoothedCrossentropy):
        calls = 0

        def losses(self, labels, logits):
            Counting.calls += 1
            return super().losses(labels, logits)

    model, counts = compiled(Counting(0.1), jit_compile=jit_compile), []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(Counting.calls))
    fit(model, 4, Schedule([0.1, 0.6, 0.0, 0.3]), count, batch_size=6)
    assert counts[0] > 0 and counts == counts[:1] * 4


# several losses ------------------------------------------------------------------------------------------------------


def two_headed(loss):
    keras.utils.set_random_seed(0)
    x = keras.Input((3,))
    model = keras.Model(x, {"a": keras.layers.Dense(4, name="a")(x), "b": keras.layers.Dense(4, name="b")(x)})
    model.compile(keras.optimizers.SGD(0.5), loss, **QUICK)
    return model


class Listed(keras.Model):
    """Two outputs in a list, as a subclassed model has them."""

    def __init__(self):
        super().__init__()
        self.heads = [keras.layers.Dense(4), keras.layers.Dense(4)]

    def call(self, inputs):
        return [head(inputs) for head in self.heads]


def fit_two(model, epochs, *callbacks):
    y = {"a": Y, "b": 3 - Y}
    return model.fit(X, y, 12, epochs, verbose=0, shuffle=False, callbacks=list(callbacks)).history


def test_losses_of_several_outputs():
    def both(alpha, other):
        return {"a": losses.SmoothedCrossentropy(alpha), "b": losses.SmoothedCrossentropy(other)}

    def by_hand(values):
        model = two_headed(both(0.0, 0.0))
        for pair in values:
            model.compile(keras.optimizers.SGD(0.5), both(*pair), run_eagerly=True)
            fit_two(model, 1)
        return model

    loss = both(0.1, 0.2)
    model = two_headed(loss)
    history = fit_two(model, 2, Schedule([0.5, 0.9]))
    assert history["a_label_smoothing"] == history["b_label_smoothing"] == [0.5, 0.9]
    assert_same_weights(model, by_hand([(0.5, 0.5), (0.9, 0.9)]))
    # each from its own value
    loss = both(0.1, 0.2)
    fit_two(two_headed(loss), 2, Schedule(lambda epoch, alpha: 2 * alpha))
    assert [number(loss[k].label_smoothing) for k in "ab"] == pytest.approx([0.4, 0.8])
    # outputs without names, in a list
    model = Listed()
    model.compile(keras.optimizers.SGD(0.5), list(both(0.1, 0.2).values()), **QUICK)
    schedule = Schedule([0.5], loss=model.loss[1])
    history = model.fit(X, [Y, Y], verbose=0, callbacks=[schedule, Schedule([0.3], loss=model.loss[0])]).history
    assert (history["0_label_smoothing"], history["1_label_smoothing"]) == ([0.3], [0.5])
    # one of them alone
    loss = both(0.1, 0.2)
    model = two_headed(loss)
    fit_two(model, 2, Schedule([0.5, 0.9], loss=loss["b"]))
    assert_same_weights(model, by_hand([(0.1, 0.5), (0.1, 0.9)]))


def test_losses_of_others_are_left_alone():
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours = losses.SmoothedCrossentropy(0.1)
    fit_two(two_headed({"a": theirs, "b": ours}), 1, Schedule([0.7]))
    assert number(ours.label_smoothing) == 0.7


# under a strategy ----------------------------------------------------------------------------------------------------


@pytest.mark.tensorflow
@pytest.mark.parametrize("within", [False, True], ids=["outside", "within its scope"])
def test_under_a_strategy(two_replicas, within):
    values = [0.9, 0.0, 0.5]
    with two_replicas.scope():
        model = compiled(losses.SmoothedCrossentropy(0.1))
        if within:
            history = fit(model, 3, Schedule(values))
    if not within:
        history = fit(model, 3, Schedule(values))
    assert history["label_smoothing"] == values
    assert_same_weights(model, one_after_the_other(losses.SmoothedCrossentropy, values))


# a training that is resumed ------------------------------------------------------------------------------------------


class Killed(keras.callbacks.Callback):
    """Raises in an epoch, after as many batches; once."""

    def __init__(self, epoch, batches):
        super().__init__()
        self.epoch, self.batches, self.now = epoch, batches, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        self.on_train_batch_end(-1)

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch + 1) == (self.epoch, self.batches):
            raise KeyboardInterrupt


def halved(epoch, alpha):
    return alpha / 2


def killed_and_resumed(path, schedules, epoch, batches, save_freq, backup_first=True, make=losses.SmoothedCrossentropy):
    """A training of 3 batches an epoch that is killed, and the one of another process that goes on: (model, logs)."""

    def run(*more):
        model = compiled(make(0.8))
        backup = keras.callbacks.BackupAndRestore(path / "backup", save_freq=save_freq)
        ours = [Schedule(schedule, *_attribute(make)) for schedule in schedules]
        return model, fit(model, 4, *([backup, *ours] if backup_first else [*ours, backup]), *more)

    with pytest.raises(KeyboardInterrupt):
        run(Killed(epoch, batches))
    return run()


def _attribute(make):
    return [] if make is losses.SmoothedCrossentropy else ["weight"]


LIST = [0.4, 0.2, 0.1, 0.05]


@pytest.mark.parametrize(
    "schedule, epoch, batches, backup_first",
    [(halved, 2, 0, True), (halved, 2, 1, False), (halved, 1, 2, True), (LIST, 2, 1, True), (LIST, 1, 2, False)],
)
def test_resumed_from_the_end_of_an_epoch_it_equals_an_undisturbed_one(
    schedule, epoch, batches, backup_first, tmp_path
):
    undisturbed = compiled(losses.SmoothedCrossentropy(0.8))
    whole = fit(undisturbed, 4, Schedule(schedule))
    model, rest = killed_and_resumed(tmp_path, [schedule], epoch, batches, "epoch", backup_first)
    assert whole["label_smoothing"] == [0.4, 0.2, 0.1, 0.05]
    assert rest == {key: values[epoch:] for key, values in whole.items()}
    for a, b in zip(undisturbed.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "save_freq, epoch, batches, kept, saved, backup_first",
    [(2, 0, 3, 2, 0, True), (2, 0, 3, 2, 0, False), (4, 1, 2, 1, 1, False), (3, 2, 1, 3, 1, True)],
)
def test_resumed_within_an_epoch_its_schedule_is_not_applied_twice(
    save_freq, epoch, batches, kept, saved, backup_first, tmp_path
):
    # The last backup is of `kept` batches of epoch `saved`. Keras does not go on from there in the data, but begins
    # that epoch again, with these weights. So it equals no undisturbed training, but this one by hand.
    values = [0.4, 0.2, 0.1, 0.05]
    expected = network()
    for i, value in enumerate([*values[: saved + 1], *values[saved:]]):
        expected.compile(keras.optimizers.SGD(0.5), losses.SmoothedCrossentropy(value), run_eagerly=True)
        count = 5 * kept if i == saved else len(X)
        expected.fit(X[:count], Y[:count], 5, 1, verbose=0, shuffle=False)
    model, rest = killed_and_resumed(tmp_path, [halved], epoch, batches, save_freq, backup_first)
    assert rest["label_smoothing"] == values[saved:]
    assert_same_weights(model, expected)


def test_the_same_model_resumed_within_an_epoch(tmp_path):
    # killed in epoch 1, whose step JAX has traced with .2; the backup is of the end of epoch 0, still in it
    model = compiled(losses.SmoothedCrossentropy(0.8))
    callbacks = [keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=3), Schedule(halved)]
    with pytest.raises(KeyboardInterrupt):
        fit(model, 2, *callbacks, Killed(1, 1))
    assert fit(model, 2, *callbacks)["label_smoothing"] == [0.4, 0.2]
    assert_same_weights(model, one_after_the_other(losses.SmoothedCrossentropy, [0.4, 0.4, 0.2]))


def test_the_weight_of_a_penalty_resumed_within_an_epoch(tmp_path):
    _, rest = killed_and_resumed(tmp_path, [halved], 2, 2, 2, make=losses.MaxSuppression)
    assert rest["weight"] == [0.1, 0.05]


def test_several_schedules_of_one_number_resumed_within_an_epoch(tmp_path):
    # .8 → .4 → .2, and .2 → .1 → .05: killed in the second epoch
    _, rest = killed_and_resumed(tmp_path, [halved, halved], 1, 2, 1)
    assert rest["label_smoothing"] == [0.05, 0.0125, 0.003125]


def test_killed_again_within_the_epoch_that_it_was_resumed_in(tmp_path):
    def run(*more):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
        return fit(compiled(losses.SmoothedCrossentropy(0.8)), 2, backup, Schedule(halved), *more)

    for batches in (1, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            run(Killed(0, batches))
    assert run()["label_smoothing"] == [0.4, 0.2]


def test_another_fit_goes_on_from_the_present_value(tmp_path):
    model = compiled(losses.SmoothedCrossentropy(0.8))
    assert fit(model, 2, Schedule(halved))["label_smoothing"] == [0.4, 0.2]
    with pytest.raises(KeyboardInterrupt):
        fit(model, 1, Schedule(halved), Killed(0, 1))
    assert number(model.loss.label_smoothing) == 0.1
    model.save_weights(tmp_path / "killed.weights.h5")
    # of the epoch that was cut short, nothing was backed up: epoch 0 is another one
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        fit(model, 1, backup, Schedule(halved), Killed(0, 1))
    assert number(model.loss.label_smoothing) == 0.05
    # of this one, something was
    assert fit(model, 1, backup, Schedule(halved))["label_smoothing"] == [0.05]
    assert fit(model, 1, Schedule(halved))["label_smoothing"] == [0.025]
    # a checkpoint of the middle of epoch 0 goes on in it
    model.load_weights(tmp_path / "killed.weights.h5")
    assert fit(model, 2, Schedule(halved))["label_smoothing"] == [0.1, 0.05]
    model.load_weights(tmp_path / "killed.weights.h5")
    assert fit(model, 2, Schedule(halved), initial_epoch=1)["label_smoothing"] == [0.05]


def test_a_backup_without_what_the_epoch_began_with(tmp_path):
    # as of before; it is in the file of a running epoch alone
    model, path = compiled(losses.SmoothedCrossentropy(0.8)), tmp_path / "old.weights.h5"
    with pytest.raises(KeyboardInterrupt):
        fit(model, 1, Schedule(halved), Killed(0, 1))
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        entries = file["loss/vars"]
        assert set(entries) == {"label_smoothing", "label_smoothing_made_with", "epoch_starts"}
        del entries["epoch_starts"], entries["label_smoothing_made_with"]
    model = compiled(losses.SmoothedCrossentropy(0.3))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Expected")
        model.load_weights(path)
    assert fit(model, 1, Schedule(halved))["label_smoothing"] == [0.2]
    model.save_weights(path)
    with h5py.File(path) as file:
        assert "epoch_starts" not in file["loss/vars"]


# errors --------------------------------------------------------------------------------------------------------------


def test_a_model_without_such_a_loss():
    message = r"Expected a loss with `label_smoothing`, such as .*SmoothedCrossentropy.* in compile\(\)\. Received: "
    for loss in (keras.losses.SparseCategoricalCrossentropy(from_logits=True), losses.FocalCrossentropy()):
        with pytest.raises(ValueError, match=message + "(<|FocalCrossentropy)"):
            fit(compiled(loss), 1, Schedule([0.1]))
    with pytest.raises(ValueError, match=message + "'sparse_categorical_crossentropy'"):
        fit(compiled("sparse_categorical_crossentropy"), 1, Schedule([0.1]))
    with pytest.raises(ValueError, match=r"Expected a loss with `weight`.*Received: SmoothedCrossentropy"):
        fit(compiled(losses.SmoothedCrossentropy()), 1, Schedule([0.1], "weight"))
    with pytest.raises(ValueError, match=r"Expected a loss with `name`"):
        fit(compiled(losses.SmoothedCrossentropy()), 1, Schedule([0.1], "name"))


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan, None, "0.1"])
def test_values_that_the_loss_does_not_take(value):
    loss = losses.SmoothedCrossentropy(0.3)
    with pytest.raises(ValueError) as error:
        fit(compiled(loss), 2, Schedule([0.2, value]))
    assert str(error.value) == f"Expected `label_smoothing` in [0, 1). Received: {value!r}."
    assert number(loss.label_smoothing) == 0.2


@pytest.mark.parametrize("schedule", [[], (), 0.1, "linear", None])
def test_bad_schedules(schedule):
    with pytest.raises(
        ValueError, match=r"^Expected `schedule` to be a function or at least one value in a list\. Rec"
    ):
        Schedule(schedule)
