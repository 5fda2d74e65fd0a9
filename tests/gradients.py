"""Gradients on the backend that the tests run on."""

import keras
from keras import ops as K

from keras_ls.ops._backend import at_least_float32


def value_and_gradient(function, x):
    """`function(x)`, and the gradient of its sum with respect to `x`: NumPy, half precision widened to float32."""
    x = K.convert_to_tensor(x)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        gradient = tape.gradient(value, x)
    elif backend == "jax":
        import jax

        def total(x):
            value = function(x)
            return value.sum(), value

        (_, value), gradient = jax.value_and_grad(total, has_aux=True)(x)
    else:
        x = x.detach().requires_grad_()
        value = function(x)
        value.sum().backward()
        gradient = x.grad
    return tuple(K.convert_to_numpy(at_least_float32(tensor)) for tensor in (value, gradient))
