"""Log-odds of classes: the slow form, both ends of float32, and what must show."""

import math

import keras
import numpy as np
import pytest
from keras import ops as K

from keras_ls.calibrators.log_odds import log_odds, logit_of_probability, logits_of_class_scores, logits_of_confidence
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


FLOOR = 1e-7


def softmax(logits):
    return K.convert_to_numpy(K.softmax(logits))


def test_class_scores_are_divided_by_their_sum():
    found = softmax(logits_of_class_scores(np.zeros((1, 3), "float32"), [[0.3, 0.2, 0.1]], FLOOR))
    np.testing.assert_allclose(found, [[1 / 2, 1 / 3, 1 / 6]], rtol=1e-6)


def test_scores_that_are_all_zero_leave_the_probabilities():
    # softmax(log 2, 0) = (2/3, 1/3), in the first row alone
    logits = np.array([[np.log(2), 0.0], [np.log(2), 0.0]], "float32")
    found = softmax(logits_of_class_scores(logits, [[0.0, 0.0], [0.5, 0.5]], FLOOR))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [1 / 2, 1 / 2]], rtol=1e-6)


def test_floor_of_class_scores():
    # (1, 0) with floor .01: logarithms of 1 and .01, whose softmax is (100, 1) / 101
    logits = logits_of_class_scores(np.zeros((1, 2), "float32"), [[0.7, 0.0]], 0.01)
    np.testing.assert_allclose(logits, np.log([[1.0, 0.01]]), atol=1e-6)
    np.testing.assert_allclose(softmax(logits), [[100 / 101, 1 / 101]], rtol=1e-5)


def test_confidence_moves_one_class_and_the_others_in_proportion():
    p = np.array([[0.1, 0.6, 0.3], [0.05, 0.2, 0.75]], "float32")
    found = softmax(logits_of_confidence(np.log(p), [[0.8], [0.5]], FLOOR))
    # .2 split 1 : 3, and .5 split 1 : 4
    np.testing.assert_allclose(found, [[0.05, 0.8, 0.15], [0.1, 0.4, 0.5]], rtol=1e-5)


@pytest.mark.parametrize("confidence", [0.0, 0.2, 0.375])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_the_predicted_class_stays_ahead(confidence, order):
    # of (.5, .3, .2) the runner-up gets 3/5 of the rest and the third 2/5. At c = .375 the first two are level; below,
    # the leader is raised to the runner-up: 3 : 3 : 2, which is (.375, .375, .25) again
    p = np.array([[0.5, 0.3, 0.2]], "float32")[:, order]
    found = softmax(logits_of_confidence(np.log(p), [[confidence]], FLOOR))[0]
    np.testing.assert_allclose(found, np.array([0.375, 0.375, 0.25])[order], atol=1e-5)
    assert found.argmax() == p.argmax()
    assert found.max() / found[order.index(1)] == pytest.approx(1 + 1e-5, abs=3e-6)


def test_equal_logits_keep_the_first_as_the_decision():
    found = logits_of_confidence(np.zeros((1, 4), "float32"), [[0.1]], FLOOR)
    assert int(K.argmax(found, axis=-1)[0]) == 0


def test_confidence_of_one_leaves_the_floor_to_the_others():
    found = logits_of_confidence(np.log(np.array([[0.5, 0.3, 0.2]], "float32")), [[1.0]], 0.01)
    np.testing.assert_allclose(found, np.log([[1.0, 0.01, 0.01]]), atol=1e-6)


def test_ruled_out_classes_get_the_floor():
    found = logits_of_confidence(np.array([[1.0, -np.inf, -np.inf]], "float32"), [[0.9]], 0.01)
    np.testing.assert_allclose(found, np.log([[0.9, 0.01, 0.01]]), atol=1e-6)


def test_a_nan_score_makes_its_row_nan():
    logits = np.array([[1.0, np.nan, 0.0], [1.0, 2.0, 0.0]], "float32")
    for found in (
        logits_of_confidence(logits, [[np.nan], [0.5]], FLOOR),
        logits_of_class_scores(logits, [[0.5, np.nan, 0.5], [0.5, 0.5, 0.5]], FLOOR),
    ):
        assert np.isnan(K.convert_to_numpy(found)).tolist() == [[True] * 3, [False] * 3]


def test_logit_of_probability():
    # log 4; at the ends log(floor) - log 1 and log 1 - log(floor)
    found = logit_of_probability(np.array([0.8, 0.0, 1.0], "float32"), 0.01)
    np.testing.assert_allclose(found, [np.log(4), np.log(0.01), -np.log(0.01)], rtol=1e-6)
