import math

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy
from sklearn.metrics import brier_score_loss

import keras_ls as kls
from keras_ls import ops
from keras_ls.ops.binning import bin_statistics, quantile_bin_index
from keras_ls.ops.calibration import calibration_error_of_bins, squared_distance
from tests.ops import plain_forms
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx
# Kumar et al. 2019's test values: L1 .222222, L2 .223607, debiased L2 0
KUMAR_P = [0.5, 0.5, 0.5, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6]
KUMAR_Y = [0, 1, 0, 1, 0, 1, 1, 1, 0]


def error(*args, **kwargs):
    return float(ops.calibration_error(*args, **kwargs))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("options, expected", [({}, 0.222222), ({"norm": "l2"}, 0.223607)])
def test_published_binary_values(options, expected, dtype):
    # by hand: at .5 one of four hits, gap ¼; at .6 four of five, gap ⅕. L1 (4·¼ + 5·⅕)/9, L2² (4/16 + 5/25)/9.
    # .6 rounded to float16 is .60009765625
    tolerance = 1e-4 if dtype == "float16" else 1e-6
    assert error(KUMAR_Y, np.array(KUMAR_P, dtype), **options) == approx(expected, abs=tolerance)


def test_published_debiased_value():
    # gap² 1/16 - (¼·¾)/3 = 0 and 1/25 - (⅘·⅕)/4 = 0: nothing but the noise of finite bins
    assert error(KUMAR_Y, KUMAR_P, norm="l2", debiased=True) == approx(0, abs=2e-4)
    assert error(KUMAR_Y, np.array(KUMAR_P, "float64"), norm="l2", debiased=True) == approx(0, abs=digits(1e-7, 2e-4))


def test_max_norm_by_hand():
    assert error(KUMAR_Y, KUMAR_P, norm="max") == approx(0.25, rel=1e-6)


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize(
    "p, y, num_bins, expected",
    [
        ([0.1, 0.1, 0.7], [0, 1, 1], 2, 0.4 * 2 / 3 + 0.3 / 3),
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 2, 0.4),
    ],
)
def test_published_equal_mass_values(p, y, num_bins, expected, closed):
    assert error(y, p, num_bins, "quantile", closed=closed) == approx(expected, abs=1e-6)


def test_published_quantile_bins():
    # TensorFlow Probability's test: .145, bin confidences .075, .2, .826667
    hits, conf = [0, 0, 1, 0, 1, 1], [0.1, 0.05, 0.5, 0.2, 0.99, 0.99]
    assert error(hits, conf, 3, "quantile") == approx(0.145, abs=1e-6)
    index = quantile_bin_index(conf, [1.0] * 6, 3)
    n, _, sums = convert_to_numpy(bin_statistics(index, conf, hits, [1.0] * 6, 3))
    np.testing.assert_allclose(sums / n, [0.075, 0.2, 0.826667], atol=1e-6)


@pytest.mark.parametrize("num_bins", [3, 7, 16])
def test_quantile_bins_equal_tensorflow_probability(num_bins):
    tfp = pytest.importorskip("tensorflow_probability")
    rng = np.random.default_rng(num_bins)
    # 96 steps of rank divided by these bins never leave a half: both round alike
    p = rng.random(97)
    hit = (rng.random(97) < 0.5).astype("float64")
    peer = tfp.stats.expected_calibration_error_quantiles(hit, np.log(p), num_bins, log_space_buckets=True)
    assert error(hit, p, num_bins, "quantile") == approx(float(peer[0]), abs=1e-6)  # the peer's result is float32
    np.testing.assert_array_equal(quantile_bin_index(p, np.ones(97), num_bins), peer[-1])


def predictions(n=400, K=5, seed=0):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.normal(size=(n, K))).astype("float32")
    p = convert_to_numpy(keras.ops.softmax(logits))
    return rng.integers(0, K, n), logits, p


