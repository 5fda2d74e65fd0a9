"""A small classifier and something to train it on."""

import functools

import keras
import numpy as np


def classifier(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(5)])


def arrays(examples):
    """Inputs, integer labels of 5 classes and integer weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, 4)).astype("float32")
    weight = rng.integers(0, 4, examples).astype("float32")
    return x, rng.integers(0, 5, examples), weight


def batches(examples):
    """The arrays in batches of 8, through tf.data."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays(examples)).batch(8)


def ragged():
    """Batches of 7 examples (4 and 3 on two replicas; 2, 2, 2 and 1 on four), 8, 5 (3 and 2), and 1 (1 and none)."""
    import tensorflow as tf

    sizes = (7, 8, 5, 1)
    data = tf.data.Dataset.from_tensor_slices(arrays(sum(sizes)))
    parts = [data.skip(sum(sizes[:i])).take(size).batch(8) for i, size in enumerate(sizes)]
    return functools.reduce(tf.data.Dataset.concatenate, parts)
