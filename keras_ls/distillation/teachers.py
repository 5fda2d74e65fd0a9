"""The teachers of a Distiller."""

import contextlib

import keras

from keras_ls.distillation.distiller_checks import checked_teacher_shares
from keras_ls.distillation.forward_pass import ForwardPass
from keras_ls.distillation.losses.teacher_outputs import without_gradient
from keras_ls.distillation.teacher_cache.cached_teacher import CachedTeacher, is_joined


class Teachers:
    """Runs every teacher once, in inference mode and without a gradient.

    Args:
        models: the teachers.
        weights: of the teachers, or None.
        names, features, inputs: as `ForwardPass` takes them.
    """

    def __init__(self, models, weights, names, features, inputs):
        self.shares = checked_teacher_shares(weights, len(models))
        self.cached = any(isinstance(model, CachedTeacher) for model in models)
        self._passes = [
            ForwardPass(model, names, features, None if isinstance(model, CachedTeacher) else inputs)
            for model in models
        ]

    def __call__(self, x):
        """`(outputs, features)` of each teacher."""
        with _no_gradient():
            from_teacher = [
                one(x if isinstance(one.model, CachedTeacher) else self.inputs(x), training=False)
                for one in self._passes
            ]
        return keras.tree.map_structure(without_gradient, from_teacher)

    def inputs(self, x):
        """What of `x` a network gets: all but the outputs that come with the data."""
        return x["inputs"] if self.cached and is_joined(x) else x


def _no_gradient():
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
