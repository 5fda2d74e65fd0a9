import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls import ops
from keras_ls.ops.binning import fine_cell_index
from tests.metrics.streams import each_way, streamed, traced
from tests.ops import plain_forms
from tests.ops.test_calibration import KUMAR_P, KUMAR_Y, predictions
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx
ECE = kls.metrics.ExpectedCalibrationError
BATCHES = [None, 1, 4]


def of_probabilities(*args, **kwargs):
    return ECE(*args, from_logits=False, **kwargs)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "options, expected, atol",
    [
        ({}, 0.222222, 1e-6),
        ({"norm": "l2"}, 0.223607, 1e-6),
        # 0 up to the rounding of .6 to float32, under the square root
        ({"norm": "l2", "debiased": True}, 0, 2e-4),
        ({"norm": "max"}, 0.25, 1e-6),
    ],
)
def test_published_binary_values(options, expected, atol, batch):
    for p in (KUMAR_P, np.array(KUMAR_P)[:, None]):
        assert streamed(of_probabilities(**options), KUMAR_Y, p, batch=batch) == approx(expected, abs=atol)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize(
    "p, y, expected",
    [([0.1, 0.1, 0.7], [0, 1, 1], 0.4 * 2 / 3 + 0.3 / 3), ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 0.4)],
)
def test_published_equal_mass_values(p, y, expected, closed, batch):
    assert streamed(of_probabilities(2, "quantile", closed=closed), y, p, batch=batch) == approx(expected, abs=1e-6)


