"""Value and gradient of the smoothed cross-entropy, against what Keras has; graph mode."""

import keras
import numpy as np
import tensorflow as tf

import keras_ls as kls
from benchmarks.interleaved import medians, show

OURS = "keras_ls SmoothedCrossentropy"
SHAPES = [(2048, 32_000), (8192, 1000), (65_536, 10)]


def step(loss, labels, logits):
    @tf.function
    def value_and_gradient():
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    return lambda: value_and_gradient()[1].numpy()


def main(repeats=7):
    rows = {}
    for n, k in SHAPES:
        rng = np.random.default_rng(0)
        logits = tf.constant(rng.normal(size=(n, k)).astype("float32"))
        labels = tf.constant(rng.integers(0, k, n))
        one_hot = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        candidates = {
            OURS: step(kls.losses.SmoothedCrossentropy(0.1), labels, logits),
            "Keras one-hot + CategoricalCrossentropy(label_smoothing)": step(
                lambda y, z, k=k, loss=one_hot: loss(keras.ops.one_hot(y, k), z), labels, logits
            ),
            "Keras sparse, without smoothing": step(
                keras.losses.SparseCategoricalCrossentropy(from_logits=True), labels, logits
            ),
        }
        rows[f"{n}×{k}"] = medians(candidates, repeats)
    show("Loss and gradient, float32", rows, OURS)
