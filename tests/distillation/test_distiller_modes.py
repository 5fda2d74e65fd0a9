"""A Distiller with everything in it gives the same numbers however Keras runs it, on every backend."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.distillation import Distiller, FeatureDistillation, LogitsDistillation
from tests.distillation.networks import CLASSES, WEIGHT, X, Y, crossentropy, kl, log_softmax

BACKEND = keras.backend.backend()
HARD = kls.losses.SmoothedCrossentropy(0.0)


def network(seed, units):
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(units, activation="tanh", name="hidden")
    block = keras.Sequential([keras.Input((4,)), hidden], name="block")
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(block(inputs)))


def made(optimizer=None, **arguments):
    teachers, student = [network(1, 9), network(2, 9)], network(0, 6)
    keras.utils.set_random_seed(3)
    losses = [LogitsDistillation(2.0), FeatureDistillation("mse", "block/hidden", "hidden", projector="auto")]
    distiller = Distiller(teachers, student, losses, [1.0, 2.0], 0.3)
    distiller.compile(optimizer or keras.optimizers.SGD(0.5), HARD, **arguments)
    return distiller


def trained(batch_size=8, examples=21, epochs=2, **arguments):
    distiller = made(**arguments)
    data = {"x": X[:examples], "y": Y[:examples], "sample_weight": WEIGHT[:examples]}
    history = distiller.fit(**data, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0).history
    return [keras.ops.convert_to_numpy(w) for w in distiller.trainable_variables], history


def test_values_of_a_step():
    # SGD on .3 CE + .7 (4 KL + 2 mean (h_s W + b - h_t)²), the mean over two teachers; the heads' biases by hand:
    # d/db_head = Σ weight (.3 (q - y) + .7 · 2 (q_T - p_T)) / N
    distiller = made(jit_compile="auto" if BACKEND == "jax" else False)
    t = [keras.ops.convert_to_numpy(teacher(X)) for teacher in distiller.teacher]
    z = keras.ops.convert_to_numpy(distiller.student(X))
    bias = keras.ops.convert_to_numpy(distiller.student.layers[-1].bias)
    p = np.mean([np.exp(log_softmax(x / 2)) for x in t], axis=0)
    q, q_2 = np.exp(log_softmax(z)), np.exp(log_softmax(z / 2))
    gradient = WEIGHT @ (0.3 * (q - np.eye(CLASSES)[Y]) + 0.7 * 2 * (q_2 - p)) / 21
    history = distiller.fit(X, Y, batch_size=21, sample_weight=WEIGHT, verbose=0).history
    moved = keras.ops.convert_to_numpy(distiller.student.layers[-1].bias)
    np.testing.assert_allclose(moved, bias - 0.5 * gradient, atol=1e-5)
    expected = np.mean([(WEIGHT * 4 * kl(x, z, 2.0)).mean() for x in t])
    assert history["logits_distillation"] == pytest.approx([expected], rel=1e-4)
    assert history["student_loss"] == pytest.approx([(WEIGHT * crossentropy(Y, z)).mean()], rel=1e-4)


class Subclassed(keras.Model):
    """Built by the first batch."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = keras.layers.Dense(6, name="hidden"), keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.head(self.hidden(x))


def test_the_optimizer_knows_a_projector_that_fit_has_built():
    # without a student loss, for which Keras would run `compute_loss` before it builds the optimizer
    losses = [LogitsDistillation(), FeatureDistillation("mse", "block/hidden", "hidden", projector="auto")]
    distiller = Distiller(network(1, 9), Subclassed(), losses, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile="auto" if BACKEND == "jax" else False)
    gaps = distiller.fit(X, batch_size=21, epochs=20, verbose=0).history["feature_distillation"]
    assert len(distiller.trainable_variables) == 6 and len(distiller.optimizer.variables) == 2 + 6
    assert gaps[-1] < 0.5 * gaps[0]


@pytest.fixture(scope="module")
def plainly_trained():
    return trained(jit_compile=False)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "arguments",
    [
        {"run_eagerly": True},
        {"jit_compile": True},
        {"steps_per_execution": 2, "jit_compile": False},  # of three steps: two, and one
        {"steps_per_execution": 3, "jit_compile": False},
    ],
    ids=str,
)
def test_modes(plainly_trained, arguments):
    weights, history = plainly_trained
    others, other_history = trained(**arguments)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-6)
    for key, values in history.items():
        assert other_history[key] == pytest.approx(values, rel=1e-5), key


@pytest.mark.tensorflow
def test_accumulated_gradients():
    # two batches of 8 are one step with all 16, the projector's too
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    accumulated, _ = trained(8, 16, 1, optimizer=optimizer, jit_compile=False)
    whole, _ = trained(16, 16, 1, jit_compile=False)
    for a, b in zip(accumulated, whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    start = made(jit_compile=False).trainable_variables
    assert max(np.abs(a - b.numpy()).max() for a, b in zip(accumulated, start)) > 1e-3
