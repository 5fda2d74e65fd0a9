"""Losses that take the teacher's outputs for probabilities get probabilities, or an error that names ours."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, FeatureDistillation
from tests.distillation.networks import CLASSES, X, log_softmax, network, teacher

PEER = keras.distillation


def probabilities(model, activation="softmax"):
    return keras.Sequential([keras.Input((4,)), model, keras.layers.Activation(activation)])


class Subclass(keras.Model):
    """Of whose last layer nothing is known."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


class SoftenedKL(keras.losses.Loss):
    """A user's own, which knows what it gets."""

    def call(self, y_true, y_pred):
        return keras.losses.kl_divergence(keras.ops.softmax(y_true), keras.ops.softmax(y_pred))


REFUSED = [
    keras.losses.KLDivergence(),
    keras.losses.CategoricalCrossentropy(from_logits=True),
    keras.losses.BinaryCrossentropy(from_logits=True),
    keras.losses.CategoricalFocalCrossentropy(),
    keras.losses.Poisson(),
    kls.losses.SmoothedCrossentropy(0.0),
    FeatureDistillation("kl_divergence"),
    FeatureDistillation(keras.losses.KLDivergence()),
    FeatureDistillation(keras.losses.categorical_crossentropy),
    PEER.LogitsDistillation(),
    PEER.LogitsDistillation(loss=keras.losses.CategoricalCrossentropy(from_logits=True)),
    PEER.FeatureDistillation("kl_divergence"),
]


@pytest.mark.parametrize("loss", REFUSED, ids=lambda loss: type(loss).__name__)
def test_a_teacher_of_logits_is_refused(loss):
    expected = r"Expected a (teacher|student) that returns probabilities.*'dense_?\d*'.*LogitsDistillation\(\)"
    with pytest.raises(ValueError, match=expected):
        Distiller(teacher(), network(), loss)
    distiller = Distiller(None, probabilities(network()), loss)
    with pytest.raises(ValueError, match="Expected a teacher that returns probabilities"):
        distiller.teacher = [probabilities(teacher()), teacher()]


@pytest.mark.parametrize("eagerly", [False, True])
def test_values_tell_where_layers_do_not(eagerly):
    for loss in (keras.losses.KLDivergence(), FeatureDistillation("kl_divergence"), PEER.LogitsDistillation()):
        distiller = Distiller(Subclass(teacher()), probabilities(network()), loss, student_loss_weight=0.0)
        distiller.compile("sgd", jit_compile=False, run_eagerly=eagerly)
        with pytest.raises(
            (ValueError, tf.errors.InvalidArgumentError), match=r"Expected outputs of the teacher in \[0, 1\]"
        ):
            distiller.fit(X, verbose=0)


def test_probabilities_are_taken():
    t, s = probabilities(teacher()), probabilities(network())
    log_t, log_s = np.log(t(X)), np.log(s(X))
    kl = (np.exp(log_t) * (log_t - log_s)).sum(axis=-1).mean()
    logits = network()
    crossentropy = -(np.exp(log_t) * log_softmax(logits(X))).sum(axis=-1).mean()
    of_logits = keras.losses.CategoricalCrossentropy(from_logits=True)
    for student, loss, expected in [
        (s, keras.losses.KLDivergence(), kl),
        (Subclass(s), FeatureDistillation("kl_divergence"), kl),
        (logits, of_logits, crossentropy),  # of logits of the student alone
        (logits, kls.losses.SmoothedCrossentropy(0.0), crossentropy),
    ]:
        distiller = Distiller(t, student, loss, student_loss_weight=0.0)
        distiller.compile("sgd", jit_compile=False)
        assert distiller.evaluate(X, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        SoftenedKL(),
        keras.losses.MeanSquaredError(),
        FeatureDistillation("mse"),
        FeatureDistillation("cosine"),
        PEER.LogitsDistillation(loss=keras.losses.KLDivergence()),  # which it softens itself
        PEER.FeatureDistillation("mse"),
    ],
)
def test_losses_of_logits_are_taken(loss):
    Distiller(teacher(), network(), loss)


def test_rates_are_above_zero():
    rates = probabilities(network(), "exponential")
    distiller = Distiller(rates, probabilities(network(1), "softplus"), keras.losses.Poisson(), student_loss_weight=0.0)
    distiller.compile("sgd", run_eagerly=True)
    distiller.fit(X, verbose=0)
    distiller.teacher = Subclass(teacher())
    with pytest.raises(ValueError, match=r"Expected outputs of the teacher in \[0, ∞\), for 'poisson'. Received: -"):
        distiller.fit(X, verbose=0)
    assert rates(X).shape[-1] == CLASSES