@pytest.mark.parametrize("batch", BATCHES)
def test_published_quantile_bins(batch):
    hits, conf = [0, 0, 1, 0, 1, 1], [0.1, 0.05, 0.5, 0.2, 0.99, 0.99]
    assert streamed(of_probabilities(3, "quantile"), hits, conf, batch=batch) == approx(0.145, abs=1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("batch", [None, 97])
def test_lenet_on_cifar10(batch):
    labels, p = lenet_cifar10()
    assert streamed(of_probabilities(), labels, p, batch=batch) == approx(0.107888, abs=1e-6)
    logits = np.log(p)
    assert streamed(ECE(), labels, logits, batch=batch) == approx(0.107888, abs=1e-6)
    assert streamed(ECE(), labels, logits / 1.396779, batch=batch) == approx(0.012963, abs=1e-6)


@pytest.mark.parametrize("norm, debiased", [("l1", False), ("l2", False), ("l2", True), ("max", False)])
def test_streamed_equals_whole(norm, debiased):
    labels, logits, p = predictions(300)
    weight = np.random.default_rng(0).integers(0, 4, 300)
    for closed in ("left", "right"):
        whole = float(ops.calibration_error(labels, p, 10, "uniform", norm, closed, debiased, weight))
        metric = ECE(10, norm=norm, closed=closed, debiased=debiased)
        assert streamed(metric, labels, logits, weight, 37) == approx(whole, abs=digits(1e-7, 1e-6))


# equal-mass bins from a histogram -----------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("num_bins", [2, 5, 15])
def test_quantile_bins_with_ties_are_exact(num_bins, closed):
    # confidences on a grid of 1/50: far more apart than the cells, which are at most 1/2048 wide
    rng = np.random.default_rng(num_bins)
    p = rng.integers(0, 51, 600) / 50
    y = (rng.random(600) < 0.5).astype(int)
    expected = plain_forms.calibration_error(p, y, plain_forms.quantile_index(p, num_bins, closed))
    metric = of_probabilities(num_bins, "quantile", closed=closed)
    assert streamed(metric, y, p.astype("float32"), batch=100) == approx(expected, abs=1e-6)


def confidences(kind):
    """5000 of them, as float32."""
    rng = np.random.default_rng(7)
    if kind == "one cell":  # and some of its neighbours: every edge cuts a cell of many
        p = 0.5 + 2e-4 * rng.random(5000)
    elif kind == "few cells":
        p = 0.5 + 0.02 * (rng.random(5000) - 0.5)
    elif kind == "saturated":  # most are above 1 - 1/4096
        p = 1 / (1 + np.exp(-rng.normal(10, 2, 5000)))
    elif kind == "ones":  # a quarter is exactly 1
        p = np.where(rng.random(5000) < 0.25, 1.0, 1 / (1 + np.exp(-rng.normal(3, 3, 5000))))
    else:
        p = rng.random(5000)
    return p.astype("float32")


def share_at_edges(p, num_bins, closed, num_cells=4096):
    """The fraction of the examples that share the cell of an edge, but not its confidence."""
    index = np.array(plain_forms.quantile_index(p, num_bins, closed))
    cell = K.convert_to_numpy(fine_cell_index(p, num_cells))
    # an edge is the lowest (highest) confidence beside it
    beside = [p[index >= k] if closed == "left" else p[index < k] for k in range(1, num_bins)]
    edges = {x.min() if closed == "left" else x.max() for x in beside if x.size}
    return np.mean(np.any([(cell == cell[p == edge][0]) & (p != edge) for edge in edges], axis=0))


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("kind", ["one cell", "few cells", "saturated", "ones", "random"])
def test_quantile_bins_within_the_stated_bound(closed, kind):
    p = confidences(kind)
    y = (np.random.default_rng(8).random(5000) < 0.9 * p).astype(int)
    for num_bins in (2, 15):
        index = np.array(plain_forms.quantile_index(p, num_bins, closed))
        share = share_at_edges(p, num_bins, closed)
        for norm, power in (("l1", 1), ("l2", 2)):
            exact = plain_forms.calibration_error(p, y, index, norm=norm)
            got = streamed(of_probabilities(num_bins, "quantile", norm, closed), y, p, batch=1024)
            assert abs(got**power - exact**power) <= 2 * power * share + 1e-6
            if "cell" not in kind:
                assert got == approx(exact, abs=0.005)
        if "cell" not in kind:
            assert share < 0.03  # the bound says something


@pytest.mark.parametrize("num_bins", [10, 15])
def test_quantile_bins_of_real_predictions(num_bins):
    labels, p = lenet_cifar10()
    exact = float(ops.calibration_error(labels, p, num_bins, "quantile"))
    share = share_at_edges(p.max(axis=1), num_bins, "left")
    assert share < 0.01
    got = streamed(of_probabilities(num_bins, "quantile"), labels, p, batch=1000)
    assert abs(got - exact) <= 2 * share + 1e-6
    assert got == approx(exact, abs=5e-4)


def test_quantile_bins_where_equal_widths_see_one_cell():
    # 1 - 2⁻¹⁶ and 1 - 2⁻²⁰, 20 each: two bins of their own, right 10 and 20 times, gaps of nearly .5 and 0
    p = np.repeat(np.array([1 - 2.0**-16, 1 - 2.0**-20], "float32"), 20)
    y = [1, 0] * 10 + [1] * 20
    assert streamed(of_probabilities(2, "quantile"), y, p, batch=7) == approx(0.25, abs=1e-5)


# shapes and targets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", [(), (1,)])
def test_segmentation_with_ignored_pixels_and_weights(trailing):
    rng = np.random.default_rng(3)
    labels, logits = rng.integers(0, 5, (4, 6, 7)), (3 * rng.normal(size=(4, 6, 7, 5))).astype("float32")
    labels[:, 0] = 255
    weight = rng.integers(0, 3, (4, 6, 7))
    kept = labels != 255
    p = np.exp(logits[kept]) / np.exp(logits[kept]).sum(-1, keepdims=True)
    conf, hit = p.max(-1), p.argmax(-1) == labels[kept]
    index = [plain_forms.uniform_index(c, 15) for c in conf]
    expected = plain_forms.calibration_error(conf, hit, index, weight[kept])
    metric = ECE(ignore_class=255)
    assert streamed(metric, labels.reshape(*labels.shape, *trailing), logits, weight, 2) == approx(expected, abs=1e-6)


def test_soft_targets_by_hand():
    # target probabilities of the predicted classes .5 and .8, confidences .7 and .6: gaps of .2 in bins of their own
    p, y = [[0.7, 0.3], [0.4, 0.6]], [[0.5, 0.5], [0.2, 0.8]]
    assert streamed(of_probabilities(10), y, p, batch=1) == approx(0.2, rel=1e-6)
    assert streamed(ECE(10), y, np.log(p), batch=1) == approx(0.2, rel=1e-6)


def test_binary_logits_by_hand():
    # sigmoid(±log 3) = ¾, ¼; labels 0 and 0: gaps ¾ and ¼
    z = np.log(3.0)
    for logits in ([z, -z], [[z], [-z]]):
        assert streamed(ECE(), [0, 0], logits) == approx(0.5, rel=1e-6)


def test_binary_ignored_class():
    metric = of_probabilities(ignore_class=-1)
    assert streamed(metric, [1, -1, 0], [0.75, 0.9, 0.25]) == approx(0.25, rel=1e-6)


def test_switched_off_classes():
    # softmax(0, log 3, -inf) = (¼, ¾, 0), predicted 1
    logits = [[0.0, np.log(3.0), -np.inf]] * 2
    assert streamed(ECE(), [1, 0], logits) == approx(0.25, rel=1e-6)


@pytest.mark.parametrize("closed", ["left", "right"])
def test_confidence_of_exactly_one(closed):
    # softmax(200, 0) is exactly 1 in float32. Wrong ones at 1.0 and right ones at .95 share the last of 15 bins:
    # |2/4 - 3.9/4| = .475, where a bin of its own for 1.0 would give .525
    z = float(np.log(0.95 / 0.05))
    logits = np.array([[200.0, 0], [200, 0], [z, 0], [z, 0]], "float32")
    for binning_bins in (15, 1):
        assert streamed(ECE(binning_bins, closed=closed), [1, 1, 0, 0], logits) == approx(0.475, rel=1e-6)
    assert float(K.softmax(logits)[0, 0]) == 1.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_edges_in_every_dtype(dtype):
    # .3 and .6 open bins 3 and 6 of 10. Beside them .35 and .65, whose gaps have the other sign: misplacing an edge
    # value into bin 2 or 5 would stop the gaps -.3 + .65 and -.6 + .35 from cancelling
    p = K.cast(np.array([0.3, 0.35, 0.6, 0.65]), dtype)
    exact = K.convert_to_numpy(p).astype("float64")
    metric = of_probabilities(10)
    metric.update_state([0, 1, 0, 1], p)
    expected = (abs(1 - exact[:2].sum()) + abs(1 - exact[2:].sum())) / 4
    assert float(metric.result()) == approx(expected, rel=1e-6)


@pytest.mark.parametrize("binning", ["uniform", "quantile"])
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_base_rate_predictor(norm, binning):
    # the base rate for everyone has no calibration error; a proper score sees it: .3 · .49 + .7 · .09
    p, y = [0.3] * 10, [1] * 3 + [0] * 7
    assert streamed(of_probabilities(binning=binning, norm=norm), y, p, batch=3) == approx(0, abs=1e-6)
    assert streamed(kls.metrics.BrierScore(from_logits=False), y, p, batch=3) == approx(0.21, rel=1e-6)


# counts past 2²⁴ ----------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("binning", ["uniform", "quantile"])
def test_bins_keep_counting_past_float32(binning, jit_compile):
    # 2²⁴ right at 1.0, then n pairs: right at 1.0, and at 0.0 with label 1. The total is 2²⁴ + 2n, the gap n.
    # A float32 bin would stick at 2²⁴ and the total miss n: 1.2e-4 of the result for 2000, 3e-6 for 50
    n = 50
    metric = of_probabilities(2, binning)
    metric.update_state([1.0], [1.0], [2.0**24])
    update = traced(metric.update_state, jit_compile)
    one, zero = K.convert_to_tensor([1.0]), K.convert_to_tensor([0.0])
    for _ in range(n):
        update(one, one)
        update(one, zero)
    assert float(metric.result()) == approx(n / (2**24 + 2 * n), rel=1e-6)


# errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_bins": 0}, r"`num_bins`.*from 1 to 1,000,000\. Received: 0"),
        ({"num_bins": "15"}, r"`num_bins`.*Received: '15'"),
        ({"binning": "unifrom"}, r"`binning`.*Received: 'unifrom'\. Did you mean 'uniform'"),
        ({"norm": "L2"}, r"`norm`.*Received: 'L2'\. Did you mean 'l2'"),
        ({"closed": "lefft"}, r"`closed`.*Received: 'lefft'\. Did you mean 'left'"),
        ({"debiased": True, "norm": "max"}, r"`norm='l2'` with `debiased=True`\. Received: norm='max'"),
        ({"ignore_class": 0.5}, r"`ignore_class`.*Received: 0\.5"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ECE(**options)


def test_bins_of_a_stream_are_those_of_the_diagram():
    labels, _, p = predictions(200, 4, seed=5)
    metric = of_probabilities(10)
    for start in range(0, 200, 32):
        metric.update_state(labels[start : start + 32], p[start : start + 32])
    display = kls.plots.ReliabilityDisplay(*metric.bins())
    whole = kls.plots.ReliabilityDisplay.from_predictions(labels, p, num_bins=10, from_logits=False)
    for key in ("weight", "accuracy", "confidence", "edges"):
        np.testing.assert_allclose(getattr(display, key), getattr(whole, key), rtol=1e-6)
    assert display.calibration_error == approx(float(metric.result()), rel=1e-6)
    with pytest.raises(ValueError, match="Expected `binning='uniform'`"):
        of_probabilities(binning="quantile").bins()


def test_bins_of_weights_that_are_no_counts():
    labels, _, p = predictions(200, 4, seed=5)
    weight = np.random.default_rng(6).uniform(0.5, 3, 200).astype("float32")
    metrics = [of_probabilities(10) for _ in range(3)]
    for start in range(0, 200, 32):
        rows = slice(start, start + 32)
        for metric, scale in zip(metrics, (1, 1e-3, 1 / weight.sum())):
            metric.update_state(labels[rows], p[rows], scale * weight[rows])
    whole = kls.plots.ReliabilityDisplay.from_predictions(
        labels, p, num_bins=10, from_logits=False, sample_weight=weight
    )
    size = weight.sum() ** 2 / (weight**2).sum()
    for metric in metrics:
        assert metric.bins()[0].sum() == approx(size, rel=1e-5)
        display = kls.plots.ReliabilityDisplay(*metric.bins())
        np.testing.assert_allclose(display.weight, whole.weight, rtol=1e-5)
        np.testing.assert_allclose(display.interval, whole.interval, rtol=1e-4)
