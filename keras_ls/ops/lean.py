"""Keras operations without their care for cases that cannot occur here; on TensorFlow it takes several kernels."""

import keras
from keras import ops as K


def take_inside(table, index):
    """`K.take` of `[F]` by an int32 index in [0, F): none counts from the end."""
    if keras.backend.backend() != "tensorflow":
        return K.take(table, index)
    import tensorflow as tf

    return tf.gather(table, index)


def argmax(x):
    """`K.argmax` of the last axis, int32: 0 and -0 are equal to TensorFlow as they are to NumPy."""
    if keras.backend.backend() != "tensorflow":
        return K.cast(K.argmax(x, axis=-1), "int32")
    import tensorflow as tf

    return tf.argmax(x, axis=-1, output_type="int32")
