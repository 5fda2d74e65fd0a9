"""Operations that keep float64 on PyTorch, where Keras's own compute in float32; elsewhere they are Keras's own."""

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
