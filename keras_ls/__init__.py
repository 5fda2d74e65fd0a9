"""keras_ls: label smoothing, calibration and distillation for Keras models whose confidence can be trusted."""

import importlib

from keras_ls import calibrators, callbacks, distillation, losses, metrics, ops
from keras_ls.distillation import Distiller
from keras_ls.evaluation import evaluate

__version__ = "0.1.0"
__all__ = [
    "Distiller",
    "calibrators",
    "callbacks",
    "data",
    "distillation",
    "distribute",
    "evaluate",
    "export",
    "losses",
    "metrics",
    "models",
    "ops",
    "plots",
    "studies",
]

# rooms that bring matplotlib, TensorFlow Datasets and their like: imported when they are first used
_LAZY = {"data", "distribute", "export", "models", "plots", "studies"}


def __getattr__(name):
    if name in _LAZY:
        try:
            return importlib.import_module(f"keras_ls.{name}")
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise ModuleNotFoundError(
                f"Expected TensorFlow, which keras_ls.{name} needs. Received: none is installed. Install it with "
                "`pip install tensorflow`; losses, metrics, calibrators, distillation and callbacks do without.",
                name="tensorflow",
            ) from error
    raise AttributeError(f"module 'keras_ls' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | _LAZY)
