import math

import numpy as np
import pytest

from keras_ls import ops
from tests.gradients import value_and_gradient

approx = pytest.approx


def test_attention_map_by_hand():
    # activities (|1|³ + |-2|³, 0, 3³) = (9, 0, 27), of length 9 √10
    a = ops.attention_map([[[1.0, -2.0], [0.0, 0.0], [3.0, 0.0]]], power=3)
    np.testing.assert_allclose(a, np.array([[1.0, 0.0, 3.0]]) / math.sqrt(10), rtol=1e-6)


def test_attention_map_of_an_image_counts_all_positions():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    expected = np.array([[sum(v * v for v in image[i]) for i in np.ndindex(3, 4)] for image in x])
    expected /= np.sqrt((expected**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ops.attention_map(x), expected, rtol=1e-5)


def test_attention_map_without_activity_and_with_more_than_float32_squares():
    value, gradient = value_and_gradient(ops.attention_map, np.zeros((1, 2, 2), "float32"))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_allclose(ops.attention_map([[[3e12], [0.0]], [[1e-15], [1e-15]]]), [[1, 0], [0.5**0.5] * 2])


def test_cosine_distance_by_hand():
    # 1 - 24/25; a right angle with zeros
    x, y = [[3.0, 4.0], [1.0, 2.0]], [[4.0, 3.0], [0.0, 0.0]]
    np.testing.assert_allclose(ops.cosine_distance(x, y), [0.04, 1.0], atol=1e-6)
    # d(1 - cos)/dy = -(x/‖x‖ - cos y/‖y‖)/‖y‖ = -((.6, .8) - .96 (.8, .6))/5
    gradient = value_and_gradient(lambda y: ops.cosine_distance(x, y), y)[1]
    np.testing.assert_allclose(gradient[0], [0.0336, -0.0448], atol=1e-6)


@pytest.mark.parametrize("power", [0, -1, "2"])
def test_errors(power):
    with pytest.raises(ValueError, match="Expected `power` > 0"):
        ops.attention_map(np.ones((1, 2, 2)), power)
    with pytest.raises(ValueError, match=r"\[N, \.\.\., C\] with axes of positions .* Received: shape \(3, 4\)"):
        ops.attention_map(np.ones((3, 4)))
