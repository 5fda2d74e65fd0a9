import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

from keras_ls import ops
from tests.ops import plain_forms
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx
NAMES = ("reliability", "resolution", "uncertainty", "within_bin_variance", "within_bin_covariance")


def parts_of(*args, **kwargs):
    return [float(part) for part in ops.brier_decomposition(*args, **kwargs)]


def plain_parts(p, y, index, weight):
    """The five sums of one class, bin after bin."""
    p, y, weight, index = (np.asarray(x, "float64") for x in (p, y, weight, index))
    n, mean_y = weight.sum(), np.average(y, weights=weight)
    parts = np.zeros(5)
    parts[2] = np.average((y - mean_y) ** 2, weights=weight)
    for m in set(index[weight > 0]):
        inside = index == m
        w, p_m, y_m = weight[inside], p[inside], y[inside]
        center_p, center_y = np.average(p_m, weights=w), np.average(y_m, weights=w)
        parts[0] += w.sum() / n * (center_p - center_y) ** 2
        parts[1] += w.sum() / n * (center_y - mean_y) ** 2
        parts[3] += (w * (p_m - center_p) ** 2).sum() / n
        parts[4] += 2 * (w * (p_m - center_p) * (y_m - center_y)).sum() / n
    return parts


def draw(n=200, K=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, K, n), rng.dirichlet(np.ones(K), n)


def test_binary_by_hand():
    # bins below and from .5: p .1 .3 .3 with y 0 0 1 (means 7/30 and 1/3) and p .9 with y 1 (means .9 and 1); ȳ = 1/2.
    # reliability ¾ · .1² + ¼ · .1²; resolution ¾ · (1/6)² + ¼ · ¼; uncertainty ¼; the variance within the first bin is
    # (16 + 4 + 4)/900, of four; covariance: deviations of p -4/30, 2/30, 2/30 times those of y -1/3, -1/3, 2/3
    parts = parts_of([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9], num_bins=2)
    covariance = 2 / 4 * (4 / 90 - 2 / 90 + 4 / 90)
    assert parts == approx([0.01, 1 / 48 + 1 / 16, 0.25, 24 / 900 / 4, covariance], rel=1e-5)
    # (.01 + .09 + .49 + .01) / 4
    assert float(ops.brier_decomposition([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9], num_bins=2).brier_score) == approx(0.15)


def test_three_classes_by_hand():
    # one bin a class; means of p (.5, .3, .2), of y (½, ½, 0): reliability 0 + .04 + .04, uncertainty ¼ + ¼ + 0.
    # Deviations of p ±(.2, .1, .1): variance .04 + .01 + .01; of y ±½, ∓½, 0: covariance 2 (.1 + .05 + 0)
    parts = parts_of([0, 1], [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]], num_bins=1)
    assert parts == approx([0.08, 0, 0.5, 0.06, 0.3], abs=1e-6)
    # Brier: (.09 + .04 + .01 + .09 + .36 + .09) / 2
    assert approx((0.14 + 0.54) / 2) == 0.08 - 0 + 0.5 + 0.06 - 0.3


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("binning", ["uniform", "quantile"])
@pytest.mark.parametrize("targets", ["integer", "dense", "binary"])
def test_against_the_plain_form_and_the_brier_score(binning, closed, targets):
    labels, p = draw()
    weight = np.random.default_rng(1).integers(0, 4, len(labels))
    dense = np.eye(4)[labels] if targets != "dense" else np.random.default_rng(2).dirichlet(np.ones(4), len(labels))
    given = {"integer": labels, "dense": dense, "binary": dense[:, 0]}[targets]
    q = p[:, 0] if targets == "binary" else p
    kept = weight > 0
    for num_bins in (1, 5, 40):
        expected = 0
        for k in range(1 if targets == "binary" else 4):
            if binning == "uniform":
                index = np.array([plain_forms.uniform_index(x, num_bins, closed) for x in p[:, k]])
            else:
                index = np.zeros(len(labels))
                repeated = plain_forms.quantile_index(np.repeat(p[:, k], weight), num_bins, closed)
                index[kept] = np.array(repeated)[np.cumsum(weight)[kept] - 1]
            expected = expected + plain_parts(p[:, k], dense[:, k], index, weight)
        result = ops.brier_decomposition(given, q, weight, num_bins, binning, closed)
        assert [float(part) for part in result] == approx(expected, abs=digits(1e-12))
        brier = float(ops.brier_score(given, q, weight))
        assert float(result.brier_score) == approx(brier, abs=digits(1e-12))
        assert float(result.calibration + result.refinement) == approx(brier, abs=digits(1e-12))


