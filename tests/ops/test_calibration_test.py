import itertools

import numpy as np
import pytest
from scipy import stats

from keras_ls import ops
from tests.ops.scores import Spy, binned_error
from tests.real_data import lenet_cifar10

approx = pytest.approx


def test_against_all_labels_that_could_have_been():
    p = np.array([0.1, 0.35, 0.6, 0.8, 0.85])
    given = np.array([1, 0, 0, 1, 1])
    errors, chances = [], []
    for y in itertools.product([0, 1], repeat=5):
        # by hand: the last two share a bin of ten
        gaps = [y[0] - p[0], y[1] - p[1], y[2] - p[2], y[3] + y[4] - p[3] - p[4]]
        errors.append(np.abs(gaps).sum() / 5)
        chances.append(np.prod(np.where(np.array(y) == 1, p, 1 - p)))
    errors, chances = np.array(errors), np.array(chances)
    observed = (0.9 + 0.35 + 0.6 + 0.35) / 5
    result = ops.calibration_test(given, p, statistic=binned_error, num_resamples=2000)
    assert result.statistic == approx(observed, rel=1e-6)
    assert result.expected == approx(np.dot(chances, errors), abs=0.01)  # a standard error of .003
    assert result.p_value == approx(chances[errors > observed - 1e-9].sum(), abs=0.03)  # of .01
    ordered = np.argsort(errors)
    cumulative = np.cumsum(chances[ordered])
    assert result.low == approx(errors[ordered][np.searchsorted(cumulative, 0.025)], abs=0.011)
    assert result.high == approx(errors[ordered][np.searchsorted(cumulative, 0.975)], abs=0.011)


@pytest.mark.slow_on_jax
def test_p_values_of_calibrated_predictions_are_uniform():
    rng = np.random.default_rng(0)
    p_values, multi_class = [], []
    for seed in range(200):
        p = rng.random(100)
        labels = rng.random(100) < p
        p_values.append(ops.calibration_test(labels, p, None, binned_error, num_resamples=99, seed=seed).p_value)
        p = rng.dirichlet(np.ones(3), 100)
        labels = (rng.random((100, 1)) > p.cumsum(axis=1)).sum(axis=1)
        result = ops.calibration_test(labels, p, None, top_label_error, num_resamples=99, seed=seed)
        multi_class.append(result.p_value)
    # of the steps 1/100 ... 1; moved by half a step and spread, a continuous uniform
    for values in (p_values, multi_class):
        assert stats.kstest(np.array(values) - rng.random(200) / 100, "uniform").pvalue > 0.01


def top_label_error(labels, p, sample_weight):
    return binned_error((p.argmax(axis=1) == labels).astype(float), p.max(axis=1), sample_weight)


def test_over_and_under_confidence_are_found():
    for hits in (60, 99):
        result = ops.calibration_test([1] * hits + [0] * (100 - hits), [0.8] * 100, num_resamples=99)
        assert result.statistic == approx(abs(hits / 100 - 0.8), rel=1e-5)
        assert result.p_value == 1 / 100
        # the mean of |Binomial(100, .8) / 100 - .8|
        expected = np.abs(np.arange(101) / 100 - 0.8) @ stats.binom.pmf(np.arange(101), 100, 0.8)
        assert result.expected == approx(expected, rel=0.25)


@pytest.mark.slow_on_jax
def test_of_real_predictions():
    labels, p = lenet_cifar10()
    result = ops.calibration_test(labels, p, num_resamples=40)
    assert result.statistic == approx(0.107888, abs=1e-6)
    assert result.p_value == 1 / 41
    # the same floor with hits drawn from the confidences
    confidence = p.max(axis=1).astype("float64")
    index = np.searchsorted(np.arange(1, 15) / 15, confidence, side="right")
    rng = np.random.default_rng(7)
    errors = [
        np.abs(np.bincount(index, (rng.random(10_000) < confidence) - confidence, 15)).sum() / 10_000
        for _ in range(400)
    ]
    se = np.std(errors) / np.sqrt(40)
    assert result.expected == approx(np.mean(errors), abs=4 * se)


@pytest.mark.slow_on_jax
def test_labels_are_drawn_from_the_predictions():
    spy = Spy()

    def seen(labels, p, sample_weight):
        return spy(labels, p[:, 0], sample_weight)

    p = np.tile(np.array([[0.0, 0.5, 0.3, 0.2], [1.0, 0, 0, 0]], "float32"), (500, 1))
    ops.calibration_test([1, 0] * 500, p, None, seen, num_resamples=40)
    drawn = np.array(spy.labels[1:])
    assert (drawn[:, 1::2] == 0).all()
    rates = np.bincount(drawn[:, ::2].ravel(), minlength=4) / 20_000
    np.testing.assert_allclose(rates, [0, 0.5, 0.3, 0.2], atol=0.015)  # standard errors of .0035
    assert rates[0] == 0


def test_whole_weights_repeat_and_zero_drops_in_the_test():
    rng = np.random.default_rng(2)
    p, labels, weight = rng.dirichlet(np.ones(3), 30), rng.integers(0, 3, 30), np.arange(30) % 4
    expected = ops.calibration_test(np.repeat(labels, weight), np.repeat(p, weight, axis=0), num_resamples=20)
    p[weight == 0], labels[weight == 0] = np.nan, -5
    assert ops.calibration_test(labels, p, weight, num_resamples=20) == approx(expected, rel=1e-6)
    one_hot = np.eye(3)[np.maximum(labels, 0)]
    assert ops.calibration_test(one_hot, p, weight, num_resamples=20) == approx(expected, rel=1e-6)


