"""The class axis: `axis=1` (channels first) gives what the classes last give.

In functions, metrics, calibrators, displays and `CalibrationCallback`.
"""

import inspect
import types

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

import keras_ls as kls
from tests.equivalence import registry

RNG = np.random.default_rng(0)
# as many rows as classes: a misplaced axis would fit
LABELS = RNG.integers(0, registry.CLASSES, (registry.CLASSES, 2, registry.CLASSES))
LOGITS = 2 * RNG.normal(size=(*LABELS.shape, registry.CLASSES)).astype("float32")
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
FIRST = {"logits": np.moveaxis(LOGITS, -1, 1), "probabilities": np.moveaxis(PROBABILITIES, -1, 1)}
ONE_HOT = np.eye(registry.CLASSES)[LABELS]
OTHERS = {"margin": 1.0, "label_smoothing": 0.1, "num_resamples": 3, "statistic": kls.ops.brier_score}
FUNCTIONS = {
    name: function
    for name in kls.ops.__all__
    if isinstance(function := getattr(kls.ops, name), types.FunctionType)
    and "axis" in inspect.signature(function).parameters
}


def last_and_first(name):
    """Arguments with the classes last, and with them on axis 1."""
    last, first = {}, {"axis": 1}
    for key, parameter in inspect.signature(FUNCTIONS[name]).parameters.items():
        if key in ("logits", "student_logits", "teacher_logits"):
            last[key], first[key] = LOGITS, FIRST["logits"]
            if key == "teacher_logits":
                last[key], first[key] = LOGITS[::-1], FIRST["logits"][::-1]
        elif key == "probabilities":
            last[key], first[key] = PROBABILITIES, FIRST["probabilities"]
        elif key == "labels":
            last[key] = first[key] = LABELS
        elif parameter.default is inspect.Parameter.empty or key == "num_resamples":  # of which thousands take seconds
            last[key] = first[key] = OTHERS[key]
    return last, first


def numbers(result):
    parts = result if isinstance(result, tuple) else (result,)
    return [np.asarray(part) for part in parts]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    last, first = last_and_first(name)
    expected, got = numbers(FUNCTIONS[name](**last)), numbers(FUNCTIONS[name](**first))
    for a, b in zip(expected, got):
        b = np.moveaxis(b, 1, -1) if name == "standardize_logits" else b
        np.testing.assert_allclose(b, a, rtol=1e-6)
    if "labels" in first and name not in ("focal_crossentropy", "decoupled_divergences"):  # dense ones have it, too
        dense = numbers(FUNCTIONS[name](**{**first, "labels": np.moveaxis(ONE_HOT, -1, 1)}))
        for a, b in zip(expected, dense):
            np.testing.assert_allclose(b, a, rtol=1e-6)


def test_every_function_of_classes_has_an_axis():
    takes = {"logits", "probabilities", "student_logits", "teacher_logits"}
    for name in kls.ops.__all__:
        function = getattr(kls.ops, name)
        if isinstance(function, types.FunctionType) and takes & set(inspect.signature(function).parameters):
            # of independent labels, of matrices [N, K], and of what only changes its form
            exempt = (
                "binary_smoothed_crossentropy",
                "binary_kl_divergence",
                "estimate_smoothing",
                "wrong_logit_variance",
            )
            assert name in FUNCTIONS or name in (*exempt, "probabilities_to_logits", "unsmoothed")


@pytest.mark.parametrize("component", [c for c in registry.METRICS if c.batch is registry.integers], ids=str)
def test_metric(component):
    last, first = component.make(), component.make(axis=1)
    last.update_state(LABELS, LOGITS)
    first.update_state(LABELS, FIRST["logits"])
    assert float(first.result()) == pytest.approx(float(last.result()), rel=1e-6)
    assert type(first).from_config(first.get_config()).axis == 1


@pytest.mark.slow_on_jax
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator(component):
    last = component.make().fit(LOGITS, LABELS)
    for labels in (LABELS, np.moveaxis(ONE_HOT, -1, 1)):
        first = component.make(axis=1).fit(FIRST["logits"], labels)
        moved = np.moveaxis(convert_to_numpy(first(FIRST["logits"])), 1, -1)
        np.testing.assert_allclose(moved, convert_to_numpy(last(LOGITS)), rtol=2e-4, atol=1e-4)
    again = type(first).from_config(first.get_config())
    again.build(FIRST["logits"].shape)
    again.set_weights(first.get_weights())
    again, first = (convert_to_numpy(made(FIRST["logits"])) for made in (again, first))
    np.testing.assert_allclose(again, first, rtol=1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("dense", [False, True], ids=["integers", "dense"])
@pytest.mark.parametrize("name", ["ReliabilityDisplay", "ClasswiseReliabilityDisplay", "ReliabilityComparisonDisplay"])
def test_display(name, dense):
    make, many = getattr(kls.plots, name).from_predictions, name == "ReliabilityComparisonDisplay"
    arrays = {
        -1: (ONE_HOT if dense else LABELS, LOGITS),
        1: (np.moveaxis(ONE_HOT, -1, 1) if dense else LABELS, FIRST["logits"]),
    }
    last, first = (make({"a": a} if many else a[0], *(() if many else a[1:]), axis=axis) for axis, a in arrays.items())
    assert first.to_dict() == last.to_dict()


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("dense", [False, True], ids=["integers", "dense"])
def test_evaluate(dense):
    last, first = (
        kls.evaluate(np.moveaxis(ONE_HOT, -1, axis) if dense else LABELS, z, axis=axis)
        for axis, z in ((-1, LOGITS), (1, FIRST["logits"]))
    )
    assert first == pytest.approx(last, rel=1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("dense", [False, True], ids=["integers", "dense"])
def test_calibration_callback(dense):
    found = []
    for axis, logits in ((-1, LOGITS), (1, FIRST["logits"])):
        model = keras.Sequential([keras.Input(logits.shape[1:]), keras.layers.Identity()])
        labels = np.moveaxis(ONE_HOT, -1, axis) if dense else LABELS
        callback = kls.callbacks.CalibrationCallback((logits, labels), axis=axis)
        callback.set_model(model)
        found.append(callback.evaluate())
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_an_axis_that_predictions_do_not_have():
    words = "Expected `axis`, where the classes are, to be an axis of the predictions. Received: axis=5"
    z, y = LOGITS.reshape(-1, registry.CLASSES), LABELS.ravel()
    calls = [lambda: kls.plots.ReliabilityDisplay.from_predictions(y, z, axis=5), lambda: kls.evaluate(y, z, axis=5)]
    calls += [lambda c=c: c.make(axis=5).update_state(y, z) for c in registry.METRICS if c.batch is registry.integers]
    calls += [lambda c=c: c.make(axis=5).fit(z, y) for c in registry.CALIBRATORS]
    for call in calls:
        with pytest.raises(ValueError, match=words):
            call()
