"""Callbacks for `fit`."""

from keras_ls.callbacks.calibration_callback import CalibrationCallback

__all__ = ["CalibrationCallback"]
