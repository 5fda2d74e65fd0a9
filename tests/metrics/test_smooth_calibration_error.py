import functools

import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls import ops
from tests.metrics.streams import each_way, streamed, traced
from tests.ops import plain_forms
from tests.ops.test_calibration import predictions
from tests.ops.test_smooth_calibration import bound, draw
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx
SmoothECE = kls.metrics.SmoothCalibrationError
of_probabilities = functools.partial(SmoothECE, from_logits=False)
BATCHES = [None, 1, 7]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("bandwidth", [None, 0.01, 1.0])
def test_a_constant_predictor(bandwidth, batch):
    # three of four right at 1.0 and at .7: |.75 - c|, whatever the kernel
    for confidence in (1.0, 0.7):
        metric = of_probabilities(bandwidth)
        got = streamed(metric, [0, 1, 1, 1], [confidence] * 4, batch=batch)
        assert got == approx(abs(0.75 - confidence), abs=digits(1e-6, 5e-6))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("bandwidth", [0.005, 0.05, 0.5])
def test_within_the_stated_bound_of_the_double_sum(bandwidth, batch):
    y, p = draw(50)
    weight = np.random.default_rng(1).integers(0, 4, 50)
    expected = plain_forms.smooth_calibration_error(p, y, bandwidth, weight)
    got = streamed(of_probabilities(bandwidth), y, p, weight, batch)
    assert got == approx(expected, abs=bound(bandwidth, (y - p).repeat(weight)))


@pytest.mark.parametrize("bandwidth", [None, 0.03])
def test_streamed_equals_whole(bandwidth):
    labels, logits, p = predictions(300)
    weight = np.random.default_rng(0).integers(0, 4, 300)
    whole = float(ops.smooth_calibration_error(labels, p, bandwidth, weight))
    assert streamed(SmoothECE(bandwidth), labels, logits, weight, 37) == approx(whole, abs=digits(1e-7, 1e-6))


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("batch", [None, 97])
def test_lenet_on_cifar10(batch):
    labels, p = lenet_cifar10()
    whole = float(ops.smooth_calibration_error(labels, p))
    assert streamed(SmoothECE(), labels, np.log(p), batch=batch) == approx(whole, abs=2e-6)


def test_segmentation_with_ignored_pixels():
    labels, logits, p = predictions(24)
    labels[::3] = 255
    kept = labels != 255
    whole = float(ops.smooth_calibration_error(labels[kept], p[kept]))
    labels, logits = labels.reshape(2, 3, 4), logits.reshape(2, 3, 4, 5)
    for y in (labels, labels[..., None]):
        assert streamed(SmoothECE(ignore_class=255), y, logits, batch=1) == approx(whole, abs=digits(1e-7, 2e-6))


@each_way
def test_nodes_keep_counting_past_float32(jit_compile):
    # 2²⁴ right at 1.0, then n pairs: right at 1.0, and at 0.0 with label 1: one residual of n in 2²⁴ + 2n examples
    n = 100
    metric = of_probabilities()
    metric.update_state([1.0], [1.0], [2.0**24])
    update = traced(metric.update_state, jit_compile)
    one, zero = K.convert_to_tensor([1.0]), K.convert_to_tensor([0.0])
    for _ in range(n):
        update(one, one)
        update(one, zero)
    assert float(metric.result()) == approx(n / (2**24 + 2 * n), rel=digits(1e-6, 1e-4))


def test_bad_options():
    with pytest.raises(ValueError, match=r"Expected `bandwidth` of at least 2 / 16384\. Received: 1e-05"):
        SmoothECE(1e-5)
    with pytest.raises(ValueError, match=r"use `from_logits=True`"):
        of_probabilities().update_state([0, 1], [[3.0, -2.0], [0.5, 4.0]])
