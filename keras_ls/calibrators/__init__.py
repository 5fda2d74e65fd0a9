"""Post-hoc recalibration: layers with `fit`, from logits to logits."""

from keras_ls.calibrators.temperature_scaling import TemperatureScaling

__all__ = ["TemperatureScaling"]
