"""Keras masks on the backend that the tests run on."""

import keras
from keras.src.backend import set_keras_mask


def masked(y_pred, mask):
    """A copy of `y_pred` that carries `mask`, as the output of a model with a Masking layer does."""
    y_pred = keras.ops.copy(keras.ops.convert_to_tensor(y_pred))
    set_keras_mask(y_pred, keras.ops.convert_to_tensor(mask))  # no attribute on JAX, whose arrays take none
    return y_pred
