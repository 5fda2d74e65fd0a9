"""Dtypes of computations: half precision is widened first, sums over many examples wider still."""

import keras


def at_least_float32(x):
    """Casts integers, booleans and half precision to float32; float32 and float64 stay as they are."""
    x = keras.ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    return x if dtype in ("float32", "float64") else keras.ops.cast(x, "float32")


def accumulation_dtype():
    """The dtype for sums over many examples: float64, or float32 on JAX, which has no float64 by default."""
    return "float32" if keras.backend.backend() == "jax" else "float64"


def to_accumulation_dtype(x):
    """Casts to `accumulation_dtype()`."""
    return keras.ops.cast(x, accumulation_dtype())


def few_epsilons(x):
    """How far rounding may move a result, in parts of the numbers that it is computed from: 32 steps of their dtype."""
    return 32 * (2.0**-52 if keras.backend.standardize_dtype(x.dtype) == "float64" else 2.0**-23)
