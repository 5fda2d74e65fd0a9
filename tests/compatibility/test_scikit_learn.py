import numpy as np
import pytest
from keras.ops import convert_to_numpy
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

import keras_ls as kls
from keras_ls import ops
from keras_ls.ops.binning import uniform_bin_index
from tests.compatibility import predictions
from tests.real_data import lenet_cifar10

approx = pytest.approx


def curve(statistics):
    """Fractions of positives and mean probabilities of the bins that are not empty, from ours."""
    n, hits, confidence = convert_to_numpy(statistics)
    return hits[n > 0] / n[n > 0], confidence[n > 0] / n[n > 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "tenths", "sure"])
@pytest.mark.parametrize("num_bins", [5, 10, 15])
def test_uniform_curve_is_right_closed_in_float64(kind, dtype, num_bins):
    labels, p = predictions.binary(kind, dtype)
    index = uniform_bin_index(p.astype("float64"), num_bins, closed="right")
    ours = curve(predictions.statistics_of(index, labels, p, num_bins))
    np.testing.assert_allclose(ours, calibration_curve(labels, p, n_bins=num_bins), atol=1e-12)


def test_scikit_learns_edges_are_sums_of_steps():
    # five steps of 1/6 end just below 5/6, which so opens the next bin although bins close on the right
    assert np.linspace(0, 1, 7)[5] < 5 / 6
    fraction, _ = calibration_curve([0, 1], [5 / 6, 0.7], n_bins=6)
    assert len(fraction) == 2
    np.testing.assert_array_equal(uniform_bin_index([5 / 6, 0.7], 6, closed="right"), [4, 4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "tenths", "sure"])
def test_quantile_curve_through_its_own_edges(kind, dtype):
    # np.percentile interpolates between examples, where ours always cuts at one: give the bins themselves
    labels, p = predictions.binary(kind, dtype)
    edges = np.percentile(p, np.linspace(0, 100, 11))[1:-1]
    ours = curve(predictions.statistics_of(np.searchsorted(edges, p), labels, p, 10))
    np.testing.assert_allclose(ours, calibration_curve(labels, p, n_bins=10, strategy="quantile"), atol=1e-6)


def test_brier_score():
    labels, p = predictions.binary("sure", "float64")
    assert float(ops.brier_score(labels, p)) == approx(brier_score_loss(labels, p), rel=1e-12)
    # two columns: scikit-learn halves the sum over the classes, ours does not
    columns = np.stack([1 - p, p], axis=1)
    assert float(ops.brier_score(labels, columns)) == approx(2 * brier_score_loss(labels, columns), rel=1e-12)
    labels, p = predictions.multi_class("float64", saturated=True)
    weight = np.random.default_rng(0).integers(0, 3, 600)
    assert float(ops.brier_score(labels, p, weight)) == approx(brier_score_loss(labels, p, sample_weight=weight))


def test_log_loss():
    labels, p = predictions.multi_class("float64")
    p = np.maximum(p, 1e-6) / np.maximum(p, 1e-6).sum(axis=1, keepdims=True)
    weight = np.random.default_rng(0).integers(0, 3, 600)
    metric = kls.metrics.NegativeLogLikelihood(from_logits=False)
    metric.update_state(labels, p, weight)
    assert float(metric.result()) == approx(log_loss(labels, p, sample_weight=weight), rel=1e-6)
    # probability 0 of what happened: scikit-learn clips to its dtype's ε (2.2e-16), ours to Keras's (1e-7)
    assert log_loss([0, 1], [[0.0, 1.0], [0.0, 1.0]]) == approx(-np.log(2.0**-52) / 2)
    metric.reset_state()
    metric.update_state([0, 1], np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert float(metric.result()) == approx(-np.log(1e-7) / 2, rel=1e-6)


def test_of_real_predictions():
    labels, p = lenet_cifar10()
    q = p.astype("float64") / p.sum(axis=1, keepdims=True, dtype="float64")
    assert float(ops.brier_score(labels, p)) == approx(brier_score_loss(labels, q), rel=1e-6)
    metric = kls.metrics.NegativeLogLikelihood(from_logits=False)
    metric.update_state(labels, p)
    assert float(metric.result()) == approx(log_loss(labels, q), rel=1e-6)
    assert float(metric.result()) == approx(1.369868, abs=1e-6)
    hit, confidence = (p.argmax(axis=1) == labels).astype(int), p.max(axis=1)
    index = uniform_bin_index(confidence.astype("float64"), 15, closed="right")
    ours = curve(predictions.statistics_of(index, hit, confidence, 15))
    np.testing.assert_allclose(ours, calibration_curve(hit, confidence, n_bins=15), atol=1e-12)
