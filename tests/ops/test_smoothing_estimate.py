import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from keras_ls import ops
from tests.ops import plain_forms
from tests.precision import digits

approx = pytest.approx


def blobs(n=300, K=4, D=3, seed=0):
    """Overlapping classes: no network separates them, as no network fits real data."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, n)
    return rng.normal(size=(n, D)) + rng.normal(size=(K, D))[labels], labels


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.3])
def test_finds_alpha_of_a_linear_model_that_cannot_fit_its_targets(alpha):
    # multinomial regression on smoothed targets, solved to the end by SciPy: the gradient is 0 at the solution
    x, labels = blobs()
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    q = (1 - alpha) * np.eye(4)[labels] + alpha / 4

    def loss(w):
        z = x @ w.reshape(4, 4)
        log_p = log_softmax(z, axis=1)
        return -(q * log_p).sum() / len(x), (x.T @ (np.exp(log_p) - q) / len(x)).ravel()

    solution = minimize(loss, np.zeros(16), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    found = ops.estimate_smoothing(x @ solution.x.reshape(4, 4), labels)
    assert float(found.label_smoothing) == approx(alpha, abs=digits(1e-6, 1e-5))
    if alpha:
        assert float(found.match) == approx(1, abs=1e-5)


@pytest.mark.parametrize("alpha, K", [(1e-3, 2), (0.1, 10), (0.4, 3)])
def test_targets_that_are_met_exactly(alpha, K):
    labels = np.arange(2 * K) % K
    logits = np.log((1 - alpha) * np.eye(K) + alpha / K)[labels] + np.arange(2 * K)[:, None]  # shifts do not matter
    found = ops.estimate_smoothing(logits, labels)
    assert float(found.label_smoothing) == approx(alpha, rel=digits(1e-9, 1e-3))
    assert float(found.match) == approx(1, rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_plain_form(weighted):
    rng = np.random.default_rng(1)
    logits, labels = 2 * rng.normal(size=(40, 5)), rng.integers(0, 5, 40)
    weight = rng.uniform(0, 2, 40) if weighted else np.ones(40)
    expected = plain_forms.smoothing_estimate(logits, labels, weight)
    for y in (labels, np.eye(5)[labels]):
        found = ops.estimate_smoothing(logits, y, weight if weighted else None)
        np.testing.assert_allclose([float(v) for v in found], expected, rtol=digits(1e-6, 1e-4))


def test_wrong_logits_by_hand():
    # wrong (1, 3): variance 1, gap 8; wrong (0, 6): variance 9, gap -5
    logits = [[10.0, 1, 3], [0, -2, 6]]
    assert float(ops.wrong_logit_variance(logits, [0, 1])) == approx((1 + 9) / (64 + 25), rel=1e-6)
    assert float(ops.wrong_logit_variance(logits, [0, 1], [3, 1])) == approx((3 + 9) / (3 * 64 + 25), rel=1e-6)
    scaled = 7 * np.array(logits) + 3
    assert float(ops.wrong_logit_variance(scaled, np.eye(3)[:2])) == approx(10 / 89, rel=1e-6)


@pytest.mark.parametrize("function", [ops.estimate_smoothing, ops.wrong_logit_variance])
def test_dropped_examples_and_errors(function):
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(9, 3)), rng.integers(0, 3, 9)
    spoilt = logits.copy()
    spoilt[4] = np.nan
    weight = np.ones(9)
    weight[4] = 0
    kept = np.arange(9) != 4
    np.testing.assert_allclose(
        np.ravel([float(v) for v in np.ravel(function(spoilt, labels, weight))]),
        [float(v) for v in np.ravel(function(logits[kept], labels[kept]))],
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match=r"`logits` without NaN.*must be finite"):
        function(spoilt, labels)
    with pytest.raises(ValueError, match=r"`logits` \[N, K\] with K ≥ 2\. Received: shape \(9,\)"):
        function(logits[:, 0], labels)
    with pytest.raises(ValueError, match="integer labels"):
        function(logits, labels + 3)
    with pytest.raises(ValueError, match="without NaN"):
        function([[math.inf, 0.0]], [0])
