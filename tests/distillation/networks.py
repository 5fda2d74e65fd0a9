"""Small teachers and students, data, and the terms of the distillation loss in plain NumPy."""

import keras
import numpy as np

CLASSES = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(21, 4)).astype("float32")
Y = RNG.integers(0, CLASSES, 21)
WEIGHT = RNG.integers(0, 4, 21).astype("float32")


def network(seed=0, units=6, **dense):
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(units, activation="tanh", **dense)
    return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(CLASSES)])


def teacher(seed=1):
    """A confident one: logits three times as large."""
    model = network(seed, units=9)
    model.layers[-1].set_weights([3 * w for w in model.layers[-1].get_weights()])
    return model


def batch_norm_network(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(CLASSES)])


def log_softmax(z):
    z = np.asarray(z, "float64")
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def kl(teacher_logits, student_logits, temperature=1.0, student_temperature=None):
    """`KL(p_t || p_s)` an example, float64."""
    log_t = log_softmax(np.asarray(teacher_logits, "float64") / temperature)
    log_s = log_softmax(np.asarray(student_logits, "float64") / (student_temperature or temperature))
    return (np.exp(log_t) * (log_t - log_s)).sum(axis=-1)


def crossentropy(labels, logits):
    """`-log p_y` an example, float64."""
    return -np.take_along_axis(log_softmax(logits), np.asarray(labels)[..., None], axis=-1)[..., 0]


def assert_same_weights(a, b, atol=0.0):
    a, b = a.get_weights(), b.get_weights()
    assert len(a) == len(b)
    for one, other in zip(a, b):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)
