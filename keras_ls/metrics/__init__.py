"""Metrics for `compile`, `evaluate` and loops of one's own: O(bins) state, exact over replicas."""

from keras_ls.metrics.brier_score import BrierScore
from keras_ls.metrics.classwise_calibration_error import ClasswiseCalibrationError
from keras_ls.metrics.effective_smoothing import EffectiveSmoothing
from keras_ls.metrics.expected_calibration_error import ExpectedCalibrationError
from keras_ls.metrics.negative_log_likelihood import NegativeLogLikelihood
from keras_ls.metrics.risk_coverage_area import RiskCoverageArea
from keras_ls.metrics.smooth_calibration_error import SmoothCalibrationError
from keras_ls.metrics.teacher_agreement import TeacherAgreement

__all__ = [
    "BrierScore",
    "ClasswiseCalibrationError",
    "EffectiveSmoothing",
    "ExpectedCalibrationError",
    "NegativeLogLikelihood",
    "RiskCoverageArea",
    "SmoothCalibrationError",
    "TeacherAgreement",
]
