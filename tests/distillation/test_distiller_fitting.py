"""`fit` and `evaluate` of a Distiller: weights without labels, and a teacher that XLA cannot compile."""

from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, LogitsDistillation
from tests.distillation.networks import CLASSES, WEIGHT, X, Y, kl, network, teacher


def without_labels(**compiled):
    distiller = Distiller(teacher(), network(), LogitsDistillation(1.0), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.0), jit_compile=False, **compiled)
    return distiller, kl(distiller.teacher(X), distiller.student(X))


@pytest.mark.parametrize("eagerly", [False, True])
def test_weights_without_labels_count(eagerly):
    distiller, losses = without_labels(run_eagerly=eagerly)
    expected = {"loss": (WEIGHT * losses).mean(), "val_loss": (WEIGHT[:9] * losses[:9]).mean()}
    logs = distiller.fit(X, sample_weight=WEIGHT, validation_data=(X[:9], None, WEIGHT[:9]), verbose=0).history
    assert {name: logs[name][0] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert distiller.evaluate(X, None, 8, 0, WEIGHT, return_dict=True)["loss"] == pytest.approx(expected["loss"])


def test_weights_without_labels_count_in_a_split_and_in_datasets():
    distiller, losses = without_labels()
    logs = distiller.fit(X[:20], sample_weight=WEIGHT[:20], validation_split=0.25, verbose=0).history
    assert logs["loss"][0] == pytest.approx((WEIGHT * losses)[:15].mean(), rel=1e-5)
    assert logs["val_loss"][0] == pytest.approx((WEIGHT * losses)[15:20].mean(), rel=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices((X, None, WEIGHT)).batch(8)
    assert distiller.fit(dataset, verbose=0).history["loss"][0] == pytest.approx((WEIGHT * losses).mean(), rel=1e-5)


def test_a_student_loss_still_wants_labels():
    distiller = Distiller(teacher(), network(), LogitsDistillation())
    distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0), jit_compile=False)
    with pytest.raises(ValueError, match=r"Expected labels, as compile\(\) was given a loss"):
        distiller.fit(X, sample_weight=WEIGHT, verbose=0)


class NotForXLA(keras.layers.Layer):
    """As a lookup table is."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False

    def call(self, x):
        return tf.strings.to_number(tf.strings.as_string(x))


def beyond_xla():
    return keras.Sequential([keras.Input((4,)), NotForXLA(), teacher()])


def test_a_teacher_that_xla_cannot_compile():
    distiller = Distiller(beyond_xla(), network(), LogitsDistillation())
    assert not distiller.supports_jit
    with pytest.warns(UserWarning, match="jit_compile"):
        distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0), jit_compile=True)
    assert not distiller.jit_compile
    assert np.isfinite(distiller.fit(X, Y, verbose=0).history["loss"][0])

    distiller = Distiller([teacher(), network(2)], network(), LogitsDistillation())
    distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0), jit_compile=True)
    assert distiller.supports_jit and distiller.jit_compile
    with pytest.warns(UserWarning, match="jit_compile"):
        distiller.teacher = [teacher(), beyond_xla()]
    assert not distiller.jit_compile


@pytest.mark.parametrize("make, jit", [(beyond_xla, False), (teacher, True)])
def test_auto_looks_at_the_teacher(make, jit):
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    devices = [*tf.config.list_physical_devices(), gpu]
    listed = lambda kind=None: [one for one in devices if kind in (None, one.device_type)]  # noqa: E731
    with mock.patch.object(tf.config, "list_physical_devices", listed):
        distiller = Distiller(make(), network(), LogitsDistillation())
        distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0))
        assert distiller.jit_compile is jit


def test_labels_of_their_own_stay():
    """`y` of no columns is no one's label but what stands for none; others are not touched."""
    distiller, _ = without_labels()
    seen = []
    distiller.compute_loss = lambda x, y, y_pred, sample_weight, training=True: (
        seen.append(y) or 0.0 * tf.reduce_sum(y_pred)
    )
    distiller.compile("sgd", run_eagerly=True)
    distiller.fit(X, np.zeros((21, CLASSES), "float32"), sample_weight=WEIGHT, batch_size=21, verbose=0)
    assert tuple(seen[0].shape) == (21, CLASSES)


def test_fit_before_compile_says_what_keras_says():
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        Distiller(teacher(), network(), LogitsDistillation()).fit(X, Y)
