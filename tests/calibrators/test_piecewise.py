"""Functions in pieces, one a class: the piece of a number, and the line through it."""

import math

import numpy as np
import pytest
from keras import ops as K

from keras_ls.calibrators.piecewise import interpolate_probability, piece_index
from tests.ops import plain_forms


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, 31, 256])
def test_piece_by_counting(size, closed):
    # the last start not above x is (the number of starts ≤ x) - 1, and at least 0; equal starts among them
    rng = np.random.default_rng(size)
    starts = np.sort(rng.integers(0, size + 1, (3, size)), axis=1).astype("float32")
    x = rng.integers(-1, size + 3, (40, 3)).astype("float32")
    below = starts[None] <= x[..., None] if closed == "left" else starts[None] < x[..., None]
    expected = np.maximum(below.sum(axis=-1) - 1, 0)
    np.testing.assert_array_equal(piece_index(x, starts, closed), expected)


def sigmoid(u):
    return 1 / (1 + math.exp(-u))


@pytest.mark.parametrize("size", [2, 3, 17])
def test_line_in_probability(size):
    rng = np.random.default_rng(size)
    knots = np.sort(3 * rng.normal(size=(2, size)), axis=1).astype("float32")
    values = np.sort(rng.uniform(size=(2, size)), axis=1).astype("float32")
    u = (5 * rng.normal(size=(50, 2))).astype("float32")
    expected = [
        [plain_forms.line_between(sigmoid(row[k]), [sigmoid(t) for t in knots[k]], values[k]) for k in (0, 1)]
        for row in u
    ]
    np.testing.assert_allclose(interpolate_probability(u, knots, values), expected, atol=2e-6)


def test_between_probabilities_that_round_to_one():
    # q = 1 - p is e^-u to 1e-9 for u > 20: between u = 20 and 22, u = 21 has the share
    # (e^-20 - e^-21) / (e^-20 - e^-22) = (1 - e^-1) / (1 - e^-2) = 1 / (1 + e^-1) = .7310586
    found = interpolate_probability([21.0], [[20.0, 22.0]], [[0.0, 1.0]])
    assert float(found[0]) == pytest.approx(0.7310586, abs=1e-6)
    # and at the other end p = e^u: (e - 1) / (e² - 1) = 1 / (1 + e) = .2689414
    found = interpolate_probability([-21.0], [[-22.0, -20.0]], [[0.0, 1.0]])
    assert float(found[0]) == pytest.approx(0.2689414, abs=1e-6)


def test_repeated_last_knots_are_constant():
    found = interpolate_probability([[-9.0], [0.5], [1.0], [9.0]], [[0.0, 1.0, 1.0, 1.0]], [[0.2, 0.6, 0.6, 0.6]])
    share = (sigmoid(0.5) - 0.5) / (sigmoid(1.0) - 0.5)
    np.testing.assert_allclose(found[:, 0], [0.2, 0.2 + 0.4 * share, 0.6, 0.6], rtol=1e-6)
    np.testing.assert_allclose(interpolate_probability([[-1.0], [1.0]], [[0.0, 0.0]], [[0.3, 0.3]])[:, 0], 0.3)


def test_knots_at_the_ends_of_float32_make_the_identity():
    u = np.array([[-1e30], [-50.0], [-1.0], [0.0], [2.0], [1e30]], "float32")
    expected = K.convert_to_numpy(K.sigmoid(u))
    found = interpolate_probability(u, [[-1e30, 1e30]], [[0.0, 1.0]])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_nan_stays():
    found = K.convert_to_numpy(interpolate_probability([[np.nan], [0.0]], [[-1.0, 1.0]], [[0.0, 1.0]]))
    np.testing.assert_allclose(found[:, 0], [np.nan, 0.5], rtol=1e-6)
