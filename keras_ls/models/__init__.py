"""Networks of the studies."""

from keras_ls.models.alexnet import alexnet
from keras_ls.models.flops import flops
from keras_ls.models.image_standardization import ImageStandardization
from keras_ls.models.inception_v4 import inception_v4
from keras_ls.models.local_response_normalization import LocalResponseNormalization
from keras_ls.models.mlp import mlp
from keras_ls.models.padded_shortcut import PaddedShortcut
from keras_ls.models.penultimate import final_dense, penultimate, templates
from keras_ls.models.resnet import resnet

__all__ = [
    "ImageStandardization",
    "LocalResponseNormalization",
    "PaddedShortcut",
    "alexnet",
    "final_dense",
    "flops",
    "inception_v4",
    "mlp",
    "penultimate",
    "resnet",
    "templates",
]
