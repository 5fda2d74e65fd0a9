import itertools

import numpy as np
import pytest

from keras_ls import ops
from tests.ops import plain_forms
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx


def plain_sweep(confidence, hit, binning, closed):
    """One more bin at a time, until an accuracy falls."""
    confidence, hit = list(confidence), np.asarray(hit, "float64")
    last = 1
    for num_bins in range(2, len(confidence) + 1):
        if binning == "uniform":
            index = np.array([plain_forms.uniform_index(c, num_bins, closed) for c in confidence])
        else:
            index = np.array(plain_forms.quantile_index(confidence, num_bins, closed))
        accuracy = [hit[index == m].mean() for m in sorted(set(index))]
        if any(b < a for a, b in itertools.pairwise(accuracy)):
            break
        last = num_bins
    return last


def draw(n, seed, power=1.0):
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    return (rng.random(n) < p**power).astype("int64"), p


def test_equal_mass_by_hand():
    # edges at ranks round(k · 5 / B): 2 bins {.1 .2 .3} {.4 .6 .9}: accuracies 1/3, 2/3. 3 bins (ranks 2, 3):
    # {.1 .2} {.3} {.4 .6 .9}: ½, 0 falls. So two bins: |1/3 - .2| / 2 + |2/3 - 1.9/3| / 2
    p, y = [0.1, 0.2, 0.3, 0.4, 0.6, 0.9], [1, 0, 0, 0, 1, 1]
    assert ops.monotone_bins(y, p) == 2
    assert float(ops.sweep_calibration_error(y, p)) == approx((0.4 / 3 + 0.1 / 3) / 2, rel=1e-5)
    # l2: the squares under the root
    assert float(ops.sweep_calibration_error(y, p, norm="l2")) == approx(np.sqrt((0.16 + 0.01) / 18), rel=1e-5)


def test_equal_width_by_hand():
    # halves {.1 .2 .3 .4} {.6 .9}: ¼, 1; thirds {.1 .2 .3} {.4 .6} {.9}: 1/3, ½, 1; quarters {.1 .2} {.3 .4} {.6} {.9}:
    # ½, 0 falls. Thirds: (3 |1/3 - .2| + 2 |½ - .5| + |1 - .9|) / 6
    p, y = [0.1, 0.2, 0.3, 0.4, 0.6, 0.9], [1, 0, 0, 0, 1, 1]
    assert ops.monotone_bins(y, p, "uniform") == 3
    assert float(ops.sweep_calibration_error(y, p, "uniform")) == approx((0.4 + 0 + 0.1) / 6, rel=1e-5)


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("binning", ["uniform", "quantile"])
def test_against_the_plain_form(binning, closed):
    for seed in range(4):
        hit, p = draw(40, seed, power=1 + seed % 3)
        expected = plain_sweep(p, hit, binning, closed)
        assert ops.monotone_bins(hit, p, binning, closed) == expected
        error = float(ops.sweep_calibration_error(hit, p, binning, "l2", closed))
        assert error == approx(float(ops.calibration_error(hit, p, expected, binning, "l2", closed)), rel=1e-12)


def test_equal_confidences_and_empty_bins():
    # .2 four times with a hit, .9 four times with three: whatever B, these two groups only
    p, y = [0.2] * 4 + [0.9] * 4, [0, 0, 0, 1, 0, 1, 1, 1]
    for binning in ("uniform", "quantile"):
        assert ops.monotone_bins(y, p, binning) == 8
        assert float(ops.sweep_calibration_error(y, p, binning)) == approx((0.05 + 0.15) / 2, rel=1e-5)
        # the other way round any two bins fall
        assert ops.monotone_bins(y[::-1], p, binning) == 1


def test_every_example_right():
    p = np.linspace(0.5, 1, 9)
    assert ops.monotone_bins([1] * 9, p) == 9
    # each a bin of its own, but the last: the edges are eight at ranks 1 ... 8. Σ (1 - p) / 9
    assert float(ops.sweep_calibration_error([1] * 9, p)) == approx(0.25, rel=1e-6)


def test_top_label_of_many_classes():
    rng = np.random.default_rng(5)
    p, labels = rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60)
    hit, confidence = p.argmax(axis=1) == labels, p.max(axis=1)
    assert ops.monotone_bins(labels, p) == plain_sweep(confidence, hit, "quantile", "left")


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("binning", ["uniform", "quantile"])
def test_whole_weights_repeat_and_zero_drops(binning, closed):
    for seed in range(2):
        hit, p = draw(30, seed)
        weight = np.random.default_rng(seed).integers(0, 4, 30)
        expected = plain_sweep(np.repeat(p, weight), np.repeat(hit, weight), binning, closed)
        p[weight == 0] = np.nan
        assert ops.monotone_bins(hit, p, binning, closed, weight) == expected
        error = float(ops.sweep_calibration_error(hit, p, binning, "l1", closed, weight))
        kept = np.repeat(hit, weight), np.repeat(p, weight)
        assert error == approx(
            float(ops.calibration_error(*kept, expected, binning, closed=closed)), rel=digits(1e-9, 1e-5)
        )


def test_of_real_predictions():
    labels, p = lenet_cifar10()
    hit, confidence = p.argmax(axis=1) == labels, p.max(axis=1)
    num_bins = ops.monotone_bins(labels, p, "uniform")
    edges = [(np.arange(1, B) / B).astype("float32") for B in (num_bins, num_bins + 1)]
    indices = [np.searchsorted(e, confidence, side="right") for e in edges]
    rates = [[hit[index == m].mean() for m in sorted(set(index))] for index in indices]
    assert (np.diff(rates[0]) >= 0).all()
    assert (np.diff(rates[1]) < 0).any()


@pytest.mark.parametrize(
    ("labels", "p", "options", "message"),
    [
        ([0, 1], [0.5, 0.5], {"binning": "equal"}, r"`binning`.*Received: 'equal'"),
        ([0, 1], [0.5, 0.5], {"closed": "both"}, r"`closed`.*Received: 'both'"),
        ([0, 1], [0.5, np.nan], {}, r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [0, 0]}, "positive weight"),
        ([0, 1], [0.5, 7.0], {}, r"Expected `probabilities` in \[0, 1\]"),
    ],
)
def test_errors(labels, p, options, message):
    with pytest.raises(ValueError, match=message):
        ops.sweep_calibration_error(labels, p, **options)
    with pytest.raises(ValueError, match=r"`norm`.*Received: 'l3'"):
        ops.sweep_calibration_error([0, 1], [0.5, 0.5], norm="l3")


def test_counts_too_many_to_try():
    # two confidences, right at each: never a fall, of 2³¹ examples up to the most bins that are tried. (.5 + .1) / 2
    heavy = [2.0**30, 2.0**30]
    assert ops.monotone_bins([1, 1], [0.5, 0.9], sample_weight=heavy) == 1024
    for binning in ("uniform", "quantile"):
        assert float(ops.sweep_calibration_error([1, 1], [0.5, 0.9], binning, sample_weight=heavy)) == approx(0.3)
    # the first falls behind at once
    assert ops.monotone_bins([1, 0], [0.2, 0.9], sample_weight=heavy) == 1


def test_weights_that_are_no_counts_stand_for_as_many_examples():
    for seed in range(2):
        hit, p = draw(40, seed)
        expected = ops.monotone_bins(hit, p)
        for weight in (0.025, 0.3, 1e-9):
            assert ops.monotone_bins(hit, p, sample_weight=[weight] * 40) == expected
    assert ops.monotone_bins(np.ones(40), p, sample_weight=[0.1] * 30 + [0] * 10) == 30
