"""The smooth curve against a slow form of its formula, relplot, and cases solved by hand."""

import json

import numpy as np
import pytest
from pytest import approx

from keras_ls.plots import ReliabilityDisplay
from keras_ls.plots.smooth_reliability import smooth_reliability, smoothed
from tests.real_data import lenet_cifar10

RNG = np.random.default_rng(0)
CONFIDENCE = RNG.beta(4, 2, 400)
HIT = (RNG.uniform(size=400) < CONFIDENCE**2).astype(float)
ONES = np.ones(400)


def reflected_gaussian(t, c, sigma, images=20):
    """A Gaussian around c and around all its mirror images in the walls at 0 and 1."""
    total = 0.0
    for k in range(-images, images + 1):
        for center in (2 * k + c, 2 * k - c):
            total += np.exp(-((t - center) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return total


def plain_curve(t, confidence, hit, weight, sigma):
    n = gap = 0.0
    for c, a, w in zip(confidence, hit, weight):
        kernel = w * reflected_gaussian(t, c, sigma)
        n, gap = n + kernel, gap + kernel * (a - c)
    return t + gap / n, n


@pytest.mark.parametrize("sigma", [0.02, 0.3, 2.0])
def test_smoothing_is_a_reflected_gaussian(sigma):
    cells = np.zeros(1000)
    cells[[0, 700]] = 1.0, 3.0
    t = (np.arange(1000) + 0.5) / 1000
    expected = (reflected_gaussian(t, 0.0005, sigma) + 3 * reflected_gaussian(t, 0.7005, sigma)) / 1000
    np.testing.assert_allclose(smoothed(cells, sigma), expected, rtol=1e-6, atol=1e-12)


def test_curve_is_the_formula():
    weight = RNG.integers(1, 4, 400).astype(float)
    curve = smooth_reliability(CONFIDENCE, HIT, weight, resamples=0, seed=0)
    expected, n = plain_curve(curve["confidence"], CONFIDENCE, HIT, weight, curve["bandwidth"])
    t = curve["confidence"]
    known = (n * curve["bandwidth"] * np.sqrt(2 * np.pi) >= 1.05) & (t > CONFIDENCE.min()) & (t < CONFIDENCE.max())
    assert known.sum() > 100
    # examples are moved to the middle of cells .001 wide
    np.testing.assert_allclose(curve["accuracy"][known], np.clip(expected, 0, 1)[known], atol=2e-3)
    assert np.isnan(curve["accuracy"][(t < CONFIDENCE.min() - 0.003) | (t > CONFIDENCE.max() + 0.003)]).all()
    assert curve["low"] is None and curve["high"] is None


def test_bandwidth_is_the_smooth_calibration_error_of_relplot():
    relplot = pytest.importorskip("relplot")
    labels, p = lenet_cifar10()
    for confidence, hit in (
        (CONFIDENCE, HIT),
        (p.max(axis=1).astype("float64"), (p.argmax(axis=1) == labels).astype(float)),
    ):
        curve = smooth_reliability(confidence, hit, np.ones(len(hit)), resamples=0, seed=0)
        assert curve["error"] == approx(relplot.smECE(confidence, hit), abs=3e-4)
        assert curve["error"] == approx(curve["bandwidth"], abs=2e-5)


def test_error_of_one_confidence_is_its_gap():
    # the residuals all have one sign: whatever the bandwidth, they integrate to |1/2 - .8|
    curve = smooth_reliability(np.full(10, 0.8), np.tile([0.0, 1.0], 5), np.ones(10), resamples=0, seed=0)
    assert curve["error"] == approx(0.3, abs=1e-6)
    known = ~np.isnan(curve["accuracy"])
    assert curve["confidence"][known] == approx([0.7975, 0.8025])
    assert curve["accuracy"][known] == approx([0.4975, 0.5025])  # .3 below the diagonal


def test_a_calibrated_model_lies_on_the_diagonal():
    # 100 examples at each of 1000 confidences, as accurate as they say: no gap anywhere, not at the ends either
    c = (np.arange(1000) + 0.5) / 1000
    curve = smooth_reliability(c, c, np.full(1000, 100.0), resamples=0, seed=0)
    np.testing.assert_allclose(curve["accuracy"], curve["confidence"], atol=1e-9)
    assert curve["bandwidth"] == 0.005 and curve["error"] == approx(0, abs=1e-9)


def test_no_curve_where_there_are_no_examples():
    # 500 at .1025 and at .9025, right once in ten and nine times in ten, so that the bandwidth is at its least, .005.
    # Between them the kernel holds less than one example from 5e-3 · sqrt(2 log 500) = .0176 on.
    c = np.repeat([0.1025, 0.9025], 500)
    hit = np.concatenate([np.arange(500) % 10 == 0, np.arange(500) % 10 > 0]).astype(float)
    curve = smooth_reliability(c, hit, np.ones(1000), resamples=20, seed=0)
    assert curve["bandwidth"] == 0.005
    drawn = curve["confidence"][~np.isnan(curve["accuracy"])]
    assert drawn == approx([0.1025, 0.1075, 0.1125, 0.1175, 0.8875, 0.8925, 0.8975, 0.9025])
    np.testing.assert_array_equal(np.isnan(curve["low"]), np.isnan(curve["accuracy"]))


def test_band_of_one_confidence_is_binomial():
    # 400 examples at .5, 120 of them right: the hits of a resample are Binomial(400, .3), their 95 % quantiles 102, 138
    hit = np.repeat([1.0, 0.0], [120, 280])
    curve = smooth_reliability(np.full(400, 0.5005), hit, ONES, resamples=4000, seed=1)
    at = np.flatnonzero(~np.isnan(curve["accuracy"]))[0]
    offset = curve["confidence"][at] - 0.5005
    assert curve["low"][at] == approx(102 / 400 + offset, abs=3 / 400)
    assert curve["high"][at] == approx(138 / 400 + offset, abs=3 / 400)


def test_band_is_that_of_resampled_examples():
    # the same interval from examples drawn one by one, and the formula
    curve = smooth_reliability(CONFIDENCE, HIT, ONES, resamples=2000, seed=0)
    at = np.array([100, 130, 160])  # confidences .5, .65, .8
    rng = np.random.default_rng(7)
    kernels = np.stack([reflected_gaussian(curve["confidence"][at], c, curve["bandwidth"]) for c in CONFIDENCE])
    curves = []
    for _ in range(2000):
        drawn = rng.integers(0, 400, 400)
        k = kernels[drawn]
        gap = (k * (HIT - CONFIDENCE)[drawn, None]).sum(axis=0) / k.sum(axis=0)
        curves.append(curve["confidence"][at] + gap)
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(curve["low"][at], low, atol=8e-3)
    np.testing.assert_allclose(curve["high"][at], high, atol=8e-3)
    assert (curve["low"][at] < curve["accuracy"][at]).all() and (curve["accuracy"][at] < curve["high"][at]).all()


def smooth_display(**options):
    return ReliabilityDisplay.from_predictions(HIT, CONFIDENCE, from_logits=False, smooth=True, **options)


def test_seed_gives_the_same_band_and_another_seed_another():
    same, again, other = (smooth_display(seed=seed, resamples=50).smooth["low"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(same, again)
    assert np.nanmax(np.abs(same - other)) > 0


def test_weights_repeat_examples():
    weight = RNG.integers(0, 3, 400)
    weighted = smooth_display(sample_weight=weight).smooth
    repeated = ReliabilityDisplay.from_predictions(
        np.repeat(HIT, weight), np.repeat(CONFIDENCE, weight), from_logits=False, smooth=True
    ).smooth
    for key in ("accuracy", "low", "high", "bandwidth"):
        np.testing.assert_allclose(weighted[key], repeated[key], rtol=1e-5, atol=1e-7)  # JAX sums in float32


def test_draws_what_it_holds_and_again_from_json():
    display = smooth_display(density=True)
    assert display.bars_ is None and display.gaps_ == {}
    saved = json.loads(json.dumps(display.to_dict(), allow_nan=False))
    for drawn in (display, ReliabilityDisplay.from_dict(saved).plot()):
        assert drawn.curve_.get_ydata() == approx(display.smooth["accuracy"], nan_ok=True)
        top = np.nanmax(drawn.band_.get_paths()[0].vertices[:, 1])
        assert top == approx(np.nanmax(display.smooth["high"]))
    assert display.ax_.get_legend().get_title().get_text().split("\n")[1] == (
        f"smooth ECE = {display.smooth['error']:.3f}"
    )
    both = display.plot(bars=True)
    assert len(both.bars_) == (display.weight > 0).sum() and both.curve_ is not None


def test_without_resamples_there_is_no_band():
    display = smooth_display(resamples=0)
    assert display.band_ is None and display.curve_ is not None
    assert "95 % band" not in [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize(
    "change, message",
    [
        ("all", r"`smooth` to be a dictionary of confidence, accuracy, low, high, bandwidth, error.*Received: str"),
        ({"accuracy": [0.5]}, r"`smooth\['accuracy'\]` of shape \[200\]"),
        ({"low": None}, "both low and high, or neither"),
        ({"bandwidth": [1.0]}, r"`smooth\['bandwidth'\]` of shape \[\]"),
        ({"colour": 1}, r"Received: \['accuracy', 'bandwidth', 'colour'"),
    ],
)
def test_bad_curves(change, message):
    data = smooth_display(resamples=5).to_dict()
    data["smooth"] = change if change == "all" else data["smooth"] | change
    with pytest.raises(ValueError, match=message):
        ReliabilityDisplay.from_dict(data)


@pytest.mark.parametrize("resamples", [-1, 2.5])
def test_bad_resamples(resamples):
    with pytest.raises(ValueError, match="`resamples` to be an integer of at least 0"):
        smooth_display(resamples=resamples)
