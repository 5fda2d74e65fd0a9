"""What keras.ops lacks or loses: float64 sums, what XLA compiles slowly, dtypes, the inputs of a gradient."""

import keras
from keras import ops as K


def _on_torch(x):
    return keras.backend.backend() == "torch" and K.is_tensor(x)


def cumsum(x, axis=0):
    """`K.cumsum`."""
    return x.cumsum(axis) if _on_torch(x) else K.cumsum(x, axis=axis)


def divide_no_nan(x, y):
    """`K.divide_no_nan`: 0 where `y` is 0."""
    if not _on_torch(x):
        return K.divide_no_nan(x, y)
    return K.where(y == 0, K.zeros_like(x), x / K.where(y == 0, K.ones_like(y), y))


def matmul(x, y):
    """`K.matmul`."""
    return x @ y if _on_torch(x) else K.matmul(x, y)


def mean(x, axis=None):
    """`K.mean`."""
    return x.mean(axis) if _on_torch(x) else K.mean(x, axis=axis)


def norm(x, axis=None, keepdims=False):
    """`K.norm`, Euclidean."""
    return K.sqrt(K.sum(x * x, axis=axis, keepdims=keepdims)) if _on_torch(x) else K.norm(x, None, axis, keepdims)


def segment_sum(x, index, num_segments):
    """`K.segment_sum`, for an index that lies in [0, num_segments)."""
    if not _on_torch(x):
        return K.segment_sum(x, index, num_segments=num_segments)
    return x.new_zeros((num_segments, *x.shape[1:])).index_add(0, index, x)


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


def compiled_by_xla():
    """Whether XLA compiles what is computed: on JAX, and in TensorFlow with `jit_compile=True` or on a TPU."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def backward_inputs(args, upstream, inputs):
    """`(upstream, inputs)` for a gradient function declared as `gradient(*args, upstream=None)`.

    TensorFlow and JAX pass the upstream gradient alone and differentiate again through what the forward pass computed.
    PyTorch passes the saved inputs, and can differentiate again only what is computed from them: a gradient that is
    computed from the `inputs` returned here has right second derivatives on all three.

    Args:
        args: positional arguments of the gradient function.
        upstream: its keyword argument.
        inputs: tuple of the inputs of the forward pass.

    Returns:
        The upstream gradient, and a tuple of inputs: `inputs` itself, but on PyTorch, where it is differentiated again,
        other tensors.
    """
    if upstream is None:
        return args[0], inputs
    import torch

    if not torch.is_grad_enabled():
        return upstream, inputs
    return upstream, tuple(x.view_as(x) for x in args)  # `args` may be the very tensors of the forward pass
