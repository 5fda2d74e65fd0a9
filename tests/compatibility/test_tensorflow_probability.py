import numpy as np
import pytest
import tensorflow as tf

from keras_ls import ops
from keras_ls.ops.binning import uniform_bin_index
from tests.compatibility import predictions
from tests.real_data import lenet_cifar10

approx = pytest.approx


@pytest.fixture(scope="module")
def stats():
    return pytest.importorskip("tensorflow_probability").stats


def logits_of(p):
    return np.log(np.maximum(p, 1e-30)).astype("float32")


@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize("num_bins", [10, 15])
def test_left_closed_bins_of_the_top_label(stats, saturated, num_bins):
    labels, p = predictions.multi_class("float32", saturated)
    peer = stats.expected_calibration_error(num_bins, logits_of(p), labels.astype("int32"))
    assert float(ops.calibration_error(labels, p, num_bins)) == approx(float(peer), abs=1e-6)


def test_it_takes_no_float64(stats):
    labels, p = predictions.multi_class("float64")
    with pytest.raises(tf.errors.InvalidArgumentError, match="float"):
        stats.expected_calibration_error(15, np.log(p), labels.astype("int32"))


def test_its_bins_are_products(stats):
    # just below 5/11: times 11 that rounds to 5, and so it is in bin 5
    below = np.nextafter(np.float32(5 / 11), np.float32(0))
    assert int(tf.histogram_fixed_width_bins(below, [0.0, 1.0], nbins=11)) == 5
    assert int(uniform_bin_index([below], 11)[0]) == 4
    # the edges of ten and of fifteen bins themselves are where ours are
    for num_bins in (10, 15):
        edges = (np.arange(num_bins + 1) / num_bins).astype("float32")
        peer = tf.histogram_fixed_width_bins(edges, [0.0, 1.0], nbins=num_bins)
        np.testing.assert_array_equal(uniform_bin_index(edges, num_bins), peer)


def test_brier_score_lacks_the_constant(stats):
    labels, p = predictions.multi_class("float32")
    peer = np.mean(stats.brier_score(labels.astype("int32"), logits_of(p)))
    assert float(ops.brier_score(labels, p)) == approx(1 + peer, abs=1e-5)


def test_decomposition_has_the_same_uncertainty_and_does_not_add_up(stats):
    labels, p = lenet_cifar10()
    uncertainty, resolution, reliability = (float(x) for x in stats.brier_decomposition(labels, logits_of(p)))
    ours = ops.brier_decomposition(labels, p)
    assert float(ours.uncertainty) == approx(1 + uncertainty, abs=1e-6)
    # its bins are the predicted classes; twice the covariance of probabilities and labels within them is missing
    hit, predicted, missing = np.eye(10)[labels], p.argmax(axis=1), 0.0
    for k in range(10):
        inside = predicted == k
        centered = (x[inside] - x[inside].mean(axis=0) for x in (p.astype("float64"), hit))
        missing += 2 * np.prod(list(centered), axis=0).sum() / len(labels)
    assert missing > 0.1
    brier = float(ops.brier_score(labels, p))
    assert 1 + uncertainty - resolution + reliability == approx(brier + missing, abs=1e-5)
    assert float(ours.brier_score) == approx(brier, abs=1e-8)


def test_of_real_predictions(stats):
    labels, p = lenet_cifar10()
    peer = stats.expected_calibration_error(15, logits_of(p), labels.astype("int32"))
    assert float(ops.calibration_error(labels, p)) == approx(float(peer), abs=1e-6)
