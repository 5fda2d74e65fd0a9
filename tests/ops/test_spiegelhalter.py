import itertools
import math

import numpy as np
import pytest
from scipy import stats

from keras_ls import ops
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx


def z_and_p(*args, **kwargs):
    return tuple(float(value) for value in ops.spiegelhalter_test(*args, **kwargs))


def plain_z(labels, p, weight=None):
    """From the Brier scores of all outcomes that each example might have had."""
    excess, variance = 0.0, 0.0
    for i, (y, row) in enumerate(zip(labels, np.asarray(p, "float64"))):
        scores = [sum((row[k] - (k == outcome)) ** 2 for k in range(len(row))) for outcome in range(len(row))]
        mean = sum(q * score for q, score in zip(row, scores))
        w = 1 if weight is None else weight[i]
        excess += w * (scores[y] - mean)
        variance += w * sum(q * (score - mean) ** 2 for q, score in zip(row, scores))
    return excess / math.sqrt(variance)


def draw(n=300, K=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, K, n), rng.dirichlet(np.ones(K), n)


def test_three_classes_by_hand():
    # p = (½, ¼, ¼): s = 3/8; an outcome of class 0 adds -1/8, others 1/8, each with probability ½, so variance 1/64.
    # outcomes 1, 1, 2, 0: (3 - 1)/8 / sqrt(4/64) = 1
    z, p_value = z_and_p([1, 1, 2, 0], [[0.5, 0.25, 0.25]] * 4)
    assert z == approx(1, rel=1e-6)
    assert p_value == approx(0.3173105, abs=1e-6)  # 2 (1 - Φ(1)), from tables


def test_binary_by_spiegelhalters_own_formula():
    y, p = draw(200, 2)
    p = p[:, 1]
    expected = np.sum((y - p) * (1 - 2 * p)) / np.sqrt(np.sum((1 - 2 * p) ** 2 * p * (1 - p)))
    assert z_and_p(y, p)[0] == approx(expected, rel=digits(1e-9, 1e-4))
    assert z_and_p(y, np.stack([1 - p, p], axis=1)) == approx(z_and_p(y, p), rel=digits(1e-9, 1e-4))


def test_z_has_mean_0_and_variance_1_over_all_outcomes():
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    z, chance = [], []
    for outcome in itertools.product(range(3), repeat=3):
        z.append(z_and_p(outcome, p)[0])
        chance.append(math.prod(row[k] for row, k in zip(p, outcome)))
    assert sum(chance) == approx(1)
    assert np.dot(chance, z) == approx(0, abs=digits(1e-12))
    assert np.dot(chance, np.square(z)) == approx(1, rel=digits(1e-9, 1e-5))


def test_against_the_plain_form():
    labels, p = draw()
    z, p_value = z_and_p(labels, p)
    assert z == approx(plain_z(labels, p), rel=digits(1e-9, 1e-4))
    assert p_value == approx(2 * stats.norm.sf(abs(z)), rel=digits(1e-9, 1e-4))
    assert z_and_p(np.eye(4)[labels], p) == approx((z, p_value), rel=1e-9)
    assert z_and_p(labels, 3 * p / 3.0005)[0] == approx(z, rel=digits(1e-6, 1e-4))  # rounded to other sums


@pytest.mark.slow_on_jax
def test_p_values_of_calibrated_predictions_are_uniform():
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(300):
        p = rng.dirichlet(np.ones(3), 200)
        labels = (rng.random((200, 1)) > p.cumsum(axis=1)).sum(axis=1)
        p_values.append(z_and_p(labels, p)[1])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_under_confidence_is_no_calibration():
    # .6 for 1000 examples of which 800 are right: z = 200 (-.2) / sqrt(1000 · .04 · .24). One-sided, the p-value would
    # be Φ(12.9) = 1: perfect
    z, p_value = z_and_p([1] * 800 + [0] * 200, [0.6] * 1000)
    assert z == approx(-40 / math.sqrt(9.6), rel=1e-5)
    assert p_value < 1e-30
    over, p_over = z_and_p([1] * 400 + [0] * 600, [0.6] * 1000)
    assert over == approx(-z, rel=1e-5)
    assert p_over < 1e-30


