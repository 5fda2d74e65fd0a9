"""Intervals from groups of examples against intervals from single ones."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_ls import ops
from keras_ls.ops.resampling import interval_of_resamples
from keras_ls.ops.selective import risk_coverage_area_of_examples
from keras_ls.studies import Recalibration, resampled_groups
from keras_ls.studies.resampled_groups import (
    MOST_ROWS,
    group_examples,
    group_values,
    resampled_classwise_errors,
)

N, R = 10000, 200


def predictions(n=N, k=4):
    """Over-confident logits, and labels drawn from what they should be."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, k)).astype("float32")
    return (z + rng.gumbel(size=z.shape)).argmax(axis=1), 2 * z


def top_label(labels, logits):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (p.argmax(axis=1) == labels).astype("float32"), p.max(axis=1)


def area(accuracy, confidence, sample_weight):
    return risk_coverage_area_of_examples(confidence, accuracy, sample_weight)


@pytest.mark.parametrize(
    ("statistic", "method"),
    [
        (ops.calibration_error, "basic"),
        (functools.partial(ops.calibration_error, binning="quantile"), "basic"),
        (ops.smooth_calibration_error, "basic"),
        (area, "percentile"),
    ],
)
def test_intervals_of_groups_are_those_of_rows(statistic, method):
    accuracy, confidence = top_label(*predictions())
    rows = accuracy, confidence, np.ones(N)
    groups = group_examples(*rows, 15)
    assert groups[2].sum() == N and np.count_nonzero(groups[2]) < N / 2
    estimates = [float(statistic(a, c, sample_weight=w)) for a, c, w in (rows, groups)]
    assert estimates[0] == pytest.approx(estimates[1], abs=2e-4)
    settings, statistic = {"num_resamples": R, "method": method}, tf.function(statistic, autograph=False)
    exact, found = (ops.bootstrap_interval(statistic, a, c, w, **settings) for a, c, w in (rows, groups))
    # of R normal numbers of deviation s, the quantile at .025 has the deviation √(.025 · .975 / R) / φ(1.96) s = .19 s,
    # a difference of two .27 s, their own deviation one of s / √(2R) = .05 s
    s = exact.standard_error
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=3 * 0.27 * s)
    assert found.standard_error == pytest.approx(s, rel=3 * 0.07)


def test_means_of_groups_have_the_deviation_of_the_mean():
    labels, logits = predictions()
    nll = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(N), labels]
    values, counts = group_values(nll, np.ones(N))
    assert counts.sum() == N and len(values) == 4096
    assert np.average(values, weights=counts) == pytest.approx(nll.mean(), rel=1e-6)
    # the variance within the groups is what is lost
    variance = np.average((values - nll.mean()) ** 2, weights=counts)
    bound = np.ptp(nll) ** 2 / (4 * 4096**2)
    assert nll.var() - bound - 1e-6 <= variance <= nll.var() + 1e-6


def test_a_single_large_value_stays_alone():
    values = np.append(np.arange(N - 1) % 2, 1e6)
    grouped, counts = group_values(values, np.ones(N))
    assert grouped[counts > 0].tolist() == [pytest.approx(0.5, abs=1e-3), 1e6] and counts[-1] == 1


def test_no_group_crosses_the_edge_of_a_bin():
    confidence = np.sort(np.random.default_rng(0).uniform(size=N)).astype("float32")
    accuracy = (np.arange(N) % 3 > 0).astype("float32")
    for bins in (7, 15):
        groups = group_examples(accuracy, confidence, np.ones(N), bins)
        rows = np.histogram(confidence, np.arange(bins + 1) / bins)[0]
        assert np.histogram(groups[1], np.arange(bins + 1) / bins, weights=groups[2])[0] == pytest.approx(rows, abs=1)
        exact = ops.calibration_error(accuracy, confidence, bins)
        found = ops.calibration_error(*groups[:2], bins, sample_weight=groups[2])
        assert float(found) == pytest.approx(float(exact), abs=1e-6)


def test_weights_as_counts_equal_repeated_rows():
    accuracy, confidence = top_label(*predictions())
    weight = np.random.default_rng(1).integers(0, 4, N)
    weighted = group_examples(accuracy, confidence, weight, 15)
    repeated = group_examples(np.repeat(accuracy, weight), np.repeat(confidence, weight), np.ones(weight.sum()), 15)
    for a, b in zip(weighted, repeated):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    weighted = group_values(confidence, weight)
    repeated = group_values(np.repeat(confidence, weight), np.ones(weight.sum()))
    for a, b in zip(weighted, repeated):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    labels, logits = predictions()
    sums = resampled_classwise_errors(labels, logits, weight, 15, R, 0)
    copies = np.repeat(np.arange(N), weight)
    again = resampled_classwise_errors(labels[copies], logits[copies], np.ones(len(copies)), 15, R, 0)
    np.testing.assert_allclose(sums, again, rtol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
def test_blocks_have_the_classwise_interval_of_rows(binary):
    labels, logits = predictions(k=2 if binary else 4)
    if binary:
        logits = logits[:, 1] - logits[:, 0]
        p = 1 / (1 + np.exp(-logits))
    else:
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    exact = ops.bootstrap_interval(
        tf.function(ops.classwise_calibration_error, autograph=False), labels, p, num_resamples=R
    )
    errors = resampled_classwise_errors(labels, logits, np.ones(N), 15, R, 0)
    found = interval_of_resamples(exact.estimate, errors)
    s = exact.standard_error  # and 2 % of it for the blocks
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=3 * 0.27 * s)
    assert found.standard_error == pytest.approx(s, rel=3 * 0.075)


def test_few_examples_and_weights_that_are_no_counts_keep_their_rows(monkeypatch):
    accuracy, confidence = top_label(*predictions())
    few = accuracy[:MOST_ROWS], confidence[:MOST_ROWS], np.ones(MOST_ROWS)
    assert all(a is b for a, b in zip(group_examples(*few, 15), few))
    shares = np.random.default_rng(0).uniform(size=N)
    assert group_examples(accuracy, confidence, shares, 15)[2] is shares
    assert group_values(confidence, shares)[1] is shares
    # equal weights say nothing
    np.testing.assert_array_equal(
        group_examples(accuracy, confidence, np.full(N, 0.3), 15)[2],
        group_examples(accuracy, confidence, np.ones(N), 15)[2],
    )
    monkeypatch.setattr(resampled_groups, "_MOST_COPIES", N)
    assert resampled_classwise_errors(*predictions(), np.full(N, 2), 15, R, 0) is None


def test_estimates_are_those_of_all_examples():
    labels, logits = predictions()
    told = []
    study = Recalibration(labels, logits, num_resamples=20)
    scores = study.step("as given", progress=lambda share, what: told.append((share, what))).scores
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = {
        "accuracy": (p.argmax(axis=1) == labels).mean(),
        "nll": -np.log(p[np.arange(N), labels]).mean(),
        "brier": ops.brier_score(labels, p),
        "ece": ops.calibration_error(labels, p),
        "ece_quantile": ops.calibration_error(labels, p, binning="quantile"),
        "smooth": ops.smooth_calibration_error(labels, p),
        "classwise": ops.classwise_calibration_error(labels, p),
        "aurc": ops.risk_coverage_area(labels, p),
    }
    for name, value in expected.items():
        estimate, low, high = scores[name]
        assert estimate == pytest.approx(float(value), rel=1e-5), name
        assert low <= estimate <= high, name
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == pytest.approx(1, abs=0.02)
    assert {"NLL (nats)", "smECE", "class-wise ECE", "test of calibration"} <= {what for _, what in told}