def test_uniform_bins_equal_tensorflow_probability():
    tfp = pytest.importorskip("tensorflow_probability")
    labels, logits, p = predictions()
    peer = tfp.stats.expected_calibration_error(15, logits=logits, labels_true=labels.astype("int32"))
    assert error(labels, p) == approx(float(peer), abs=1e-6)


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("binning", ["uniform", "quantile"])
@pytest.mark.parametrize("norm, debiased", [("l1", False), ("l2", False), ("l2", True), ("max", False)])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_option_against_the_plain_form(norm, debiased, binning, closed, weighted):
    labels, _, p = predictions()
    times = np.random.default_rng(1).integers(0, 4, len(labels)) if weighted else np.ones(len(labels), int)
    conf, hit = np.repeat(p.max(-1), times), np.repeat(p.argmax(-1) == labels, times)
    for num_bins in (1, 6, 15):
        if binning == "uniform":
            # the edges in float32, as the confidences are
            edges = np.arange(1, num_bins) / num_bins
            edges = edges.astype("float32")
            index = [int(sum(e <= c if closed == "left" else e < c for e in edges)) for c in conf]
        else:
            index = plain_forms.quantile_index(conf, num_bins, closed)
        expected = plain_forms.calibration_error(conf, hit, index, None, norm, debiased)
        weight = times if weighted else None
        got = error(labels, p, num_bins, binning, norm, closed, debiased, weight)
        assert got == approx(expected, abs=digits(1e-7, 1e-6))


def test_debiased_by_hand():
    # five at .9 with two hits: gap² .25 less .4·.6/4 = .06, so .19; the single example at .1 is left out of the sum,
    # but not of n: sqrt(5 · .19 / 6)
    p, y = [0.9] * 5 + [0.1], [1, 1, 0, 0, 0, 1]
    assert error(y, p, norm="l2", debiased=True) == approx(math.sqrt(5 * 0.19 / 6), rel=1e-6)
    # biased: (5 · .25 + .81) / 6
    assert error(y, p, norm="l2") == approx(math.sqrt((1.25 + 0.81) / 6), rel=1e-6)


def test_soft_targets_by_hand():
    # predicted classes 0 (.7) and 1 (.6) have target probabilities .5 and .8: gaps .2 and -.2 in bins 7 and 6 of 10
    p, y = [[0.7, 0.3], [0.4, 0.6]], [[0.5, 0.5], [0.2, 0.8]]
    assert error(y, p, 10) == approx(0.2, rel=1e-6)
    # in one bin they cancel: mean target .65, mean confidence .65
    assert error(y, p, 1) == approx(0, abs=1e-7)
    # Brier: (.2² + .2²) each
    assert float(ops.brier_score(y, p)) == approx(0.08, rel=1e-6)


def test_soft_binary_targets_by_hand():
    assert error([0.2, 0.9], [0.3, 0.7], 10) == approx(0.15, rel=1e-6)  # (.1 + .2) / 2
    assert float(ops.brier_score([0.2, 0.9], [0.3, 0.7])) == approx(0.025, rel=1e-5)  # (.01 + .04) / 2


def test_one_hot_targets_equal_integers():
    labels, _, p = predictions()
    one_hot = np.eye(5)[labels]
    assert error(one_hot, p) == approx(error(labels, p), rel=1e-12)
    assert float(ops.brier_score(one_hot, p)) == approx(float(ops.brier_score(labels, p)), rel=1e-6)


def test_confidence_of_exactly_one_is_in_the_last_bin():
    p, y = [1.0, 1.0, 0.95, 0.95], [0, 0, 1, 1]
    # one bin: |2/4 - 3.9/4| = .475; a phantom bin: (2 · 1 + 2 · .05) / 4 = .525
    for closed in ("left", "right"):
        assert error(y, p, 15, closed=closed) == approx(0.475, rel=1e-6)
    two = np.array([[0.0, 1.0], [0.0, 1.0], [0.05, 0.95], [0.05, 0.95]], "float32")
    assert error(y, two, 15) == approx(0.475, rel=1e-6)


