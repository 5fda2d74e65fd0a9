"""`DistillationSchedule`: every epoch is trained with its value."""

import keras
import pytest

import keras_ls as kls
from keras_ls.callbacks import DistillationSchedule
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
