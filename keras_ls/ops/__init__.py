"""Pure functions on tensors, for every Keras backend: no state, no side effects."""

from keras_ls.ops._logits import probabilities_to_logits
from keras_ls.ops.calibration import brier_score, calibration_error
from keras_ls.ops.classwise import classwise_calibration_error
from keras_ls.ops.crossentropy import binary_smoothed_crossentropy, smoothed_crossentropy
from keras_ls.ops.decomposition import BrierDecomposition, brier_decomposition
from keras_ls.ops.decoupling import decoupled_divergences
from keras_ls.ops.divergences import (
    binary_kl_divergence,
    jensen_shannon_divergence,
    kl_divergence,
    squared_logit_error,
    standardize_logits,
)
from keras_ls.ops.features import attention_map, cosine_distance
from keras_ls.ops.focal import focal_crossentropy
from keras_ls.ops.geometry import class_plane, class_separation, project
from keras_ls.ops.neural_collapse import NeuralCollapse, neural_collapse
from keras_ls.ops.penalties import entropy, excess_margin, top_logit_excess
from keras_ls.ops.relations import angle_error, correlation_distance, distance_error, similarity_error
from keras_ls.ops.resampling import BootstrapInterval, CalibrationTest, bootstrap_interval, calibration_test
from keras_ls.ops.selective import risk_coverage_area
from keras_ls.ops.smooth_calibration import smooth_calibration_error
from keras_ls.ops.smoothing import (
    SmoothingEstimate,
    effective_smoothing,
    estimate_smoothing,
    smooth_labels,
    wrong_logit_variance,
)
from keras_ls.ops.spiegelhalter import SpiegelhalterTest, spiegelhalter_test
from keras_ls.ops.sweep import monotone_bins, sweep_calibration_error

__all__ = [
    "BootstrapInterval",
    "BrierDecomposition",
    "CalibrationTest",
    "NeuralCollapse",
    "SmoothingEstimate",
    "SpiegelhalterTest",
    "angle_error",
    "attention_map",
    "binary_kl_divergence",
    "binary_smoothed_crossentropy",
    "bootstrap_interval",
    "brier_decomposition",
    "brier_score",
    "calibration_error",
    "calibration_test",
    "class_plane",
    "class_separation",
    "classwise_calibration_error",
    "correlation_distance",
    "cosine_distance",
    "decoupled_divergences",
    "distance_error",
    "effective_smoothing",
    "entropy",
    "estimate_smoothing",
    "excess_margin",
    "focal_crossentropy",
    "jensen_shannon_divergence",
    "kl_divergence",
    "monotone_bins",
    "neural_collapse",
    "probabilities_to_logits",
    "project",
    "risk_coverage_area",
    "similarity_error",
    "smooth_calibration_error",
    "smooth_labels",
    "smoothed_crossentropy",
    "spiegelhalter_test",
    "squared_logit_error",
    "standardize_logits",
    "sweep_calibration_error",
    "top_logit_excess",
    "wrong_logit_variance",
]