def test_integer_probabilities_are_numbers_too():
    # sure and always wrong
    assert error([1, 0], [0, 1]) == 1
    assert error([1, 0], [[1, 0], [0, 1]]) == 1
    assert float(ops.brier_score([1, 0], [0, 1])) == 1
    assert float(ops.brier_score([1, 0], [[1, 0], [0, 1]])) == 2


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_base_rate_predictor_is_calibrated_but_not_good(norm):
    # .3 for everyone, three in ten: no calibration error, Brier .3 · .49 + .7 · .09 = .21
    p, y = np.full(10, 0.3), [1] * 3 + [0] * 7
    for binning in ("uniform", "quantile"):
        assert error(y, p, binning=binning, norm=norm) == approx(0, abs=digits(1e-12, 1e-7))
    assert float(ops.brier_score(y, p)) == approx(0.21, rel=1e-6)


def test_empty_bins_add_nothing():
    # 3 hits of 4 at .9: |.75 - .9|, whether or not there are a thousand other bins
    for norm in ("l1", "l2", "max"):
        for num_bins in (1, 10, 1000):
            assert error([1, 1, 1, 0], np.full(4, 0.9), num_bins, norm=norm) == approx(0.15, rel=1e-6)


def test_large_n_against_numpy():
    rng = np.random.default_rng(0)
    p = rng.random(1_000_000, dtype="float32")
    y = (rng.random(1_000_000) < p**1.5).astype("int32")
    index = np.searchsorted((np.arange(1, 15) / 15).astype("float32"), p, side="right")
    gaps = np.bincount(index, y, 15) - np.bincount(index, p, 15)
    assert error(y, p) == approx(np.abs(gaps).sum() / 1e6, rel=digits(1e-9, 5e-5))
    assert float(ops.brier_score(y, p)) == approx(np.mean((p.astype("float64") - y) ** 2), rel=1e-6)


def test_leading_axes_are_flattened():
    labels, _, p = predictions(24)
    weight = np.arange(24) % 3
    expected = error(labels, p, sample_weight=weight)
    assert error(labels.reshape(2, 3, 4), p.reshape(2, 3, 4, 5), sample_weight=weight.reshape(2, 3, 4)) == approx(
        expected
    )
    assert error(labels.reshape(2, 3, 4, 1), p.reshape(2, 3, 4, 5), sample_weight=weight.reshape(2, 3, 4, 1)) == approx(
        expected
    )


def test_binary_columns():
    expected = 0.222222
    column = np.array(KUMAR_P)[:, None]
    for y in (KUMAR_Y, np.array(KUMAR_Y)[:, None]):
        assert error(y, column) == approx(expected, abs=1e-6)
        assert error(y, KUMAR_P) == approx(expected, abs=1e-6)


def test_dropped_examples_may_hold_anything():
    p, y = [0.1, np.nan, 0.2, 0.7, 0.9], [0, 7, 1, 0, 1]
    weight = [1, 0, 1, 1, 1]
    kept_p, kept_y = [0.1, 0.2, 0.7, 0.9], [0, 1, 0, 1]
    for binning in ("uniform", "quantile"):
        assert error(y, p, 2, binning, sample_weight=weight) == approx(error(kept_y, kept_p, 2, binning), rel=1e-9)
    assert float(ops.brier_score(y, p, weight)) == approx((0.01 + 0.64 + 0.49 + 0.01) / 4, rel=1e-6)


@pytest.mark.parametrize("closed", ["left", "right"])
def test_dropped_examples_move_no_edge(closed):
    rng = np.random.default_rng(0)
    p, y, weight = rng.random(30), rng.integers(0, 2, 30), rng.integers(0, 3, 30)
    kept = np.repeat(y, weight), np.repeat(p, weight)
    p[weight == 0] = np.nan
    for num_bins in (3, 20, 80):  # with more bins than examples the first of them are empty
        expected = error(*kept, num_bins, "quantile", closed=closed)
        assert error(y, p, num_bins, "quantile", closed=closed, sample_weight=weight) == approx(expected, rel=1e-5)


