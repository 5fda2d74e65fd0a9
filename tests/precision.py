"""Tolerances of float64 results, on the backend that the tests run on."""

import keras


def digits(tolerance, on_jax=5e-6):
    """`tolerance`, or `on_jax` on JAX, where a float64 array is a float32 one."""
    return on_jax if keras.backend.backend() == "jax" else tolerance
