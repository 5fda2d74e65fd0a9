"""Second derivatives on the backend that the tests run on."""

import keras
import numpy as np
from keras import ops as K


def hessian_times(function, x, direction):
    """The Hessian of the sum of `function(x)`, times a direction: NumPy in and out."""
    x, direction = K.convert_to_tensor(x), K.convert_to_tensor(direction)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = K.sum(function(x))
            slope = K.sum(inner.gradient(value, x) * direction)
        result = outer.gradient(slope, x, unconnected_gradients="zero")
    elif backend == "jax":
        import jax

        gradient = jax.grad(lambda x: K.sum(function(x)))
        result = jax.grad(lambda x: K.sum(gradient(x) * direction))(x)
    else:
        import torch

        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
        if not gradient.requires_grad:  # a constant
            return np.zeros(tuple(x.shape))
        (result,) = torch.autograd.grad((gradient * direction).sum(), x)
    return K.convert_to_numpy(result)