# the real thing -----------------------------------------------------------------------------------------------------


@pytest.mark.slow_on_jax
def test_lenet_on_cifar10():
    labels, p = lenet_cifar10()
    assert error(labels, p) == approx(0.107888, abs=1e-6)
    assert float(ops.brier_score(labels, p)) == approx(0.614152, abs=1e-6)
    logits = np.log(p.astype("float64"))
    nll = convert_to_numpy(ops.smoothed_crossentropy(labels, logits)).mean()
    assert nll == approx(1.369868, abs=1e-6)


def test_lenet_on_cifar10_after_temperature():
    labels, p = lenet_cifar10()
    logits = np.log(p.astype("float64")) / 1.396779
    assert convert_to_numpy(ops.smoothed_crossentropy(labels, logits)).mean() == approx(1.311497, abs=1e-6)
    assert error(labels, keras.ops.softmax(logits)) == approx(0.012963, abs=1e-6)


# Brier --------------------------------------------------------------------------------------------------------------


def test_published_brier_score():
    p = [[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]]
    assert float(ops.brier_score([1, 0, 2], p)) == approx(0.41333333, abs=1e-7)
    # weights 1, 2, 3 on .14, .24, .86
    assert float(ops.brier_score([1, 0, 2], p, [1, 2, 3])) == approx((0.14 + 0.48 + 2.58) / 6, rel=1e-6)


def test_brier_score_equals_scikit_learn():
    labels, _, p = predictions()
    p = p.astype("float64")
    p /= p.sum(-1, keepdims=True)
    weight = np.random.default_rng(4).random(len(labels)).astype("float32")
    peer = brier_score_loss(labels, p, sample_weight=weight, labels=range(5), scale_by_half=False)
    assert float(ops.brier_score(labels, p, weight)) == approx(peer, rel=digits(1e-9, 1e-6))
    y = labels > 2
    peer = brier_score_loss(y, p[:, 0], sample_weight=weight)
    assert float(ops.brier_score(y, p[:, 0], weight)) == approx(peer, rel=digits(1e-9, 1e-6))


def test_squared_distance_of_a_sure_and_right_prediction_keeps_its_digits():
    # (1e-4)² + (1e-4)²: expanding the square in float32 would leave the rounding of 1 - 2 · .9999 + 1, about 1e-7
    p = np.array([[1 - 2**-13, 2**-13], [1 - 2**-20, 2**-20]], "float32")
    np.testing.assert_allclose(squared_distance([0, 0], p), [2**-25, 2**-39], rtol=1e-6)


# errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_bins": 0}, r"Expected `num_bins` to be an integer from 1 to 1,000,000\. Received: 0\."),
        ({"num_bins": 15.0}, r"`num_bins`.*Received: 15\.0"),
        ({"num_bins": True}, r"`num_bins`.*Received: True"),
        ({"binning": "quantiles"}, r"`binning`.*'uniform', 'quantile'.*Received: 'quantiles'.*Did you mean 'quantile'"),
        ({"norm": "L1"}, r"`norm`.*Received: 'L1'\. Did you mean 'l1'"),
        ({"norm": 2}, r"`norm`.*'l1', 'l2', 'max'.*Received: 2"),
        ({"closed": "Right"}, r"`closed`.*Received: 'Right'\. Did you mean 'right'"),
        ({"debiased": True}, r"Expected `norm='l2'` with `debiased=True`\. Received: norm='l1'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ops.calibration_error([0, 1], [0.2, 0.7], **options)


@pytest.mark.parametrize("function", [ops.calibration_error, ops.brier_score])
@pytest.mark.parametrize(
    "labels, probabilities, weight, message",
    [
        ([0, 1], [np.nan, 0.5], None, r"Expected `probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], None, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [[0.5, np.nan], [0.5, 0.5]], None, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([], [], None, r"at least one example\. Received: predictions of shape \(0,\)"),
        ([], np.zeros((0, 3)), None, r"at least one example\. Received: predictions of shape \(0, 3\)"),
        ([0, 2], [[0.5, 0.5]] * 2, None, r"integer labels in \[0, 2\).*Received: 2"),
        ([0, -1], [[0.5, 0.5]] * 2, None, r"integer labels in \[0, 2\).*Received: -1"),
        ([0, 2], [0.5, 0.5], None, r"binary labels in \[0, 1\]\. Received: 2"),
        ([0, 1, 1], [0.5, 0.5], None, r"one label a prediction.*\(3,\).*\(2,\)"),
        ([[1, 0, 0]], [[0.5, 0.5]], None, r"Received: labels of shape \(1, 3\), predictions of shape \(1, 2\)"),
        (
            [0, 1],
            [0.5, 0.5],
            [1, -1],
            r"`sample_weight` without negative numbers.* Received: -1\.0",
        ),
        (
            [0, 1],
            [0.5, 0.5],
            [1, np.nan],
            r"`sample_weight` without negative numbers.* Received: nan",
        ),
        ([0, 1], [0.5, 0.5], [1, 1, 1], r"broadcastable to \(2,\).*Received: shape \(3,\)"),
    ],
)
def test_bad_data(function, labels, probabilities, weight, message):
    with pytest.raises(ValueError, match=message):
        function(labels, probabilities, sample_weight=weight)


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"Expected `probabilities` in \[0, 1\]. Received: .*softmax"):
        kls.ops.calibration_error([0, 1], [[3.0, -2.0], [0.5, 4.0]])
    with pytest.raises(ValueError, match=r"use `from_logits=True`"):
        kls.metrics.ExpectedCalibrationError(from_logits=False).update_state([0, 1], [[3.0, -2.0], [0.5, 4.0]])


@pytest.mark.parametrize("score", [kls.ops.calibration_error, kls.ops.brier_score])
def test_no_weight_left_is_no_perfect_score(score):
    with pytest.raises(ValueError, match="Expected an example of positive weight"):
        score([0, 1], [[0.5, 0.5], [0.5, 0.5]], sample_weight=[0.0, 0.0])


def test_debiased_of_weights_that_are_no_counts():
    # one bin: acc = 2/2.5 = .8, conf .3, effective size 2.5²/(.25 + .25 + 2.25) = 25/11; .5² - .8 · .2 / (14/11)
    y, p, weight = [1, 0, 1], [0.3, 0.3, 0.3], np.array([0.5, 0.5, 1.5])
    expected = np.sqrt(0.25 - 0.16 * 11 / 14)
    for scale in (1, 0.001, 0.4, 5e-10):
        assert error(y, p, 1, norm="l2", debiased=True, sample_weight=scale * weight) == approx(expected, rel=1e-5)
    # twice as whole numbers they are counts: five examples
    expected = np.sqrt(0.25 - 0.16 / 4)
    assert error(y, p, 1, norm="l2", debiased=True, sample_weight=2 * weight) == approx(expected, rel=1e-5)
    # an example alone in its bin has no variance, whatever its weight: left out
    assert error(
        [1, 0, 1, 1], [0.3, 0.3, 0.3, 0.9], 2, norm="l2", debiased=True, sample_weight=[*weight, 7.5]
    ) == approx(np.sqrt(2.5 / 10 * (0.25 - 0.16 * 11 / 14)), rel=1e-5)


def test_bins_of_weights_that_are_no_counts_need_their_number():
    sums = [[2.5], [2.0], [0.75]]
    with pytest.raises(ValueError, match=r"whole numbers of examples in the bins.*Received: a weight of 2\.5\. Pass"):
        calibration_error_of_bins(sums, "l2", debiased=True)
    found = calibration_error_of_bins(sums, "l2", debiased=True, examples=[25 / 11])
    assert float(found) == approx(np.sqrt(0.25 - 0.16 * 11 / 14), rel=1e-5)
