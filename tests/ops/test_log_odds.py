"""Log-odds of classes: the slow form, both ends of float32, and what must show."""

import math

import keras
import numpy as np
import pytest
from keras import ops as K

from keras_ls.ops.log_odds import log_odds
from tests.ops import plain_forms


def numpy(x):
    return K.convert_to_numpy(log_odds(np.asarray(x, "float32")))


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("classes", [2, 3, 50])
def test_slow_form(classes, scale):
    logits = (scale * np.random.default_rng(classes).normal(size=(20, classes))).astype("float32")
    expected = [plain_forms.log_odds(row) for row in logits]
    np.testing.assert_allclose(numpy(logits), expected, rtol=2e-6, atol=2e-6)


def test_two_classes_are_the_difference():
    # log p/(1-p) of softmax([a, b]) is a - b
    np.testing.assert_allclose(numpy([[2.0, -1.0]]), [[3.0, -3.0]], rtol=1e-6)


def test_what_rounds_to_probability_one_is_told_apart():
    # gaps of 20 and 40 between three classes: 20 - log 2 and 40 - log 2, where both probabilities are 1.0 in float32
    logits = [[20.0, 0.0, 0.0], [40.0, 0.0, 0.0]]
    assert (K.convert_to_numpy(K.softmax(np.array(logits, "float32")))[:, 0] == 1).all()
    np.testing.assert_allclose(numpy(logits)[:, 0], [20 - math.log(2), 40 - math.log(2)], rtol=1e-6)


def test_huge_logits():
    np.testing.assert_allclose(numpy([[1e4, -1e4, 0.0]]), [[1e4, -2e4, -1e4]], rtol=1e-6)


def test_leading_axes():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(numpy(logits).reshape(6, 4), numpy(logits.reshape(6, 4)), rtol=1e-6)


def test_a_ruled_out_class_is_as_if_it_were_not_there():
    found = numpy([[1.0, -np.inf, 0.0]])
    np.testing.assert_allclose(found[0, [0, 2]], [1.0, -1.0], rtol=1e-6)
    assert found[0, 1] == np.float32(-1e30)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_nan_makes_its_row_nan(place):
    logits = np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]], "float32")
    logits[0, place] = np.nan
    found = numpy(logits)
    assert np.isnan(found[0]).all() and not np.isnan(found[1]).any()


def test_half_precision_is_widened_first():
    logits = np.random.default_rng(1).normal(size=(5, 4)).astype("float16")
    found = log_odds(logits)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_array_equal(found, log_odds(logits.astype("float32")))
