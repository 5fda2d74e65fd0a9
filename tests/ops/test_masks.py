import keras
import numpy as np
import pytest
from keras import ops as K
from keras.ops import convert_to_numpy

from keras_ls.ops.masks import align_leading, zero_where_dropped
from keras_ls.ops.precision import at_least_float32, to_accumulation_dtype


@pytest.mark.parametrize(
    "weight, expected",
    [
        ([2.0, 3.0], (2, 1)),
        ([[2.0], [3.0]], (2, 1)),
        ([[[2.0], [2.0], [2.0]], [[3.0], [3.0], [3.0]]], (2, 3)),
        (2.0, (1, 1)),
    ],
)
def test_leading_axes(weight, expected):
    aligned = align_leading(weight, np.zeros((2, 3)))
    assert aligned.shape == expected
    assert (convert_to_numpy(aligned) * np.ones((2, 3)))[0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3, 2)])
def test_trailing_axes_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"broadcastable to \(2, 3\) from its leading axes\. Received: shape"):
        align_leading(np.ones(shape), np.zeros((2, 3)))


def test_zeros_where_dropped():
    x = K.convert_to_tensor([[1.0, 2.0], [np.nan, np.nan]])
    assert convert_to_numpy(zero_where_dropped(x, K.convert_to_tensor([True, False]))).tolist() == [[1, 2], [0, 0]]
    # classes on axis 1: the mask has the shape of what remains
    x = K.reshape(K.arange(1, 7), (1, 2, 3))
    kept = zero_where_dropped(x, K.convert_to_tensor([[True, False, True]]), axis=1)
    assert convert_to_numpy(kept).tolist() == [[[1, 0, 3], [4, 0, 6]]]


def dtype(x):
    return keras.backend.standardize_dtype(x.dtype)


def test_widening():
    # 1 + 2⁻¹¹ needs more than float16
    assert dtype(at_least_float32(K.convert_to_tensor(2049, "int32"))) == "float32"
    assert float(at_least_float32(K.convert_to_tensor(1.0, "float16")) + 2**-11) == 1 + 2**-11


@pytest.mark.float64
def test_widening_to_float64():
    # 2²⁴ + 1 needs more than float32
    assert dtype(at_least_float32(K.convert_to_tensor(1.0, "float64"))) == "float64"
    assert float(to_accumulation_dtype(K.convert_to_tensor(2.0**24)) + 1) == 2**24 + 1
