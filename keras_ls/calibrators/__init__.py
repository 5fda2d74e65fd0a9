"""Post-hoc recalibration: layers with `fit`, from logits to logits."""

from keras_ls.calibrators.histogram_binning import HistogramBinning
from keras_ls.calibrators.isotonic_calibration import IsotonicCalibration
from keras_ls.calibrators.temperature_scaling import TemperatureScaling

__all__ = ["HistogramBinning", "IsotonicCalibration", "TemperatureScaling"]
