import functools

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ls import ops
from tests.ops.scores import Spy, binned_error, brier

approx = pytest.approx


def accuracy(labels, p, sample_weight):
    return np.average(labels == (p > 0.5), weights=sample_weight)


def test_a_proportion_has_binomial_quantiles():
    # 70 of 100 right: the resampled accuracy is Binomial(100, .7) / 100
    labels, p = [1] * 70 + [0] * 30, [0.9] * 100
    result = ops.bootstrap_interval(accuracy, labels, p, num_resamples=4000, method="percentile")
    low, high = stats.binom.ppf([0.025, 0.975], 100, 0.7) / 100
    assert (result.low, result.high) == approx((low, high), abs=0.011)  # a step of the distribution is .01
    assert result.estimate == approx(0.7)
    assert result.standard_error == approx(np.sqrt(0.7 * 0.3 / 100), rel=0.05)
    basic = ops.bootstrap_interval(accuracy, labels, p, num_resamples=4000, method="basic")
    assert (basic.low, basic.high) == approx((1.4 - result.high, 1.4 - result.low))
    narrow = ops.bootstrap_interval(accuracy, labels, p, level=0.5, num_resamples=4000, method="percentile")
    assert (narrow.low, narrow.high) == approx(tuple(stats.binom.ppf([0.25, 0.75], 100, 0.7) / 100), abs=0.011)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_of_a_mean_equals_scipy(method):
    rng = np.random.default_rng(0)
    p = rng.random(80)
    labels = (rng.random(80) < p**2).astype("float64")
    losses = (labels - p) ** 2
    peer = stats.bootstrap((losses,), np.mean, n_resamples=5000, method=method, rng=np.random.default_rng(1))
    result = ops.bootstrap_interval(brier, labels, p, num_resamples=800, method=method)
    se = losses.std() / np.sqrt(80)
    # the 2.5 % quantile of 5000 draws has a standard error of .038 standard deviations; twice, for two of them
    expected = peer.confidence_interval
    assert (result.low, result.high) == approx((expected.low, expected.high), abs=0.2 * se)
    assert result.standard_error == approx(peer.standard_error, rel=0.05)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(("statistic", "truth"), [(accuracy, 0.7), (brier, 0.205)])
@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_covers_the_truth_as_often_as_it_says(statistic, truth, method):
    # P(y=1) is .8 where p = .9 and .6 where p = .6: accuracy .7; Brier (.8 · .01 + .2 · .81 + .6 · .16 + .4 · .36) / 2
    # = (.17 + .24) / 2 = .205
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(250):
        p = np.where(rng.random(150) < 0.5, 0.9, 0.6)
        labels = (rng.random(150) < np.where(p > 0.7, 0.8, 0.6)).astype("float64")
        result = ops.bootstrap_interval(statistic, labels, p, None, 0.9, 150, seed, method)
        covered.append(result.low <= truth <= result.high)
    # .9 and 3 standard errors of .019 either way
    assert 0.843 < np.mean(covered) < 0.957


@pytest.mark.slow_on_jax
def test_the_basic_interval_takes_out_most_of_the_bias_of_a_binned_error():
    # each of ten bins of 100 is .02 above or below the truth, which is less than its standard error of about .04
    rng = np.random.default_rng(0)
    levels = np.arange(10) / 10 + 0.05
    truth = levels + 0.02 * (-1) ** np.arange(10)
    covered = {"basic": 0, "percentile": 0}
    for seed in range(150):
        p = np.tile(levels, 100)
        labels = (rng.random(1000) < np.tile(truth, 100)).astype("float64")
        for method in covered:
            result = ops.bootstrap_interval(binned_error, labels, p, None, 0.9, 100, seed, method)
            covered[method] += (result.low <= 0.02 <= result.high) / 150
    assert covered["basic"] > 0.7
    assert covered["percentile"] < 0.1


def test_whole_weights_are_counts():
    # example 0 stands for 60 examples, example 1 for 40: a proportion of 100
    spy = Spy()
    weight = np.array([60, 40, 0])
    result = ops.bootstrap_interval(spy, [1, 0, 1], [1.0, 1.0, np.nan], weight, num_resamples=1000, method="percentile")
    drawn = np.array(spy.weights)
    np.testing.assert_array_equal(drawn[0], weight)
    assert (drawn.sum(axis=1) == 100).all()
    assert (drawn[:, 2] == 0).all()
    assert drawn[1:, 0].std() == approx(np.sqrt(100 * 0.6 * 0.4), rel=0.1)
    assert np.isnan(result.estimate)  # NumPy's average knows nothing of dropped NaN
    kept = ops.bootstrap_interval(ops.brier_score, [1, 0, 1], [1.0, 1.0, np.nan], weight, num_resamples=200)
    assert kept.estimate == approx(0.4)
    assert kept.standard_error == approx(np.sqrt(0.24 / 100), rel=0.15)


