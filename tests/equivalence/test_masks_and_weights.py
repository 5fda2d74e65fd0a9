"""A mask equals dropping the token; an integer weight equals repeating the example."""

import numpy as np
import pytest
from keras.ops import convert_to_numpy

from tests.equivalence import registry
from tests.gradients import value_and_gradient
from tests.masking import masked

KEEP = np.array([1, 0, 1, 1, 0, 1, 1], bool)
TIMES = np.array([1, 0, 3, 1, 2, 1, 4])


def spoilt(y_true, y_pred):
    """What padding may hold: a NaN prediction, and an integer label that is no class."""
    y_true, y_pred = y_true.copy(), y_pred.copy()
    y_pred[~KEEP] = np.nan
    if y_true.dtype.kind == "i":
        y_true[~KEEP] = 99
    return y_true, y_pred


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_mask(component, reduction):
    loss = component.make(reduction=reduction)
    y_true, y_pred = component.batch()
    weight = np.linspace(0.5, 2.0, 7, dtype="float32")
    dropped = float(loss(y_true[KEEP], y_pred[KEEP], weight[KEEP]))
    y_true, y_pred = spoilt(y_true, y_pred)
    assert float(loss(y_true, masked(y_pred, KEEP), weight)) == pytest.approx(dropped, rel=1e-6)


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_mask_of_each_example(component):
    loss = component.make(reduction="none")
    y_true, y_pred = component.batch()
    weight = np.linspace(0.5, 2.0, 7, dtype="float32")
    kept = convert_to_numpy(loss(y_true[KEEP], y_pred[KEEP], weight[KEEP]))
    y_true, y_pred = spoilt(y_true, y_pred)
    found = convert_to_numpy(loss(y_true, masked(y_pred, KEEP), weight))
    assert (found[~KEEP] == 0).all()
    np.testing.assert_allclose(found[KEEP], kept, rtol=1e-6)


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_gradient_of_dropped_padding_is_zero(component):
    loss = component.make()
    y_true, y_pred = spoilt(*component.batch())
    gradient = value_and_gradient(lambda z: loss(y_true, masked(z, KEEP)), y_pred)[1]
    assert (gradient[~KEEP] == 0).all()
    assert np.isfinite(gradient).all() and np.abs(gradient[KEEP]).sum() > 0


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_integer_weight(component, reduction):
    # "sum_over_batch_size" divides by the number of rows, as Keras does, so that repeating rows changes it
    loss = component.make(reduction=reduction)
    y_true, y_pred = component.batch()
    repeated = float(loss(np.repeat(y_true, TIMES, 0), np.repeat(y_pred, TIMES, 0)))
    assert float(loss(y_true, y_pred, TIMES.astype("float32"))) == pytest.approx(repeated, rel=1e-6)


def result(component, *batch):
    metric = component.make()
    metric.update_state(*batch)
    return float(metric.result())


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric_mask(component):
    y_true, y_pred = component.batch()
    dropped = result(component, y_true[KEEP], y_pred[KEEP])
    y_true, y_pred = spoilt(y_true, y_pred)
    assert result(component, y_true, masked(y_pred, KEEP)) == pytest.approx(dropped, rel=1e-6)
    assert result(component, y_true, y_pred, KEEP.astype("float32")) == pytest.approx(dropped, rel=1e-6)


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric_integer_weight(component):
    y_true, y_pred = component.batch()
    repeated = result(component, np.repeat(y_true, TIMES, 0), np.repeat(y_pred, TIMES, 0))
    assert result(component, y_true, y_pred, TIMES) == pytest.approx(repeated, rel=1e-6)


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric_batches_add_up(component):
    y_true, y_pred = component.batch()
    metric = component.make()
    for rows in (slice(0, 3), slice(3, 4), slice(4, 7)):
        metric.update_state(y_true[rows], y_pred[rows])
    assert float(metric.result()) == pytest.approx(result(component, y_true, y_pred), rel=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator_integer_weight(component):
    labels, logits = component.batch()
    times = np.arange(40) % 4
    weighted = component.make().fit(logits, labels, sample_weight=times)
    repeated = component.make().fit(np.repeat(logits, times, 0), np.repeat(labels, times, 0))
    np.testing.assert_allclose(weighted(logits), repeated(logits), rtol=1e-5)
