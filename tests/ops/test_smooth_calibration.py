import math

import numpy as np
import pytest
from keras.ops import convert_to_numpy

from keras_ls import ops
from keras_ls.ops.smooth_calibration import NODES, node_statistics
from tests.metrics.streams import each_way, traced
from tests.ops import plain_forms
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx


def error(*args, **kwargs):
    return float(ops.smooth_calibration_error(*args, **kwargs))


def bound(sigma, residuals):
    """What the docstring states, and the rounding of float32."""
    return 0.37 / (NODES * sigma) ** 2 * np.abs(residuals).mean() + digits(1e-7, 5e-6)


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.random(n).astype("float32")
    return (rng.random(n) < p**1.5).astype(int), p


@pytest.mark.parametrize("bandwidth", [None, 2 / NODES, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("confidence", [0.0, 1e-6, 0.25, 0.7, 0.99999, 1.0])
def test_a_constant_predictor(confidence, bandwidth):
    # all residuals at one place: ∫ |r K| = |r| for every kernel, here |.75 - c|
    assert error([0, 1, 1, 1], [confidence] * 4, bandwidth) == approx(abs(0.75 - confidence), abs=digits(2e-6, 1e-5))


def test_two_distant_confidences_of_opposite_residuals():
    # .3 at .2 and -.3 at .8: by themselves for a narrow kernel, (|.5 - .2| + |.5 - .8|) / 2; nothing left of a wide one
    y, p = [0, 1, 0, 1], [0.2, 0.2, 0.8, 0.8]
    assert error(y, p, 0.01) == approx(0.3, abs=digits(1e-6, 5e-6))
    assert error(y, p, 10.0) == approx(0, abs=digits(1e-7, 5e-6))
    # between them, ∫ |.15 (φ(t - .2) - φ(t - .8))| with σ = .1, where both kernels keep 3 σ off the middle but for
    # the tail that crosses it and cancels: .3 (1 - 2 Q(3)) = .3 erf(3 / √2), as their images do at 0 and 1
    assert error(y, p, 0.1) == approx(0.3 * math.erf(3 / math.sqrt(2)), abs=digits(1e-6, 5e-6))


def test_close_residuals_cancel():
    # ±.5001 at .5 ∓ 1e-4: half of the distance of two normal distributions whose means are 2 · 1e-4 apart, which is
    # 2 erf(1e-4 / (σ √2)); two bins with an edge at .5 see the gaps in full
    y, p = [1, 0], [0.5 - 1e-4, 0.5 + 1e-4]
    assert error(y, p, 0.1) == approx(0.5001 * math.erf(1e-4 / (0.1 * math.sqrt(2))), abs=digits(3e-7, 5e-6))
    assert float(ops.calibration_error(y, p, 2)) == approx(0.5001, abs=1e-5)


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_against_the_double_sum(sigma, weighted):
    y, p = draw(60)
    p[:5], p[5:10] = 0.0, 1.0
    weight = np.random.default_rng(1).integers(0, 4, 60) if weighted else None
    expected = plain_forms.smooth_calibration_error(p, y, sigma, weight)
    residuals = (y - p).repeat(np.ones(60, int) if weight is None else weight)
    assert error(y, p, sigma, weight) == approx(expected, abs=bound(sigma, residuals))


@pytest.mark.parametrize("n", [40, 400])
def test_the_bandwidth_that_is_its_own_error(n):
    y, p = draw(n)
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        above = plain_forms.smooth_calibration_error(p, y, middle, points=4000) > middle
        low, high = (middle, high) if above else (low, middle)
    assert error(y, p) == approx(middle, abs=2**-13)
    assert error(y, p, error(y, p)) == approx(error(y, p), abs=digits(1e-6, 1e-5))


def test_it_does_not_increase_with_the_bandwidth():
    y, p = draw(300)
    errors = [error(y, p, sigma) for sigma in np.geomspace(2 / NODES, 3, 15)]
    assert (np.diff(errors) < digits(1e-9, 1e-6)).all() and errors[0] > 2 * errors[-1]


def test_equals_relplot():
    # evaluated there at 200 points, both ends among them: a relative error of 1/200 or two; and its bandwidths are
    # those of a grid of 1/1024
    relplot = pytest.importorskip("relplot")
    y, p = draw(2000)
    p = p.astype("float64")
    for sigma in (0.02, 0.05, 0.1):
        assert error(y, p, sigma) == approx(relplot.metrics.smECE_sigma(p, y, sigma), rel=0.02)
    peer, bandwidth = relplot.smECE(p, y, return_width=True)
    assert error(y, p) == approx(bandwidth, abs=1 / 1024)
    assert error(y, p) == approx(peer, abs=1 / 1024)


def test_real_predictions_equal_relplot():
    relplot = pytest.importorskip("relplot")
    labels, p = lenet_cifar10()
    conf, hit = p.max(axis=1).astype("float64"), (p.argmax(axis=1) == labels).astype("float64")
    assert error(labels, p) == approx(relplot.smECE(conf, hit), abs=1 / 1024)
    assert error(hit, conf) == approx(error(labels, p), abs=1e-6)


def test_a_perfect_predictor():
    # right and sure: no residual at all; nearly sure: the residual itself, below the least bandwidth
    assert error([1, 0], [1.0, 0.0]) == 0
    assert error([1, 0], [1 - 2e-5, 2e-5]) == approx(2e-5, abs=1e-7)


@pytest.mark.parametrize("shift, binned", [(0.0, 1e-4), (-1e-4, 0.5)])
def test_it_is_continuous_where_bins_are_not(shift, binned):
    # residuals of ±.5, 2e-4 apart: .5 erf(1e-4 / (σ √2)) = σ, so that σ² = 1e-4 / √(2π). A shift of 1e-4 puts an edge
    # of two bins between them
    y, p = [0, 1], np.array([0.5 + 2e-4, 0.5]) + shift
    assert float(ops.calibration_error(y, p, 2)) == approx(binned, abs=2e-4)
    assert error(y, p) == approx(math.sqrt(1e-4 / math.sqrt(2 * math.pi)), abs=5e-5)


def test_targets_of_every_kind():
    # predicted .7 and .6 with targets .5 and .8 there: residuals -.2 and .2
    p = [[0.7, 0.3], [0.4, 0.6]]
    expected = plain_forms.smooth_calibration_error([0.7, 0.6], [0.5, 0.8], 0.05)
    assert error([[0.5, 0.5], [0.2, 0.8]], p, 0.05) == approx(expected, abs=1e-5)
    labels = np.random.default_rng(2).integers(0, 3, (4, 5))
    q = np.random.default_rng(3).dirichlet(np.ones(3), (4, 5)).astype("float32")
    flat = error(labels.reshape(-1), q.reshape(-1, 3))
    assert error(labels, q) == approx(flat, rel=1e-6)
    assert error(np.eye(3)[labels], q) == approx(flat, rel=1e-6)


def test_dropped_examples_may_hold_anything():
    expected = error([0, 1, 1], [0.2, 0.6, 0.9], 0.1)
    got = error([0, 7, 1, 1], [0.2, np.nan, 0.6, 0.9], 0.1, sample_weight=[1, 0, 1, 1])
    assert got == approx(expected, rel=1e-6)


def test_nodes_by_hand():
    # node j at (j + ½) / 16384. Place 3.25 from the first: ¾ to node 3 and ¼ to node 4; the ends' all to theirs
    confidence = [(3.25 + 0.5) / NODES, 0.0, 1.0]
    got = convert_to_numpy(node_statistics(confidence, [1.0, 1.0, 0.0], [2.0, 1.0, 3.0]))
    first = 2 * (1 - confidence[0])
    np.testing.assert_allclose(
        got[[0, 3, 4, NODES - 1, NODES]], [1, 0.75 * first, 0.25 * first, -3, 6], rtol=digits(1e-5, 5e-3)
    )
    assert np.count_nonzero(got) == 5


@each_way
def test_traced(jit_compile):
    y, p = draw(200)
    function = traced(lambda y, p: ops.smooth_calibration_error(y, p), jit_compile)
    assert float(function(np.asarray(y), p)) == approx(error(y, p), rel=1e-6)
    # and NaN, of which no error can be raised there
    if jit_compile is not None:
        p[3] = np.nan
        assert np.isnan(float(function(np.asarray(y), p)))


@pytest.mark.parametrize(
    "labels, p, options, message",
    [
        ([0, 1], [0.5, 0.5], {"bandwidth": 1e-4}, r"Expected `bandwidth` of at least 2 / 16384\. Received: 0\.0001"),
        ([0, 1], [0.5, 0.5], {"bandwidth": 0}, r"Expected `bandwidth` > 0\. Received: 0"),
        ([0, 1], [0.5, 0.5], {"bandwidth": "silverman"}, r"Expected `bandwidth` > 0\. Received: 'silverman'"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [0, 0]}, "Expected an example of positive weight"),
        ([0, 1], [0.5, np.nan], {}, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [[0.5, np.nan], [0.5, 0.5]], {}, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [3.0, 0.5], {}, r"`probabilities` in \[0, 1\].*softmax"),
        ([0, 2], [[0.5, 0.5]] * 2, {}, r"integer labels in \[0, 2\)"),
        ([], [], {}, "at least one example"),
    ],
)
def test_errors(labels, p, options, message):
    with pytest.raises(ValueError, match=message):
        error(labels, p, **options)
