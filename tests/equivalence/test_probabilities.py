"""What takes logits says so when it is given probabilities, once, and takes them with `from_logits=False`."""

import inspect
import warnings

import keras
import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from tests.equivalence import registry

SHAPE = (40,)
INPUTS = np.random.default_rng(0).normal(size=(*SHAPE, 4)).astype("float32")


def takes_from_logits(thing):
    return "from_logits" in inspect.signature(thing).parameters


def parametrized(components):
    chosen = [c for c in components if takes_from_logits(getattr(_room(c), c.name.split("-")[0]))]
    return pytest.mark.parametrize("component", chosen, ids=str)


def _room(component):
    name = component.name.split("-")[0]
    rooms = (kls.losses, kls.metrics, kls.calibrators, kls.distillation)
    return next(room for room in rooms if hasattr(room, name))


def batch(component):
    """Labels, logits and their probabilities; labels that are a teacher's logits become probabilities with them."""
    labels, logits = component.batch(SHAPE)
    one_each = logits.ndim == 1 or component.name.startswith("Binary")
    function = keras.activations.sigmoid if one_each else keras.activations.softmax

    def probabilities(z):
        return K.convert_to_numpy(function(K.convert_to_tensor(z)))

    return labels, logits, probabilities, function


def of_teacher(component):
    return component.name.startswith("TeacherAgreement")