def test_other_weights_belong_to_one_label_each():
    spy = Spy()
    weight = np.array([0.5, 2.5, 0, 1.25])
    ops.calibration_test([1, 0, 1, 0], [0.5] * 4, weight, spy, num_resamples=3)
    assert all(labels.shape == (3,) for labels in spy.labels)
    for carried in spy.weights:
        np.testing.assert_array_equal(carried, [0.5, 2.5, 1.25])


def test_a_nan_statistic_has_no_p_value():
    result = ops.calibration_test([0, 1], [0.5, 0.5], None, lambda *a, **k: float("nan"), num_resamples=9)
    assert np.isnan([result.p_value, result.low, result.high, result.expected]).all()


@pytest.mark.parametrize(
    ("labels", "p", "options", "message"),
    [
        ([0.5, 1], [0.5, 0.7], {}, r"Expected outcomes: .* Received: 0\.5\."),
        ([[0.5, 0.5], [1, 0]], [[0.5, 0.5]] * 2, {}, r"Expected outcomes: .* Received: \[0\.5 0\.5\]"),
        ([0, 1], [0.5, np.nan], {}, "`probabilities` without NaN"),
        ([0, 1], [[3.0, -2.0], [0.5, 0.5]], {}, "softmax"),
        ([0, 1], [0.5, 0.5], {"level": 1.0}, r"`level` in \[0, 1\)\. Received: 1\.0"),
        ([0, 1], [0.5, 0.5], {"num_resamples": 1.5}, r"`num_resamples`.*Received: 1\.5"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [0, 0]}, "positive weight"),
    ],
)
def test_errors_of_the_test(labels, p, options, message):
    with pytest.raises(ValueError, match=message):
        ops.calibration_test(labels, p, **options)


def test_counts_above_the_classes_are_drawn_as_one():
    # 6 at .3 and 9 at .8, in bins of their own: Σ |Binomial - mean| / 15, as of fifteen examples
    h, k = np.arange(7)[:, None], np.arange(10)
    errors = (np.abs(h - 1.8) + np.abs(k - 7.2)) / 15
    chances = stats.binom.pmf(h, 6, 0.3) * stats.binom.pmf(k, 9, 0.8)
    observed = (abs(6 - 1.8) + abs(0 - 7.2)) / 15
    expected = (chances * errors).sum()
    spread = np.sqrt((chances * errors**2).sum() - expected**2)
    grouped = ops.calibration_test([1, 0], [0.3, 0.8], [6, 9], binned_error, num_resamples=2000)
    repeated = ops.calibration_test([1] * 6 + [0] * 9, [0.3] * 6 + [0.8] * 9, None, binned_error, num_resamples=2000)
    for found in (grouped, repeated):
        assert found.statistic == approx(observed, rel=1e-6)
        assert found.expected == approx(expected, abs=4 * spread / np.sqrt(2000))
        assert found.p_value == 1 / 2001  # no labels fit worse: all of the one class, none of the other


def test_labels_of_counts_are_multinomial():
    spy = Spy()

    def seen(labels, p, sample_weight):
        return spy(labels, p[:, 0], sample_weight)

    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
    ops.calibration_test([2, 0, 0], p, [1000, 2, 50], seen, num_resamples=500)
    # three rows for the first and the last, one for each of the two of the second
    assert all(labels.shape == (8,) for labels in spy.labels)
    np.testing.assert_array_equal(spy.labels[0], [0, 1, 2, 0, 0, 0, 1, 2])
    np.testing.assert_array_equal(spy.weights[0], [0, 0, 1000, 1, 1, 50, 0, 0])
    drawn, labels = np.array(spy.weights[1:]), np.array(spy.labels[1:])
    assert (drawn[:, :3].sum(axis=1) == 1000).all() and (drawn[:, 3:5] == 1).all() and (drawn[:, 5] == 50).all()
    np.testing.assert_array_equal(labels[:, [0, 1, 2, 5, 6, 7]], np.tile([0, 1, 2, 0, 1, 2], (500, 1)))
    # means 500, 300, 200 and variances 250, 210, 160, with 500 draws
    np.testing.assert_allclose(drawn[:, :3].mean(axis=0), [500, 300, 200], atol=4 * np.sqrt(250 / 500))
    np.testing.assert_allclose(drawn[:, :3].var(axis=0), [250, 210, 160], rtol=0.25)
    assert np.bincount(labels[:, 3:5].ravel(), minlength=3)[2] / 1000 == approx(0.8, abs=0.06)


def test_counts_without_end():
    # a gap of .001 of 10⁹: 69 standard errors of √(.3 · .7 / 10⁹)
    found = ops.calibration_test([1, 0], [0.3, 0.3], [3.01e8, 6.99e8], binned_error, num_resamples=99)
    assert found.p_value == 0.01 and found.statistic == approx(0.001, rel=1e-4)
    # the mean of |normal|: √(2/π) standard errors
    assert found.expected == approx(np.sqrt(2 / np.pi * 0.21 / 1e9), rel=0.35)
    # what is drawn is as likely as what was: 2⁴¹ of three classes in six rows
    many = ops.calibration_test([0, 1, 2], [[0.2, 0.5, 0.3]] * 3, [2.0**38, 2.0**40, 2.0**39], num_resamples=19)
    assert many.p_value == 0.05
