"""Everything round-trips through `get_config`, `.keras` and `load_model`."""

import json

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence import registry
from tests.equivalence.training import arrays, classifier


def written(config):
    """What JSON keeps of it: tuples become lists."""
    return json.loads(json.dumps(config))


def rebuilt(component_object):
    return keras.saving.deserialize_keras_object(written(keras.saving.serialize_keras_object(component_object)))


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss(component):
    y_true, y_pred = component.batch()
    loss = component.make(reduction="sum", name="mine")
    again = rebuilt(loss)
    assert (again.name, again.reduction) == ("mine", "sum")
    assert written(again.get_config()) == written(loss.get_config())
    assert float(again(y_true, y_pred)) == float(loss(y_true, y_pred))


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric(component):
    batch = component.batch()
    metric = component.make(name="mine")
    again = rebuilt(metric)
    assert again.get_config() == metric.get_config()
    metric.update_state(*batch)
    again.update_state(*batch)
    assert float(again.result()) == float(metric.result())


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator(component, tmp_path):
    labels, logits = component.batch()
    calibrator = component.make().fit(logits, labels)
    again = rebuilt(calibrator)
    if sum(map(np.size, calibrator.get_weights())) < registry.CLASSES:  # so few numbers are in the configuration
        np.testing.assert_array_equal(again(logits), calibrator(logits))
    again(logits)  # makes the variables where their shapes come from the logits
    again.set_weights(calibrator.get_weights())
    np.testing.assert_array_equal(again(logits), calibrator(logits))
    model = keras.Sequential([keras.Input((registry.CLASSES,)), calibrator])
    model.save(tmp_path / "calibrated.keras")
    loaded = keras.models.load_model(tmp_path / "calibrated.keras")
    np.testing.assert_array_equal(loaded(logits), calibrator(logits))
    assert np.abs(loaded(logits) - logits).max() > 0.01


def takes_integers(component):
    return component.batch is registry.integers and "-" not in component.name


def test_compiled_model(tmp_path):
    x, y, weight = arrays(24)
    model = classifier()
    metrics = [c.make(name=f"m{i}") for i, c in enumerate(registry.METRICS) if takes_integers(c)]
    loss = kls.losses.SmoothedCrossentropy(0.2, registry.PRIOR)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=metrics, jit_compile=False)
    model.fit(x, y, batch_size=8, sample_weight=weight, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = model.evaluate(x, y, sample_weight=weight, verbose=0)
    assert loaded.evaluate(x, y, sample_weight=weight, verbose=0) == pytest.approx(before, rel=1e-6)
