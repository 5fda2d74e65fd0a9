"""`DistillationSchedule`: every epoch is trained with its value."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.callbacks import DistillationSchedule
from tests.callbacks.test_smoothing_schedule import Killed, halved
from tests.distillation.networks import X, Y, crossentropy, kl, network, teacher

LogitsDistillation = kls.distillation.LogitsDistillation
HARD = kls.losses.SmoothedCrossentropy(0.0)
pytestmark = pytest.mark.tensorflow


def fitted(losses, *schedules, **arguments):
    """A fixed teacher and student, and the history of three epochs at a learning rate of 0."""
    t, s = teacher(), network()
    distiller = kls.Distiller(t, s, losses, **arguments)
    distiller.compile(keras.optimizers.SGD(0.0), HARD, jit_compile=False)
    history = distiller.fit(X, Y, batch_size=21, epochs=3, verbose=0, callbacks=list(schedules)).history
    return t(X).numpy(), s(X).numpy(), history


def test_weights():
    schedules = [
        DistillationSchedule([0.0, 0.5]),
        DistillationSchedule(lambda epoch, weights: [epoch, weights[1] / 2], "distillation_loss_weights"),
    ]
    losses = [LogitsDistillation(1.0, name="a"), LogitsDistillation(2.0, name="b")]
    z_t, z_s, history = fitted(losses, *schedules)
    hard, a, b = crossentropy(Y, z_s).mean(), kl(z_t, z_s).mean(), 4 * kl(z_t, z_s, 2.0).mean()
    assert history["loss"] == pytest.approx(
        [0.5 * b, 0.5 * hard + 0.5 * (a + 0.25 * b), 0.5 * hard + 0.5 * (2 * a + 0.125 * b)], rel=1e-5
    )
    assert history["student_loss_weight"] == [0.0, 0.5, 0.5]
    assert history["distillation_loss_weights"] == [[0.0, 0.5], [1.0, 0.25], [2.0, 0.125]]


def test_temperatures():
    one, other = LogitsDistillation(3.0, name="one"), LogitsDistillation(5.0, name="other")
    schedule = DistillationSchedule([4.0, 2.0, 1.0], "temperature", loss=one)
    z_t, z_s, history = fitted([one, other], schedule)
    assert history["one"] == pytest.approx([t * t * kl(z_t, z_s, t).mean() for t in (4, 2, 1)], rel=1e-4)
    assert history["other"] == pytest.approx([25 * kl(z_t, z_s, 5).mean()] * 3, rel=1e-4)
    assert history["temperature"] == [4.0, 2.0, 1.0]
    _, _, history = fitted([one, other], DistillationSchedule([4.0], "temperature"))
    assert history["one_temperature"] == history["other_temperature"] == [4.0] * 3


def all_halved(epoch, weights):
    for i in range(len(weights)):
        weights[i] /= 2  # in the list that it was given
    return weights


def resumable(path, save_freq, *more):
    """Four epochs of three batches whose schedules start from the present values, backed up: (distiller, logs)."""
    losses = [LogitsDistillation(8.0, name="a"), LogitsDistillation(4.0, 2.0, name="b")]
    distiller = kls.Distiller(teacher(), network(), losses, [1.0, 0.5], 0.8)
    distiller.compile(keras.optimizers.SGD(0.1), kls.losses.SmoothedCrossentropy(0.4), jit_compile=False)
    callbacks = [
        keras.callbacks.BackupAndRestore(path / "backup", save_freq=save_freq),
        DistillationSchedule(halved),
        DistillationSchedule(all_halved, "distillation_loss_weights"),
        DistillationSchedule(halved, "temperature"),
        DistillationSchedule(halved, "student_temperature", loss=losses[1]),
        kls.callbacks.SmoothingSchedule(halved),
        *more,
    ]
    return distiller, distiller.fit(X, Y, 8, 4, verbose=0, shuffle=False, callbacks=callbacks).history


VALUES = {
    "distillation_loss_weights": [[0.5, 0.25], [0.25, 0.125], [0.125, 0.0625], [0.0625, 0.03125]],
    "a_temperature": [4.0, 2.0, 1.0, 0.5],
    "b_temperature": [2.0, 1.0, 0.5, 0.25],
    "student_temperature": [1.0, 0.5, 0.25, 0.125],
    "label_smoothing": [0.2, 0.1, 0.05, 0.025],
}


@pytest.mark.parametrize("epoch, batches", [(2, 0), (1, 2)])
def test_resumed_from_the_end_of_an_epoch_it_equals_an_undisturbed_one(epoch, batches, tmp_path):
    undisturbed, whole = resumable(tmp_path / "undisturbed", "epoch")
    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path, "epoch", Killed(epoch, batches))
    resumed, rest = resumable(tmp_path, "epoch")
    assert {name: whole[name] for name in VALUES} == VALUES
    assert whole["student_loss_weight"] == pytest.approx([0.4, 0.2, 0.1, 0.05])
    assert rest == {key: values[epoch:] for key, values in whole.items()}
    for a, b in zip(undisturbed.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_resumed_within_an_epoch_its_schedules_are_not_applied_twice(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path, 2, Killed(1, 3))  # the last backup is of the second batch of epoch 1
    _, rest = resumable(tmp_path, 2)
    assert {name: rest[name] for name in VALUES} == {name: values[1:] for name, values in VALUES.items()}
    assert rest["student_loss_weight"] == pytest.approx([0.2, 0.1, 0.05])


def test_another_fit_goes_on_from_the_present_values():
    distiller = kls.Distiller(teacher(), network(), LogitsDistillation(8.0), student_loss_weight=0.8)
    distiller.compile(keras.optimizers.SGD(0.1), HARD, jit_compile=False)
    schedules = [DistillationSchedule(halved), DistillationSchedule(halved, "temperature")]
    fit = lambda *more: distiller.fit(X, Y, verbose=0, callbacks=[*schedules, *more]).history  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        fit(Killed(0, 1))
    logs = fit()
    assert (logs["temperature"], logs["student_loss_weight"]) == ([2.0], pytest.approx([0.2]))


def test_errors():
    with pytest.raises(ValueError, match=r"no `loss` with `student_loss_weight`"):
        DistillationSchedule([1.0], loss=LogitsDistillation())
    with pytest.raises(ValueError, match=r"a distillation loss with `heat`, .* Received: "):
        fitted(LogitsDistillation(), DistillationSchedule([1.0], "heat"))
    with pytest.raises(ValueError, match=r"`student_loss_weight` in \[0, 1\]. Received: 2.0"):
        fitted(LogitsDistillation(), DistillationSchedule([2.0]))
    plain = network()
    plain.compile("sgd", HARD, jit_compile=False)
    with pytest.raises(ValueError, match=r"a model that is a Distiller. Received: Sequential"):
        plain.fit(X, Y, verbose=0, callbacks=[DistillationSchedule([1.0])])