def test_other_weights_stay_with_their_example():
    spy = Spy()
    weight = np.array([0.5, 2.5, 0, 1.25], "float32")
    ops.bootstrap_interval(spy, [1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5], weight, num_resamples=600)
    np.testing.assert_array_equal(spy.weights[0], weight)
    drawn = np.array(spy.weights[1:])
    counts = drawn[:, [0, 1, 3]] / weight[[0, 1, 3]]
    np.testing.assert_array_equal(counts, counts.round())
    assert (counts.sum(axis=1) == 3).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.15)  # each as likely as another
    assert (drawn[:, 2] == 0).all()


@pytest.mark.slow_on_jax
def test_scores_of_ops_and_shapes():
    rng = np.random.default_rng(0)
    p, labels = rng.dirichlet(np.ones(3), 60).astype("float32"), rng.integers(0, 3, 60)
    for score in (
        ops.calibration_error,
        functools.partial(ops.calibration_error, num_bins=5, binning="quantile", norm="l2", debiased=True),
        ops.brier_score,
        ops.risk_coverage_area,
    ):
        result = ops.bootstrap_interval(score, labels, p, num_resamples=8)
        assert result.estimate == approx(float(score(labels, p)), rel=1e-6)
        tensors = (keras.ops.convert_to_tensor(labels.reshape(4, 15)), keras.ops.convert_to_tensor(p.reshape(4, 15, 3)))
        assert ops.bootstrap_interval(score, *tensors, num_resamples=8) == approx(result, rel=1e-6)
        assert ops.bootstrap_interval(score, labels.tolist(), p.tolist(), num_resamples=8) == approx(result, rel=1e-6)
        assert ops.bootstrap_interval(score, labels, p, num_resamples=8, seed=1).low != result.low


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 95}, r"`level` in \[0, 1\)\. Received: 95"),
        ({"num_resamples": 0}, r"`num_resamples`.*Received: 0"),
        ({"method": "bca"}, r"`method`.*'basic', 'percentile'.*Received: 'bca'"),
        ({"sample_weight": [0, 0]}, "positive weight"),
    ],
)
def test_errors_of_the_interval(options, message):
    with pytest.raises(ValueError, match=message):
        ops.bootstrap_interval(ops.brier_score, [0, 1], [0.5, 0.5], **options)


def test_equal_weights_that_are_no_counts_are_left_out():
    rng = np.random.default_rng(4)
    p, labels = rng.random(50), rng.integers(0, 2, 50)
    spy = Spy()
    without = ops.bootstrap_interval(ops.risk_coverage_area, labels, p, num_resamples=20)
    for weight in (0.02, 0.3):
        equal = np.full(50, weight)
        assert ops.bootstrap_interval(ops.risk_coverage_area, labels, p, equal, num_resamples=20) == without
    ops.bootstrap_interval(spy, labels, p, equal, num_resamples=3)
    np.testing.assert_array_equal(spy.weights[0], np.ones(50))


def test_counts_without_end_take_no_memory():
    # .3 of 10¹² examples: the standard error √(.3 · .7 / 10¹²)
    result = ops.bootstrap_interval(accuracy, [1, 0], [0.9, 0.9], [3e11, 7e11], num_resamples=400)
    assert result.standard_error == approx(np.sqrt(0.21 / 1e12), rel=0.15)
    with pytest.raises(ValueError, match=r"sum to less than 2\*\*62\. Received: 1e\+30\. Divide"):
        ops.bootstrap_interval(accuracy, [1, 0], [0.9, 0.9], [1e30, 1], num_resamples=2)


@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_the_estimate_is_never_outside(method):
    # calibrated predictions in bins of 30: the error is chance, about doubled in resamples, which reflect to below 0
    rng = np.random.default_rng(0)
    levels = np.tile(np.arange(10) / 10 + 0.05, 30)
    moved = 0
    for seed in range(20):
        labels = (rng.random(300) < levels).astype("float64")
        found = ops.bootstrap_interval(binned_error, labels, levels, None, 0.9, 60, seed, method)
        assert found.low <= found.estimate <= found.high
        assert found.low < found.high
        moved += found.estimate in (found.low, found.high)
    assert moved > 0  # else this tries nothing


def test_coverage_that_the_documentation_states():
    # errors of .02 and .075 (shrunk towards ½ by .7: the mean of .3 |level - ½| is .3 · .25), of 1000 examples
    rng = np.random.default_rng(1)
    levels = np.arange(10) / 10 + 0.05
    for truth in (levels + 0.02 * (-1) ** np.arange(10), 0.5 + 0.7 * (levels - 0.5)):
        p, real = np.tile(levels, 100), np.abs(truth - levels).mean()
        covered = 0
        for seed in range(150):
            labels = (rng.random(1000) < np.tile(truth, 100)).astype("float64")
            found = ops.bootstrap_interval(binned_error, labels, p, None, 0.95, 100, seed)
            covered += found.low <= real <= found.high
        assert 0.75 < covered / 150 < 0.97  # .80 to .92, and standard errors of .03