def test_bins_of_one_value_leave_murphys_three_parts():
    p, y = [0.15] * 4 + [0.55] * 4, [0, 0, 0, 1, 0, 1, 1, 1]
    # ȳ: ¼, ¾, together ½: (.1² + .2²)/2, (¼)², ¼
    assert parts_of(y, p, num_bins=10) == approx([0.025, 0.0625, 0.25, 0, 0], abs=1e-7)


def test_base_rate_predictor_is_calibrated_and_resolves_nothing():
    result = ops.brier_decomposition([1] * 3 + [0] * 7, [0.3] * 10)
    assert [float(part) for part in result] == approx([0, 0, 0.21, 0, 0], abs=1e-7)
    assert float(result.refinement) == approx(0.21, rel=1e-6)


def test_two_columns_are_twice_one():
    # no probability on an edge: the bins of 1 - p mirror those of p
    y, p = draw(100, 2)
    assert parts_of(y, p) == approx([2 * part for part in parts_of(y, p[:, 1])], rel=digits(1e-9, 1e-4))


def test_a_dropped_example_may_hold_anything():
    labels, p = draw(30)
    weight = np.arange(30) % 3
    expected = parts_of(np.repeat(labels, weight), np.repeat(p, weight, axis=0))
    p[weight == 0], labels[weight == 0] = np.nan, 17
    assert parts_of(labels, p, weight) == approx(expected, abs=digits(1e-9))


def test_of_real_predictions():
    labels, p = lenet_cifar10()
    result = ops.brier_decomposition(labels, p)
    assert float(result.brier_score) == approx(0.614152, abs=1e-6)
    # ten classes of 1,000 images each: 10 · .1 · .9
    assert float(result.uncertainty) == approx(0.9, abs=digits(1e-12))
    edges = (np.arange(1, 15) / 15).astype("float32")
    expected = sum(
        plain_parts(p[:, k], labels == k, np.searchsorted(edges, p[:, k], side="right"), np.ones(10_000))
        for k in range(10)
    )
    assert [float(part) for part in result] == approx(expected, abs=digits(1e-9, 1e-5))


@pytest.mark.tensorflow
def test_in_graphs_nan_and_wrong_labels_stay_visible():
    import tensorflow as tf

    labels, p = draw(20)
    compiled = tf.function(lambda y, q: ops.brier_decomposition(y, q, num_bins=5), jit_compile=True)
    assert [float(part) for part in compiled(labels, p)] == approx(parts_of(labels, p, num_bins=5), abs=1e-12)
    broken = p.copy()
    broken[3, 1] = np.nan
    assert np.isnan(float(compiled(labels, broken).brier_score))
    assert np.isnan(float(compiled(np.where(labels == 3, 4, labels), p).brier_score))


@pytest.mark.parametrize(
    ("labels", "p", "options", "message"),
    [
        ([0, 1], [0.5, 0.5], {"num_bins": 0}, r"`num_bins`.*Received: 0"),
        ([0, 1], [0.5, 0.5], {"binning": "equal"}, r"`binning`.*Received: 'equal'"),
        ([0, 1], [0.5, 0.5], {"closed": "both"}, r"`closed`.*Received: 'both'"),
        ([0, 1], [0.5, np.nan], {}, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], {}, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], {}, r"`probabilities` in \[0, 1\].*softmax"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [0, 0]}, "positive weight"),
    ],
)
def test_errors(labels, p, options, message):
    with pytest.raises(ValueError, match=message):
        ops.brier_decomposition(labels, p, **options)


def test_parts_have_names():
    labels, p = draw(10)
    result = ops.brier_decomposition(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(p))
    assert result._fields == NAMES
    refinement = result.uncertainty - result.resolution + result.within_bin_variance - result.within_bin_covariance
    assert float(result.refinement) == approx(float(convert_to_numpy(refinement)))
