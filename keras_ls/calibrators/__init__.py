"""Post-hoc recalibration: layers with `fit`, from logits to logits."""

from keras_ls.calibrators.crossfit import CrossFit, crossfit
from keras_ls.calibrators.dirichlet_calibration import DirichletCalibration
from keras_ls.calibrators.ensemble_temperature_scaling import EnsembleTemperatureScaling
from keras_ls.calibrators.fold_temperature import fold_temperature
from keras_ls.calibrators.histogram_binning import HistogramBinning
from keras_ls.calibrators.isotonic_calibration import IsotonicCalibration
from keras_ls.calibrators.matrix_scaling import MatrixScaling
from keras_ls.calibrators.temperature_scaling import TemperatureScaling
from keras_ls.calibrators.vector_scaling import VectorScaling

__all__ = [
    "CrossFit",
    "DirichletCalibration",
    "EnsembleTemperatureScaling",
    "HistogramBinning",
    "IsotonicCalibration",
    "MatrixScaling",
    "TemperatureScaling",
    "VectorScaling",
    "crossfit",
    "fold_temperature",
]
