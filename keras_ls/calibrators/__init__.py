"""Post-hoc recalibration: layers with `fit`, from logits to logits."""

from keras_ls.calibrators.crossfit import CrossFit, crossfit
from keras_ls.calibrators.fold_temperature import fold_temperature
from keras_ls.calibrators.histogram_binning import HistogramBinning
from keras_ls.calibrators.isotonic_calibration import IsotonicCalibration
from keras_ls.calibrators.temperature_scaling import TemperatureScaling

__all__ = [
    "CrossFit",
    "HistogramBinning",
    "IsotonicCalibration",
    "TemperatureScaling",
    "crossfit",
    "fold_temperature",
]
