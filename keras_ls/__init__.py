"""keras_ls: label smoothing, calibration and distillation for Keras models whose confidence can be trusted."""

import importlib

from keras_ls import losses, metrics, ops

__version__ = "0.1.0"


def __getattr__(name):
    raise AttributeError(f"module 'keras_ls' has no attribute {name!r}")
