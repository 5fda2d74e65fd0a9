"""Student, Distiller and optimizer of one `strategy.scope()`; strategies made twice in a process."""

import contextlib

import keras
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, LogitsDistillation
from keras_ls.distillation.distiller_checks import one_strategy_advised
from keras_ls.losses.reduction import gather_over_replicas, sum_over_replicas
from tests.distillation.networks import X, Y, crossentropy, kl, network, teacher


def made(strategy, outside=()):
    """A compiled Distiller, all of it within the scope but for what is named in `outside`."""

    def scope(name):
        return contextlib.nullcontext() if name in outside else strategy.scope()

    with scope("teacher"):
        t = teacher()
    with scope("student"):
        s = network()
    with scope("losses"):
        loss = LogitsDistillation(2.0)
    with scope("distiller"):
        distiller = Distiller(t, s, loss)
    with scope("optimizer"):
        optimizer = keras.optimizers.SGD(0.5)
    with scope("compile"):
        distiller.compile(optimizer, kls.losses.SmoothedCrossentropy(0.0), jit_compile=False)
    return distiller


@pytest.mark.parametrize(
    "outside, what",
    [
        (
            ["student"],
            "Expected the student .*made within that of a WithKeysOfItsOwn, the student made outside",
        ),
        (["distiller"], "Expected the student .*a Distiller made outside of every scope, the student made within"),
        (["optimizer"], "Expected the optimizer .*the optimizer made outside of every scope"),
        (["student", "optimizer"], "Expected the student .*"),
    ],
)
def test_what_was_made_outside_is_named(two_replicas, outside, what):
    with pytest.raises(ValueError, match=rf"{what}.*with strategy\.scope\(\)"):
        made(two_replicas, outside)


def test_an_unbuilt_student_is_found_out_by_fit(two_replicas):
    student = keras.Sequential([keras.layers.Dense(3)])
    with two_replicas.scope():
        distiller = Distiller(teacher(), student, LogitsDistillation(), student_loss_weight=0.0)
        distiller.compile(keras.optimizers.SGD(0.5))
    student(X)  # builds it, outside
    with pytest.raises(ValueError, match=r"Expected the student to be made within the `strategy.scope\(\)`"):
        distiller.fit(X, verbose=0)


def test_what_holds_no_trained_variables_may_come_from_anywhere(two_replicas):
    distiller = made(two_replicas, ["teacher", "losses", "compile"])
    z_t, z_s = distiller.teacher(X).numpy(), network().predict(X, verbose=0)
    expected = (crossentropy(Y, z_s).mean() + 4 * kl(z_t, z_s, 2.0).mean()) / 2
    assert distiller.fit(X, Y, batch_size=21, verbose=0).history["loss"] == pytest.approx([expected], rel=1e-5)


def test_one_device_mixes_with_none():
    distiller = made(tf.distribute.OneDeviceStrategy("CPU:0"), ["student"])
    distiller._check_scope()  # as fit does


def test_two_strategies_of_one_process():
    """Ours beside a plain one: a sum of one and a gather of the other would break both under one number."""

    def on_two(strategy, function):
        return [float(x) for x in tf.function(lambda: strategy.run(function))().values]

    for make in (kls.distribute.MirroredStrategy, tf.distribute.MirroredStrategy, kls.distribute.MirroredStrategy):
        strategy = make(["CPU:0", "CPU:1"])
        if make is kls.distribute.MirroredStrategy:
            assert on_two(strategy, lambda: tf.reduce_sum(sum_over_replicas(tf.ones([3])))) == [6.0, 6.0]
        assert on_two(strategy, lambda: tf.reduce_sum(gather_over_replicas(tf.ones([2, 5])))) == [20.0, 20.0]


def test_messages_that_met_are_explained():
    # TensorFlow's words where a MirroredStrategy was made twice
    said = "Collective ops is aborted by: Collective instance 101 expected type 0 and data_type 1 but got type 2"
    advice = r"Expected one `tf.distribute` strategy.*keras_ls.distribute.strategy"
    with pytest.raises(RuntimeError, match=advice), one_strategy_advised():
        raise tf.errors.InternalError(None, None, said)
    with pytest.raises(tf.errors.InternalError, match="out of memory"), one_strategy_advised():
        raise tf.errors.InternalError(None, None, "Collective ops is aborted by: out of memory")
