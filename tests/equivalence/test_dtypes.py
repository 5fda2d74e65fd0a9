"""Half-precision inputs are widened first: the same values in float32 give the same result."""

import keras
import numpy as np
import pytest
from keras import ops as K

from tests.equivalence import registry
from tests.gradients import value_and_gradient

# both are widened by the same line
HALVES = ["float16", pytest.param("bfloat16", marks=pytest.mark.slow_on_jax)]


def rounded(y_pred, dtype):
    half = K.cast(y_pred, dtype)
    return half, K.cast(half, "float32")


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss(component, dtype):
    y_true, y_pred = component.batch()
    half, full = rounded(y_pred, dtype)
    value = component.make()(y_true, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(float(component.make()(y_true, full)), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_of_huge_logits(component, dtype):
    # logits of ±1e4: far beyond where exp overflows, within float16's range
    y_true, y_pred = component.batch()
    logits = K.cast(1e4 * np.sign(y_pred), dtype)
    value, gradient = value_and_gradient(lambda z: component.make()(y_true, z), logits)
    if component.bounded:
        double = component.make(dtype="float64")(y_true, K.cast(logits, "float64"))
        assert float(value) == pytest.approx(float(double), rel=1e-5) and float(value) > 0.01
        assert np.isfinite(gradient).all()
        return
    assert np.isfinite(float(value)) and float(value) > 1000
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0.01


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric(component, dtype):
    y_true, y_pred = component.batch()
    half, full = rounded(y_pred, dtype)
    a, b = component.make(), component.make()
    a.update_state(y_true, half)
    b.update_state(y_true, full)
    assert float(a.result()) == pytest.approx(float(b.result()), rel=1e-6)
    assert keras.backend.standardize_dtype(a.result().dtype) == "float32"


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric_state_under_half_precision_policy(component):
    y_true, y_pred = component.batch()
    a, b = component.make(), component.make(dtype="float16")
    for metric in (a, b):
        metric.update_state(y_true, y_pred)
        metric.update_state(y_true, y_pred)
    assert {keras.backend.standardize_dtype(v.dtype) for v in b.variables} == {"float32"}
    assert float(b.result()) == pytest.approx(float(a.result()), rel=1e-3)  # only the result is float16


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator(component, dtype):
    labels, logits = component.batch()
    half, full = rounded(logits, dtype)
    a, b = component.make().fit(half, labels), component.make().fit(full, labels)
    np.testing.assert_allclose(a(half), b(full), rtol=1e-6)
    assert keras.backend.standardize_dtype(a(half).dtype) == "float32"
