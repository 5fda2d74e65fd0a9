"""Weights that are no whole numbers have no scale, and equal ones say nothing, in every estimator and calibrator."""

import matplotlib

matplotlib.use("Agg")

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.equivalence import estimators, registry
from tests.precision import digits

pytestmark = pytest.mark.slow_on_jax  # there weights are tried in test_masks_and_weights.py

UNEQUAL = np.random.default_rng(11).uniform(0.1, 2.0, 40).astype("float32")
UNEQUAL[::9] = 0
SCALES = {"thousandth": 1e-3, "sevenfold": 7.0, "sum of 1": 1 / UNEQUAL.sum()}
EQUAL = [1 / 40, 2.7]


def scaled(scale):
    weight = (UNEQUAL * scale).astype("float32")
    assert not (weight == np.floor(weight)).all()
    return weight


def values(found):
    """All numbers of a result, flat."""
    parts = found if isinstance(found, (list, tuple)) else [found]
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(part)).astype("float64") for part in parts])


def evaluated(name, weight):
    try:
        return values(estimators.ESTIMATORS[name](weight))
    finally:
        plt.close("all")


@pytest.mark.parametrize("name", estimators.ESTIMATORS)
def test_estimator(name):
    expected = evaluated(name, UNEQUAL)
    for scale in SCALES.values():
        np.testing.assert_allclose(evaluated(name, scaled(scale)), expected, rtol=digits(2e-5, 1e-3), atol=1e-6)
    unweighted = evaluated(name, None)
    for weight in EQUAL:
        found = evaluated(name, np.full(40, weight, "float32"))
        np.testing.assert_allclose(found, unweighted, rtol=digits(1e-9, 1e-4), atol=digits(1e-9, 1e-5))


def streamed(component, weight):
    y_true, y_pred = component.batch((40,))
    metric = component.make()
    for rows in (slice(0, 9), slice(9, 10), slice(10, 40)):
        metric.update_state(y_true[rows], y_pred[rows], None if weight is None else weight[rows])
    return float(metric.result())


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric(component):
    expected = streamed(component, UNEQUAL)
    for scale in SCALES.values():
        assert streamed(component, scaled(scale)) == pytest.approx(expected, rel=digits(2e-5, 1e-3), abs=1e-7)
    for weight in EQUAL:
        found = streamed(component, np.full(40, weight, "float32"))
        assert found == pytest.approx(streamed(component, None), rel=digits(2e-7, 1e-5), abs=1e-7)


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric_learns_late_that_weights_are_no_counts(component):
    # the first batch has whole numbers only; in another order they come last
    weight = UNEQUAL.copy()
    weight[:9] = [1, 2, 0, 1, 3, 1, 1, 2, 1]
    y_true, y_pred = component.batch((40,))
    whole, turned = component.make(), component.make()
    whole.update_state(y_true, y_pred, weight)
    for rows in (slice(9, 40), slice(0, 9)):
        turned.update_state(y_true[rows], y_pred[rows], weight[rows])
    assert streamed(component, weight) == pytest.approx(float(whole.result()), rel=1e-6, abs=1e-7)
    assert float(turned.result()) == pytest.approx(float(whole.result()), rel=1e-6, abs=1e-7)


def fitted(component, weight):
    labels, logits = component.batch()
    calibrator = component.make().fit(logits, labels, sample_weight=weight)
    report = calibrator.fit_report
    numbers = [report.nll_before, report.nll_after, getattr(report, "standard_error", 0.0)]
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(calibrator(logits))), numbers])


@pytest.mark.tensorflow
@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator(component):
    expected = fitted(component, UNEQUAL)
    for scale in SCALES.values():
        np.testing.assert_allclose(fitted(component, scaled(scale)), expected, rtol=1e-4, atol=1e-4)
    unweighted = fitted(component, None)
    for weight in EQUAL:
        np.testing.assert_allclose(fitted(component, np.full(40, weight, "float32")), unweighted, rtol=1e-4, atol=1e-4)
