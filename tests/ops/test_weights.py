"""Masks and sample weights: which examples count, and for how many."""

import keras
import numpy as np
import pytest
from keras import ops as K
from keras.ops import convert_to_numpy

from keras_ls.ops import _weights
from keras_ls.ops._backend import at_least_float32, to_accumulation_dtype
from keras_ls.ops._weights import align_leading, zero_where_dropped


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


approx = pytest.approx


@pytest.mark.parametrize(
    ("weight", "counts", "examples"),
    [
        ([3, 0, 2], True, 5),
        ([0.5, 0, 2], False, 2),
        ([0.5, 0.5, 0.5], False, 3),
        ([2.0**40, 1], True, 2**40 + 1),
        ([0, 0], True, 0),
        ([1e-30, 1e-30], False, 2),
    ],
)
def test_whole_numbers_are_counts(weight, counts, examples):
    weight = np.array(weight, "float64")
    assert bool(_weights.are_counts(weight)) == counts
    assert float(_weights.number_of_examples(weight)) == approx(examples, rel=1e-6)
    totals = to_accumulation_dtype(_weights.weight_totals(weight))
    found = _weights.examples_of_totals(totals, to_accumulation_dtype(weight.sum()))
    assert float(found[0]) == approx(examples, rel=1e-6) and bool(found[1]) == counts


def test_to_counts():
    assert [float(w) for w in _weights.to_counts([4.0, 0.0, 2.0])] == [4, 0, 2]
    # .2 + .6 + 0: two above 0
    assert [float(w) for w in _weights.to_counts([0.2, 0.6, 0.0])] == approx([0.5, 1.5, 0], rel=1e-6)
    # equal ones are 1, without rounding
    assert [float(w) for w in _weights.to_counts([0.1] * 7)] == [1.0] * 7
    assert [float(w) for w in _weights.to_counts([1e-30, 3e-30])] == approx([0.5, 1.5], rel=1e-6)


def test_effective_size():
    # (.5 + .5 + 1.5)² / (.25 + .25 + 2.25); of equal weights their number; one heavy weight is one example
    total, squares = (to_accumulation_dtype(x) for x in ([2.5, 0.4, 1e6 + 1e-6, 0.0], [2.75, 0.04, 1e12, 0.0]))
    assert [float(n) for n in _weights.effective_size(total, squares)] == approx([6.25 / 2.75, 4, 1, 0], rel=1e-5)
    assert _weights.to_effective_counts([0.5, 0.5, 1.5]).sum() == approx(6.25 / 2.75)
    assert _weights.to_effective_counts([0.1, 0.1]).tolist() == [1, 1]
    assert _weights.to_effective_counts([3, 1]).tolist() == [3, 1]


def test_squares_out_of_range_are_no_number():
    total, squares = (to_accumulation_dtype(x) for x in ([1.0, 1.0], [0.0, np.inf]))
    assert np.isnan([float(n) for n in _weights.effective_size(total, squares)]).all()
