import functools

import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls import ops
from tests.equivalence.training import arrays, classifier
from tests.metrics.streams import each_way, streamed, traced
from tests.metrics.test_expected_calibration_error import share_at_edges
from tests.ops import plain_forms
from tests.ops.test_calibration import predictions
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx


def CCE(num_classes, *args, **kwargs):
    return kls.metrics.ClasswiseCalibrationError(*args, num_classes=num_classes, **kwargs)


of_probabilities = functools.partial(CCE, from_logits=False)


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_by_hand(batch):
    # as for the function: 1/6, 2/15 and 1/6
    p = [[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]
    expected = (1 / 6 + 2 / 15 + 1 / 6) / 3
    assert streamed(of_probabilities(3, 2), [1, 0, 2], p, batch=batch) == approx(expected, rel=1e-6)
    assert streamed(CCE(3, 2), [1, 0, 2], np.log(p), batch=batch) == approx(expected, rel=1e-6)
    # above .15 class 3 has nothing, class 0 gaps |.5 - .7|, class 1 |.5 - .25|, class 2 |1 - .6|
    p = [[0.6, 0.3, 0.05, 0.05], [0.8, 0.1, 0.05, 0.05], [0.1, 0.2, 0.6, 0.1]]
    metric = of_probabilities(4, 1, "quantile", threshold=0.15)
    assert streamed(metric, [1, 0, 2], p, batch=batch) == approx((0.2 + 0.25 + 0.4 + 0) / 4, rel=1e-6)


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize(
    "p, y, num_bins, expected",
    [
        ([0.1, 0.1, 0.7], [0, 1, 1], 2, 0.4 * 2 / 3 + 0.3 / 3),
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 2, 0.4),
        ([0.1, 0.05, 0.5, 0.2, 0.99, 0.99], [0, 0, 1, 0, 1, 1], 3, 0.145),
    ],
)
def test_published_equal_mass_values(p, y, num_bins, expected, batch):
    # of both classes alike: see the test of the function
    for column in (p, np.array(p)[:, None]):
        metric = of_probabilities(2, num_bins, "quantile")
        assert streamed(metric, y, column, batch=batch) == approx(expected, abs=1e-6)


@pytest.mark.parametrize("norm, debiased", [("l1", False), ("l2", False), ("l2", True), ("max", False)])
@pytest.mark.parametrize("closed, threshold", [("left", 0.0), ("right", 0.03)])
def test_streamed_equals_whole(norm, debiased, closed, threshold):
    labels, logits, p = predictions(300)
    weight = np.random.default_rng(0).integers(0, 4, 300)
    whole = float(
        ops.classwise_calibration_error(labels, p, 10, "uniform", norm, closed, debiased, threshold, "macro", weight)
    )
    metric = CCE(5, 10, norm=norm, closed=closed, debiased=debiased, threshold=threshold)
    assert streamed(metric, labels, logits, weight, 37) == approx(whole, abs=digits(1e-7, 1e-6))


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize(
    "scale, threshold, largest_share", [(0.1, 0.0, 0.5), (3.0, 0.0, 0.06), (9.0, 0.0, 0.4), (9.0, 0.01, 0.06)]
)
def test_quantile_bins_within_the_stated_bound(closed, scale, threshold, largest_share):
    # predictions nearly even, in a few cells; usual ones; and those of which many are below e⁻¹⁷, all in the first cell
    rng = np.random.default_rng(1)
    logits = (scale * rng.normal(size=(2000, 4))).astype("float32")
    p = K.convert_to_numpy(K.softmax(logits))
    labels = rng.integers(0, 4, 2000)
    threshold = float(np.float32(threshold))
    errors = ops.classwise_calibration_error(
        labels, p, 10, "quantile", closed=closed, threshold=threshold, average=None
    )
    share = np.array([share_at_edges(c[c > threshold], 10, closed, 512) for c in p.T])
    got = streamed(of_probabilities(4, 10, "quantile", closed=closed, threshold=threshold), labels, p, batch=300)
    assert abs(got - np.mean(K.convert_to_numpy(errors))) <= 2 * share.mean() + 1e-6
    assert share.mean() < largest_share
    assert got == approx(np.mean(K.convert_to_numpy(errors)), abs=0.005)
    squared = float(
        ops.classwise_calibration_error(labels, p, 10, "quantile", "l2", closed=closed, threshold=threshold)
    )
    got = streamed(of_probabilities(4, 10, "quantile", "l2", closed, threshold=threshold), labels, p, batch=300)
    assert abs(got - squared) <= 2 * np.sqrt(share).mean() + 1e-6


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("batch", [None, 97])
def test_lenet_on_cifar10(batch):
    labels, p = lenet_cifar10()
    whole = float(ops.classwise_calibration_error(labels, p))
    assert streamed(CCE(10), labels, np.log(p), batch=batch) == approx(whole, abs=1e-6)
    adaptive = float(ops.classwise_calibration_error(labels, p, binning="quantile"))
    assert streamed(of_probabilities(10, binning="quantile"), labels, p, batch=batch) == approx(adaptive, abs=2e-4)


