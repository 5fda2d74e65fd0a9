"""Networks of the studies."""

from keras_ls.models.alexnet import alexnet
from keras_ls.models.image_standardization import ImageStandardization
from keras_ls.models.local_response_normalization import LocalResponseNormalization
from keras_ls.models.mlp import mlp
from keras_ls.models.penultimate import final_dense, penultimate, templates

__all__ = [
    "ImageStandardization",
    "LocalResponseNormalization",
    "alexnet",
    "final_dense",
    "mlp",
    "penultimate",
    "templates",
]
