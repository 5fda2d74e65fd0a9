"""Metrics for `compile`, `evaluate` and loops of one's own: O(bins) state, exact over replicas."""

from keras_ls.metrics.brier_score import BrierScore
from keras_ls.metrics.expected_calibration_error import ExpectedCalibrationError
from keras_ls.metrics.negative_log_likelihood import NegativeLogLikelihood

__all__ = ["BrierScore", "ExpectedCalibrationError", "NegativeLogLikelihood"]
