import functools

import numpy as np
import pytest
from keras.ops import convert_to_numpy, convert_to_tensor

import keras_ls as kls
from tests.metrics.streams import each_trace, each_way, traced

approx = pytest.approx
ALL = [
    kls.metrics.ExpectedCalibrationError,
    kls.metrics.BrierScore,
    kls.metrics.NegativeLogLikelihood,
    pytest.param(
        functools.partial(kls.metrics.ClasswiseCalibrationError, num_classes=2), id="ClasswiseCalibrationError"
    ),
    kls.metrics.SmoothCalibrationError,
    kls.metrics.RiskCoverageArea,
]


def exact_state(metric):
    high, low = convert_to_numpy(metric.variables[0]).astype("float64")
    return high + low


@each_way
def test_mean_keeps_counting_past_float32(jit_compile):
    # 2²⁴ examples of Brier score 1, then n of 1 and n of 0: (2²⁴ + n) / (2²⁴ + 2n), where a float32 count and a
    # float32 sum would both stick and give 1
    n = 200
    metric = kls.metrics.BrierScore(from_logits=False)
    metric.update_state([1.0], [0.0], [2.0**24])
    update = traced(metric.update_state, jit_compile)
    one, zero = convert_to_tensor([1.0]), convert_to_tensor([0.0])
    seen = [1.0]
    for i in range(1, n + 1):
        update(one, zero)
        update(one, one)
        if i % (n // 4) == 0:
            seen.append(float(metric.result()))
            assert seen[-1] == approx((2**24 + i) / (2**24 + 2 * i), rel=1e-7)
    assert seen == sorted(seen, reverse=True) and len(set(seen)) == len(seen)  # it moves all the way
    assert exact_state(metric).tolist() == [2**24 + 2 * n, 2**24 + n]


@pytest.mark.parametrize("jit_compile", each_trace)
def test_rounding_errors_are_carried_over(jit_compile):
    # 2⁴⁰, then 256 times 2¹⁶: each is half a unit of 2⁴⁰ in float32, so that it goes to the error alone, up to 2²⁴;
    # from there on an error that is never carried over would swallow each further 1
    metric = kls.metrics.BrierScore(from_logits=False)
    update = traced(metric.update_state, jit_compile)

    def add(weight, times):
        for _ in range(times):
            update(*map(convert_to_tensor, ([1.0], [0.0], [weight])))

    add(2.0**40, 1)
    add(2.0**16, 256)
    add(1.0, 1000)
    assert exact_state(metric)[0] == 2**40 + 2**24 + 1000


def test_a_large_batch_is_summed_exactly():
    # 2²⁰ examples of weight 3, in one go and on top of 2²⁵: 2²⁵ + 3 · 2²⁰ + 1
    metric = kls.metrics.BrierScore(from_logits=False)
    metric.update_state([0.0], [0.0], [2.0**25])
    metric.update_state(np.ones(2**20), np.zeros(2**20), np.full(2**20, 3.0, "float32"))
    metric.update_state([1.0], [0.0])
    assert exact_state(metric).tolist() == [2**25 + 3 * 2**20 + 1, 3 * 2**20 + 1]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
    "labels, predictions, weight, message",
    [
        ([0, 1], [[np.nan, 0.0], [1.0, 0.0]], None, r"Expected `y_pred` without NaN\. Received: 1 NaN"),
        ([0, 1], [[1.0, 0.0], [0.0, np.nan]], None, r"`y_pred` without NaN\. Received: 1 NaN"),
        ([0, 1], [np.nan, 0.0], None, r"`y_pred` without NaN\. Received: 1 NaN"),
        ([0, 2], np.zeros((2, 2)), None, r"integer labels in \[0, 2\), as the predictions have 2 classes.*Received: 2"),
        ([-1, 1], np.zeros((2, 2)), None, r"Received: -1\. Use `ignore_class`"),
        ([0, 3], np.zeros(2), None, r"binary labels in \[0, 1\]\. Received: 3"),
        (np.eye(3), np.zeros((3, 4)), None, r"Received: labels of shape \(3, 3\), predictions of shape \(3, 4\)"),
        ([0, 1, 1], np.zeros((2, 4)), None, r"Received: labels of shape \(3,\), predictions of shape \(2, 4\)"),
        (
            [0, 1],
            np.zeros((2, 2)),
            [1.0, -0.5],
            r"`sample_weight` without negative numbers.* Received: -0\.5",
        ),
        ([0, 1], np.zeros((2, 2)), [1.0, 1.0, 1.0], r"broadcastable to \(2,\).*Received: shape \(3,\)"),
    ],
)
def test_bad_data_raises_and_leaves_the_state_alone(make, labels, predictions, weight, message):
    metric = make()
    metric.update_state([0, 1], [[1.0, 0.0], [2.0, 0.0]])
    before = float(metric.result())
    with pytest.raises(ValueError, match=message):
        metric.update_state(np.asarray(labels), np.asarray(predictions), weight)
    assert float(metric.result()) == before


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("ignore_class", [0.5, "0", True])
def test_ignored_class_must_be_an_integer(make, ignore_class):
    with pytest.raises(ValueError, match=r"Expected `ignore_class` to be an integer or None\. Received: "):
        make(ignore_class=ignore_class)


@pytest.mark.parametrize("metric", ALL)
def test_an_empty_batch_adds_nothing(metric):
    # a replica's or worker's share of a short last batch
    one, other = metric(), metric()
    for m in (one, other):
        m.update_state([0, 1], [[2.0, 0.0], [1.0, 0.0]])
    other.update_state(np.zeros((0,), "int64"), np.zeros((0, 2), "float32"))
    assert float(one.result()) == float(other.result()) > 0