@pytest.mark.slow_on_jax
def test_segmentation_with_ignored_pixels_and_weights():
    rng = np.random.default_rng(3)
    labels, logits = rng.integers(0, 4, (3, 4, 5)), (3 * rng.normal(size=(3, 4, 5, 4))).astype("float32")
    labels[:, 0] = 255
    weight = rng.integers(0, 3, (3, 4, 5))
    kept = labels != 255
    p = K.convert_to_numpy(K.softmax(logits))[kept]
    expected = np.mean(plain_forms.classwise_calibration_error(labels[kept], p, 15, weight=weight[kept]))
    assert streamed(CCE(4, ignore_class=255), labels, logits, weight, 2) == approx(expected, abs=1e-6)


@each_way
def test_cells_keep_counting_past_float32(jit_compile):
    # as for the expected calibration error: a gap of n in 2²⁴ + 2n, in class 1 and, mirrored, in class 0
    n = 50
    for binning in ("uniform", "quantile"):
        metric = of_probabilities(2, 2, binning)
        metric.update_state([1.0], [1.0], [2.0**24])
        update = traced(metric.update_state, jit_compile)
        one, zero = K.convert_to_tensor([1.0]), K.convert_to_tensor([0.0])
        for _ in range(n):
            update(one, one)
            update(one, zero)
        assert float(metric.result()) == approx(n / (2**24 + 2 * n), rel=1e-6)


@pytest.mark.tensorflow
def test_traced_nan_is_not_below_a_threshold():
    metric = of_probabilities(2, threshold=0.3)
    traced(metric.update_state, True)(K.convert_to_tensor([0, 1]), K.convert_to_tensor([[0.4, 0.6], [np.nan, 0.6]]))
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_classes": 1}, r"Expected `num_classes` to be an integer of at least 2\. Received: 1"),
        ({"threshold": -0.1}, r"`threshold` in \[0, 1\)\. Received: -0\.1"),
        ({"binning": "unifrom"}, r"`binning`.*Did you mean 'uniform'"),
        ({"debiased": True}, r"`norm='l2'` with `debiased=True`"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        CCE(**{"num_classes": 3, **options})


def test_bad_predictions():
    with pytest.raises(ValueError, match=r"Expected predictions over `num_classes`: 3\. Received: 2 classes"):
        CCE(3).update_state([0, 1], [[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match=r"`num_classes`: 3\. Received: 2 classes \(P\(y=1\) counts as 2\)"):
        CCE(3).update_state([0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"use `from_logits=True`"):
        CCE(2, from_logits=False).update_state([0, 1], [[3.0, -2.0], [0.5, 4.0]])


@pytest.mark.tensorflow
@pytest.mark.parametrize("settings", [{"jit_compile": True}, {"jit_compile": False}, {"run_eagerly": True}])
def test_the_first_batch_tells_the_number_of_classes(settings):
    # within `fit` the state must be there before anything is traced
    x, y, _ = arrays(24)
    model = classifier()
    known = kls.metrics.ClasswiseCalibrationError(3, num_classes=5, name="known")
    model.compile(
        "sgd", kls.losses.SmoothedCrossentropy(), metrics=[kls.metrics.ClasswiseCalibrationError(3), known], **settings
    )
    logs = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert logs["classwise_calibration_error"] == logs["known"]
    assert min(logs["known"]) > 0.01
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    p = K.softmax(model(x))
    expected = float(ops.classwise_calibration_error(y, p, num_bins=3))
    assert found["classwise_calibration_error"] == pytest.approx(expected, rel=1e-5)
