"""Callbacks for `fit`."""

from keras_ls.callbacks.calibration_callback import CalibrationCallback
from keras_ls.callbacks.distillation_schedule import DistillationSchedule
from keras_ls.callbacks.exact_resume import ExactResume
from keras_ls.callbacks.smoothing_schedule import SmoothingSchedule
from keras_ls.callbacks.soft_label_update import SoftLabelUpdate

__all__ = ["CalibrationCallback", "DistillationSchedule", "ExactResume", "SmoothingSchedule", "SoftLabelUpdate"]
