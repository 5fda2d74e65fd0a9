import numpy as np
import pytest
from keras import ops as K
from keras.ops import convert_to_numpy

from keras_ls.ops._inputs import flatten_examples
from keras_ls.ops._predictions import confidence_and_accuracy, to_probabilities
from tests.metrics.streams import each_way, traced


def flat(*args, **kwargs):
    return [convert_to_numpy(x).tolist() for x in flatten_examples(*args, **kwargs)]


P = [[[0.25, 0.75], [0.5, 0.5]], [[1.0, 0.0], [0.125, 0.875]]]
ROWS = [row for pair in P for row in pair]


@pytest.mark.parametrize("labels", [[[1, 0], [0, 1]], [[[1], [0]], [[0], [1]]]])
def test_leading_axes(labels):
    assert flat(labels, P) == [[1, 0, 0, 1], ROWS, [1, 1, 1, 1]]


def test_weight_mask_and_ignored_class_multiply():
    # weight a row of the batch (1, 3); the mask drops the first, the label 9 the last
    labels, p, weight = flat([[1, 0], [0, 9]], P, [1, 3], [[False, True], [True, True]], ignore_class=9)
    assert weight == [0, 1, 3, 0]
    assert (labels, p) == ([0, 0, 0, 0], ROWS)


def test_dense_labels_have_no_ignored_class():
    dense = np.eye(2)[[1, 0]].tolist()
    assert flat(dense, ROWS[:2], ignore_class=0) == [dense, ROWS[:2], [1, 1]]


@pytest.mark.parametrize("labels", [[1, 0, 1], [[1], [0], [1]]])
@pytest.mark.parametrize("p", [[0.25, 0.5, 1.0], [[0.25], [0.5], [1.0]]])
@pytest.mark.parametrize("weight", [[1, 2, 0], [[1], [2], [0]]])
def test_binary_columns(labels, p, weight):
    assert flat(labels, p, weight) == [[1, 0, 0], [0.25, 0.5, 1.0], [1, 2, 0]]


def test_binary_ignored_class():
    assert flat([1, -1, 0], [0.25, 0.5, 1.0], ignore_class=-1) == [[1, 0, 0], [0.25, 0.5, 1.0], [1, 0, 1]]


def test_probabilities():
    # softmax([0, log 3]) = (¼, ¾), sigmoid(log 3) = ¾; probabilities stay
    z = np.log(3.0)
    np.testing.assert_allclose(to_probabilities([[0.0, z]], True), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(to_probabilities([z, -z], True), [0.75, 0.25], rtol=1e-6)
    assert to_probabilities([0.3], False) == [0.3]


def test_confidence_and_accuracy():
    # the first of equal classes is the predicted one
    labels, p, _ = flatten_examples([1, 0, 1, 1], ROWS)
    confidence, accuracy = map(convert_to_numpy, confidence_and_accuracy(labels, p))
    assert (confidence.tolist(), accuracy.tolist()) == ([0.75, 0.5, 1.0, 0.875], [1, 1, 0, 1])
    labels, p, _ = flatten_examples([[0.5, 0.5], [0.125, 0.875], [0.75, 0.25], [1, 0]], ROWS)
    assert convert_to_numpy(confidence_and_accuracy(labels, p)[1]).tolist() == [0.5, 0.125, 0.75, 0]


def test_a_nan_beside_the_largest_is_a_nan_confidence():
    labels, p, _ = flatten_examples([1, 1], [[np.nan, 0.9], [0.2, 0.8]])
    confidence = convert_to_numpy(confidence_and_accuracy(labels, p)[0])
    assert np.isnan(confidence).tolist() == [True, False]


@each_way
@pytest.mark.parametrize("from_logits", [True, False])
def test_the_first_of_equal_classes_is_predicted(jit_compile, from_logits):
    # as argmax has it: class 0 of [1, 1, 0], class 1 of [0, 1, 1], also where a class is ruled out
    predictions = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]) / 2
    if from_logits:
        predictions = np.log(predictions, where=predictions > 0, out=np.full((4, 3), -np.inf))
    find = traced(lambda y, p: confidence_and_accuracy(y, p, from_logits), jit_compile)
    confidence, hit = find(K.convert_to_tensor([0, 1, 1, 2]), K.convert_to_tensor(predictions.astype("float32")))
    np.testing.assert_allclose(K.convert_to_numpy(confidence), [0.5] * 4, rtol=1e-6)
    assert K.convert_to_numpy(hit).tolist() == [1, 0, 1, 0]


@each_way
@pytest.mark.parametrize("from_logits", [True, False])
def test_a_nan_anywhere_is_a_nan_confidence(jit_compile, from_logits):
    predictions = np.full((4, 3), 0.25, "float32")
    predictions[np.arange(3), np.arange(3)] = np.nan
    find = traced(lambda y, p: confidence_and_accuracy(y, p, from_logits)[0], jit_compile)
    confidence = K.convert_to_numpy(find(K.convert_to_tensor([0, 0, 0, 0]), K.convert_to_tensor(predictions)))
    assert np.isnan(confidence).tolist() == [True, True, True, False]
