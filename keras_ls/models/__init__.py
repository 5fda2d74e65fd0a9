"""Networks of the studies."""

from keras_ls.models.mlp import mlp
from keras_ls.models.penultimate import penultimate, templates

__all__ = ["mlp", "penultimate", "templates"]