def test_whole_weights_repeat_and_zero_drops():
    labels, p = draw(40)
    weight = np.arange(40) % 4
    expected = z_and_p(np.repeat(labels, weight), np.repeat(p, weight, axis=0))
    p[weight == 0], labels[weight == 0] = np.nan, 9
    assert z_and_p(labels, p, weight) == approx(expected, rel=digits(1e-9, 1e-4))


def test_other_weights_belong_to_one_outcome_each():
    labels, p = draw(40)
    weight = np.random.default_rng(3).uniform(0.5, 2, 40).astype("float32")
    # z = Σ w d / sqrt(Σ w² v): the plain form's with weights w has Σ w v in its place
    d = [plain_z([y], [row]) for y, row in zip(labels, p)]  # d / sqrt(v) of one example
    v = np.array([4 * np.sum(row * (row - np.sum(row**2)) ** 2) for row in p])
    expected = np.sum(weight * d * np.sqrt(v)) / np.sqrt(np.sum(weight**2 * v))
    assert z_and_p(labels, p, weight)[0] == approx(expected, rel=digits(1e-6, 1e-4))
    assert z_and_p(labels, p, 7.3 * weight)[0] == approx(expected, rel=digits(1e-6, 1e-4))  # the scale says nothing


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("K", [2, 3, 7])
def test_without_information_nothing_is_tested(dtype, K):
    # not even the rounding of 1/3
    assert z_and_p([0] * 50 + [1] * 50, np.full((100, K), 1 / K, dtype)) == (0, 1)
    assert z_and_p([1, 0, 1], np.full(3, 0.5, dtype)) == (0, 1)
    assert z_and_p([1, 0, 1], [1.0, 0.0, 1.0]) == (0, 1)  # sure, and right


def test_an_impossible_outcome():
    assert z_and_p([1, 1], [1.0, 0.0]) == (math.inf, 0)
    assert z_and_p([2, 0], [[0.5, 0.5, 0.0], [1, 0, 0]]) == (math.inf, 0)


@pytest.mark.slow_on_jax
def test_of_real_predictions():
    labels, p = lenet_cifar10()
    p = p.astype("float64") / p.sum(axis=1, keepdims=True, dtype="float64")
    z, p_value = z_and_p(labels, p)
    assert z == approx(plain_z(labels, p), rel=digits(1e-9, 1e-4))
    assert z > 30  # over-confident: .51 right at a mean confidence of .62
    assert p_value < 1e-30


@pytest.mark.tensorflow
def test_in_graphs():
    import tensorflow as tf

    labels, p = draw(20)
    compiled = tf.function(ops.spiegelhalter_test, jit_compile=True)
    assert float(compiled(labels, p).statistic) == approx(plain_z(labels, p), rel=1e-9)
    p[0, 0] = np.nan
    assert np.isnan([float(value) for value in compiled(labels, p)]).all()


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([0.5, 1], [0.5, 0.7], r"Expected outcomes: .* Received: 0\.5\. A test asks"),
        ([[0.5, 0.5], [1, 0]], [[0.5, 0.5]] * 2, r"Expected outcomes: .* Received: \[0\.5 0\.5\]"),
        ([[1, 1], [1, 0]], [[0.5, 0.5]] * 2, r"class distributions: .* Received: \[1, 1\]"),
        ([0, 1], [0.5, np.nan], "`probabilities` without NaN"),
        ([0, 1], [[3.0, -2.0], [0.5, 0.5]], "softmax"),
        ([0, 2], [0.5, 0.5], r"binary labels in \[0, 1\]"),
    ],
)
def test_errors(labels, p, message):
    with pytest.raises(ValueError, match=message):
        ops.spiegelhalter_test(labels, p)


def test_weights_whose_squares_no_float32_holds():
    rng = np.random.default_rng(5)
    p, labels, weight = rng.dirichlet(np.ones(3), 40), rng.integers(0, 3, 40), rng.uniform(0.5, 2, 40)
    expected = z_and_p(labels, p, weight)
    for scale in (1e-25, 1e-3):
        assert z_and_p(labels, p, scale * weight) == approx(expected, rel=digits(1e-6, 1e-4))