def warned(call):
    """The warnings of this kind."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught if str(w.message).startswith("Expected logits for")]


def quiet_of_top1(component):
    # the likeliest class is the same of both
    return component.name == "TeacherAgreement"


@parametrized(registry.LOSSES + registry.METRICS)
def test_losses_and_metrics_warn_once_of_values(component):
    labels, logits, probabilities, _ = batch(component)
    p = probabilities(logits)
    assert not warned(lambda: component.make()(labels, logits))
    made = component.make()
    found = [text for _ in range(3) for text in warned(lambda: made(labels, p))]
    assert len(found) == (0 if quiet_of_top1(component) else 1)
    assert not warned(
        lambda: component.make(from_logits=False)(probabilities(labels) if of_teacher(component) else labels, p)
    )
    for text in found:
        assert f"for {component.name.split('-')[0]}. " in text and "Pass `from_logits=False`, or take the" in text


@parametrized(registry.LOSSES + registry.METRICS)
def test_losses_and_metrics_of_probabilities_are_those_of_logits(component):
    labels, logits, probabilities, _ = batch(component)
    given = probabilities(labels) if of_teacher(component) else labels
    found = component.make(from_logits=False)(given, probabilities(logits))
    np.testing.assert_allclose(float(found), float(component.make()(labels, logits)), rtol=1e-4, atol=1e-6)


@pytest.mark.tensorflow
@parametrized([c for c in registry.LOSSES + registry.METRICS if "-" not in c.name])
def test_losses_and_metrics_warn_in_fit(component):
    labels, logits, _, function = batch(component)
    width = 1 if logits.ndim == 1 else logits.shape[-1]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(width, function)])
    made = component.make()
    if isinstance(made, keras.losses.Loss):
        model.compile("sgd", made)
    else:
        model.compile("sgd", lambda _, p: K.mean(p, axis=-1), metrics=[made])
    found = warned(lambda: model.evaluate(INPUTS, labels, batch_size=8, verbose=0))
    assert len(found) == (0 if quiet_of_top1(component) else 1)


def calibration_batch(component):
    labels, logits = component.batch(SHAPE)
    logits = logits / 3  # or the least probabilities would be clipped
    return labels, logits, K.convert_to_numpy(keras.activations.softmax(K.convert_to_tensor(logits)))


@pytest.mark.slow_on_jax
@parametrized(registry.CALIBRATORS)
def test_calibrators_warn_once_a_call(component):
    labels, logits, p = calibration_batch(component)
    assert not warned(lambda: component.make().fit(logits, labels)(logits))
    made = component.make()
    kind = type(made).__name__
    assert len(found := warned(lambda: made.fit(p, labels)(p))) == 1
    assert f"for {kind}.fit. " in found[0]
    made = component.make().fit(logits, labels)
    assert len(warned(lambda: made(p))) == 1
    assert len(warned(lambda: kls.calibrators.crossfit(component.make(), p, labels, folds=2))) == 1
    assert not warned(lambda: kls.calibrators.crossfit(component.make(), p, labels, folds=2, from_logits=False))


@pytest.mark.slow_on_jax
@parametrized(registry.CALIBRATORS)
def test_calibrators_of_probabilities_are_those_of_logits(component):
    labels, logits, p = calibration_batch(component)
    if component.name.startswith(
        ("VectorScaling", "MatrixScaling")
    ):  # to these, a number added to a row is not nothing
        logits = np.log(p)
    expected = K.softmax(component.make().fit(logits, labels)(logits))
    said = component.make().fit(p, labels, from_logits=False)
    built = component.make(from_logits=False)
    assert not warned(lambda: built.fit(p, labels))
    for made in (said, built):
        found = K.softmax(made(p))
        np.testing.assert_allclose(K.convert_to_numpy(found), K.convert_to_numpy(expected), atol=2e-4)
        assert made.get_config()["from_logits"] is False
        assert type(made).from_config(made.get_config()).from_logits is False
    with pytest.raises(ValueError, match=r"in \[0, 1\].*from_logits=True"):
        component.make(from_logits=False).fit(logits, labels)
    with pytest.raises(ValueError, match=r"in \[0, 1\].*from_logits=True"):
        built(logits)


DISPLAYS = [
    display
    for name in kls.plots.__all__
    if hasattr(display := getattr(kls.plots, name), "from_predictions") and takes_from_logits(display.from_predictions)
]


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: display.__name__)
def test_displays_warn_once_a_call(display):
    labels, logits = registry.integers(SHAPE)
    p = K.convert_to_numpy(K.softmax(logits))
    several = "labels" not in inspect.signature(display.from_predictions).parameters

    def draw(predictions, **k):
        given = ({"a": (labels, predictions), "b": (labels, predictions)},) if several else (labels, predictions)
        return display.from_predictions(*given, **k)

    assert not warned(lambda: draw(logits)) and not warned(lambda: draw(p, from_logits=False))
    assert len(found := warned(lambda: draw(p))) == 1
    assert f"for {display.__name__}.from_predictions. " in found[0]


def test_nothing_that_takes_logits_is_left_out():
    """A new public class or function with `from_logits` belongs into a sweep above, or a test of its own here."""
    swept = registry.LOSSES + registry.METRICS + registry.CALIBRATORS
    swept = {c.name.split("-")[0] for c in swept} | {display.__name__ for display in DISPLAYS} | {"crossfit"}
    elsewhere = {
        "CalibrationCallback",  # tests/callbacks
        "export_saved_model",  # tests/test_export.py
        "read_predictions",  # tests/data
        "diagnose",  # tests/studies/test_diagnosis.py and test_cli_diagnose.py
        "logits_of",  # by `keras-ls calibrate`: tests/test_softmax_models.py
        "save_calibrator",  # is given no predictions: its argument is of what the SavedModel takes
    }
    rooms = ("losses", "metrics", "calibrators", "distillation", "plots", "callbacks", "data", "export", "studies")
    for room in map(kls.__dict__.get, rooms):
        if room is None:
            continue
        for name in getattr(room, "__all__", [n for n in vars(room) if not n.startswith("_")]):
            public = getattr(room, name)
            if not callable(public) or not getattr(public, "__module__", "").startswith(room.__name__):
                continue
            ways = [public, getattr(public, "from_predictions", public)]
            if any(takes_from_logits(way) for way in ways):
                assert name in swept | elsewhere, f"{room.__name__}.{name} takes from_logits, and no sweep tries it"
