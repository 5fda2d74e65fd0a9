"""Nothing public escapes the sweeps."""

import inspect

import keras

import keras_ls as kls
from tests.equivalence import registry


def public_classes(module, base):
    return {n for n in module.__all__ if inspect.isclass(getattr(module, n)) and issubclass(getattr(module, n), base)}


def registered(components):
    return {component.name.split("-")[0] for component in components}


def test_every_public_component_is_registered():
    losses = public_classes(kls.losses, keras.losses.Loss) | public_classes(kls.distillation, keras.losses.Loss)
    assert losses - {"DistillationLoss"} == registered(registry.LOSSES)  # the base class is abstract
    assert public_classes(kls.metrics, keras.metrics.Metric) == registered(registry.METRICS)
    assert public_classes(kls.calibrators, keras.layers.Layer) == registered(registry.CALIBRATORS)
