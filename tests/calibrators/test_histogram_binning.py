"""`HistogramBinning` against slow sums over bins, and by hand."""

import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls.calibrators import HistogramBinning
from keras_ls.ops.binning import uniform_bin_index
from tests import real_data
from tests.calibrators.test_temperature_solver import random_problem
from tests.ops import plain_forms


def logit(p):
    p = np.asarray(p)
    return np.log(p / (1 - p)).astype("float32")


def sigmoid(z):
    return K.convert_to_numpy(K.sigmoid(z))


@pytest.fixture
def problem():
    logits, labels = random_problem(0, examples=120, classes=4)
    return logits.astype("float32"), labels


def test_by_hand():
    # bins of a quarter: (.1, .2) with 1 of 2, none, (.6) with 1 of 1 (the floor is the rest), (.8, .9, .95) with 2 of 3
    p, y = [0.1, 0.2, 0.6, 0.8, 0.9, 0.95], [0, 1, 1, 1, 0, 1]
    binning = HistogramBinning(num_bins=4, floor=1e-3).fit(logit(p), y)
    np.testing.assert_array_equal(binning.bin_starts, [[0, 0.25, 0.5, 0.75]])
    np.testing.assert_allclose(binning.bin_probabilities, [[1 / 2, 0, 1, 2 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(binning.bin_weights, [[2, 0, 1, 3]])
    # .3 and .4 lie in the empty bin and stay
    found = sigmoid(binning(logit([0.01, 0.24, 0.3, 0.4, 0.51, 0.76, 0.999])))
    np.testing.assert_allclose(found, [1 / 2, 1 / 2, 0.3, 0.4, 1 / 1.001, 2 / 3, 2 / 3], rtol=1e-5)


@pytest.mark.parametrize("closed, expected", [("left", [0, 1 / 2, 1 / 2]), ("right", [1 / 2, 1 / 2, 0])])
def test_the_side_of_an_edge(closed, expected):
    # P(y=1) = 1/4, 1/2, 3/4 with outcomes 0, 1, 0, in two bins: 1/2 (logit 0, exact) is alone with the closed side
    binning = HistogramBinning(2, closed=closed, floor=1e-6).fit(logit([0.25, 0.5, 0.75]), [0, 1, 0])
    np.testing.assert_allclose(sigmoid(binning(logit([0.25, 0.5, 0.75]))), expected, atol=2e-6)


def binned(p, outcome, num_bins, binning, closed, weight=None):
    if binning == "uniform":
        index = [plain_forms.uniform_index(np.float32(value), num_bins, closed) for value in p]
    else:
        index = plain_forms.quantile_index(list(p), num_bins, closed)
    return plain_forms.histogram_binning(p, outcome, index, weight)


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("binning, num_bins", [("uniform", 15), ("uniform", 1), ("quantile", 15), ("quantile", 1)])
def test_one_vs_rest_at_the_examples(problem, binning, num_bins, closed):
    logits, labels = problem
    p = np.array([plain_forms.softmax(row) for row in logits])
    scores = np.stack([binned(p[:, k], labels == k, num_bins, binning, closed) for k in range(4)], axis=1)
    expected = scores / scores.sum(axis=1, keepdims=True)
    found = K.exp(HistogramBinning(num_bins, binning, closed=closed).fit(logits, labels)(logits))
    np.testing.assert_allclose(found, np.maximum(expected, 1e-7), atol=1e-6)


@pytest.mark.parametrize("binning", ["uniform", "quantile"])
def test_top_label_at_the_examples(problem, binning):
    logits, labels = problem
    p = np.array([plain_forms.softmax(row) for row in logits])
    predicted = p.argmax(axis=1)
    confidence = binned(p.max(axis=1), labels == predicted, 10, binning, "left")
    found = K.convert_to_numpy(K.softmax(HistogramBinning(10, binning, "top_label").fit(logits, labels)(logits)))
    np.testing.assert_array_equal(found.argmax(axis=1), predicted)
    level = (share := np.sort(p, axis=1)[:, -2] / (1 - p.max(axis=1))) / (1 + share)  # where the runner-up draws level
    np.testing.assert_allclose(found.max(axis=1)[confidence > level], confidence[confidence > level], atol=1e-6)
    assert (confidence > level).sum() > 60


def test_weights(problem):
    logits, labels = problem
    weight = np.random.default_rng(1).exponential(size=120).astype("float32")
    p = np.array([plain_forms.softmax(row) for row in logits])
    scores = np.stack([binned(p[:, k], labels == k, 15, "uniform", "left", weight) for k in range(4)], axis=1)
    found = K.exp(HistogramBinning().fit(logits, labels, weight)(logits))
    np.testing.assert_allclose(found, np.maximum(scores / scores.sum(axis=1, keepdims=True), 1e-7), atol=1e-6)


@pytest.mark.parametrize("closed", ["left", "right"])
def test_quantile_edges_lie_between_examples(closed):
    # two bins of P(y=1) = .1, .2, .6, .9: the rank round(1 · 3/2) = 2 opens the second: the edge is (.2 + .6) / 2
    binning = HistogramBinning(2, "quantile", closed=closed).fit(logit([0.1, 0.6, 0.2, 0.9]), [0, 1, 1, 1])
    np.testing.assert_allclose(binning.bin_starts, [[0, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(binning.bin_probabilities, [[1 / 2, 1]], rtol=1e-6)


@pytest.mark.parametrize("closed, expected", [("left", [2 / 5, 2 / 5, 2 / 5]), ("right", [1 / 4, 1 / 4, 1])])
def test_quantile_bins_of_equal_probabilities(closed, expected):
    # four of five share a probability, and so a bin. The edges of four bins are the examples of rank 1, 2 and 3, all
    # .3: they open the last bin, in which .8 lies too; or, closed to the right, the first bin ends with them
    binning = HistogramBinning(4, "quantile", closed=closed).fit(logit([0.3, 0.3, 0.3, 0.3, 0.8]), [0, 0, 1, 0, 1])
    np.testing.assert_allclose(sigmoid(binning(logit([0.05, 0.3, 0.81]))), expected, atol=1e-6)


def test_top_label_calibrates_confidence_in_each_bin(problem):
    # on the examples it was fitted to, a binning's own bins have no calibration error, but for the decisions it held
    logits = np.stack([3 * np.random.default_rng(3).uniform(1, 2, 300), np.zeros(300)], axis=1).astype("float32")
    labels = (np.arange(300) % 4 == 0).astype(int)
    binning = HistogramBinning(15, method="top_label").fit(logits, labels)
    confidence = K.convert_to_numpy(K.max(K.softmax(binning(logits)), axis=-1))
    before = K.convert_to_numpy(K.max(K.softmax(logits), axis=-1))
    for b in np.unique(uniform_bin_index(before, 15)):
        inside = np.array(uniform_bin_index(before, 15)) == b
        assert confidence[inside].mean() == pytest.approx((labels[inside] == 0).mean(), abs=1e-6)


def test_lenet_on_cifar10():
    labels, p = real_data.lenet_cifar10()
    logits = np.log(p).astype("float32")
    binning = HistogramBinning(method="top_label").fit(logits[:5000], labels[:5000])
    after = K.convert_to_numpy(K.softmax(binning(logits)))
    np.testing.assert_array_equal(after.argmax(axis=1), p.argmax(axis=1))
    before, after = (float(kls.ops.calibration_error(labels[5000:], values[5000:])) for values in (p, after))
    assert after < 0.5 * before


def test_before_fit_the_probabilities_are_those_that_came(problem):
    logits, _ = problem
    expected = np.array([plain_forms.softmax(row) for row in logits])
    for method in ("one_vs_rest", "top_label"):
        found = K.convert_to_numpy(K.softmax(HistogramBinning(method=method)(logits)))
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_bins": 0}, "`num_bins` to be an integer of at least 1. Received: 0"),
        ({"binning": "quantiles"}, "`binning`.*Did you mean 'quantile'"),
        ({"method": "ovr"}, "`method` to be one of 'one_vs_rest', 'top_label'"),
        ({"closed": "both"}, "`closed` to be one of 'left', 'right'"),
    ],
)
def test_constructor_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        HistogramBinning(**arguments)
