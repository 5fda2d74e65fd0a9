"""Nothing public escapes the sweeps."""

import inspect

import keras

import keras_ls as kls
from tests.equivalence import registry
from tests.equivalence.estimators import ESTIMATORS


def public_classes(module, base):
    return {n for n in module.__all__ if inspect.isclass(getattr(module, n)) and issubclass(getattr(module, n), base)}


def registered(components):
    return {component.name.split("-")[0] for component in components}


def test_every_public_component_is_registered():
    losses = public_classes(kls.losses, keras.losses.Loss) | public_classes(kls.distillation, keras.losses.Loss)
    assert losses - {"DistillationLoss"} == registered(registry.LOSSES)  # the base class is abstract
    assert public_classes(kls.metrics, keras.metrics.Metric) == registered(registry.METRICS)
    assert public_classes(kls.calibrators, keras.layers.Layer) == registered(registry.CALIBRATORS)


def parameters(function):
    return set(inspect.signature(function).parameters)


def test_every_public_estimator_is_registered():
    functions = [
        (name, getattr(kls.ops, name)) for name in kls.ops.__all__ if inspect.isfunction(getattr(kls.ops, name))
    ]
    displays = [(name, getattr(getattr(kls.plots, name), "from_predictions", None)) for name in kls.plots.__all__]
    weighted = {"weight", "sample_weight", "statistics", "fine", "predictions"}
    public = {name for name, function in [*functions, *displays] if function and weighted & parameters(function)}
    assert public <= {name.split("-")[0] for name in ESTIMATORS}  # which has the sums behind them, too
