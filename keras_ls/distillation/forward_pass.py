"""The forward passes of a Distiller's models, which also tell what some of their layers returned."""

import contextlib

import keras
from keras import ops as K
from keras.src.backend import set_keras_mask

from keras_ls.distillation.cached_teacher import CachedTeacher, is_joined
from keras_ls.distillation.distiller_checks import checked_teacher_shares
from keras_ls.distillation.layer_outputs import check_gradient_flows, find_layer, one_tensor, recorded_outputs
from keras_ls.ops._weights import get_keras_mask


class Teachers:
    """Runs every teacher once, in inference mode and without a gradient.

    Args:
        given: the teacher, or a list of them.
        weights: of the teachers, or None.
        names, features, inputs: as `ForwardPass` takes them.
    """

    def __init__(self, given, weights, names, features, inputs):
        self.given = given
        self.models = given if isinstance(given, list) else [given]
        self.shares = checked_teacher_shares(weights, len(self.models))
        self.cached = any(isinstance(model, CachedTeacher) for model in self.models)
        self._passes = [
            ForwardPass(model, names, features, None if isinstance(model, CachedTeacher) else inputs)
            for model in self.models
        ]

    def __call__(self, x):
        """`(outputs, features)` of each teacher."""
        results = []
        with _no_gradient():
            for one in self._passes:
                results.append(one(x if isinstance(one.model, CachedTeacher) else self.inputs(x), training=False))
        return keras.tree.map_structure(_as_constant, results)

    def inputs(self, x):
        """What of `x` a network gets: all but the outputs that come with the data."""
        return x["inputs"] if self.cached and is_joined(x) else x


def _no_gradient():
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def _as_constant(x):
    constant, mask = K.stop_gradient(x), get_keras_mask(x)
    if mask is not None:
        set_keras_mask(constant, mask)
    return constant


class ForwardPass:
    """Runs a model once and gives `(outputs, {name: features})`.

    Args:
        model: a `keras.Model`.
        names: the layers wanted, names or paths as `find_layer` takes them.
        features: function of `(model, inputs, training)` that runs the model itself and returns
            `(outputs, {name: tensor})`; None to take the layers' outputs.
        inputs: what the model gets of a batch `x`, see `select_inputs`.
    """

    def __init__(self, model, names, features=None, inputs=None):
        self.model, self.names, self.features, self.inputs = model, names, features, inputs
        self._layers = None
        if model.built and features is None:
            self._find_layers()

    def __call__(self, x, training):
        """The outputs, and the features by name."""
        x = select_inputs(x, self.inputs)
        if self.features is not None:
            outputs, features = self.features(self.model, x, training)
            missing = [name for name in self.names if name not in features]
            if missing:
                raise ValueError(
                    f"Expected the features function of {self.model.name!r} to return {', '.join(map(repr, missing))}, "
                    f"which a loss compares. Received: {sorted(features)}."
                )
            return outputs, features
        if not self.names:
            return self.model(x, training=training), {}
        if not self.model.built:
            self.model(x, training=False)  # makes its layers, and runs them once more than their results tell
        layers = self._layers or self._find_layers()
        if training:
            for name, layer in layers.items():
                check_gradient_flows(self.model, name, layer)
        with recorded_outputs(list({id(layer): layer for layer in layers.values()}.values())) as record:
            outputs = self.model(x, training=training)
        return outputs, {name: one_tensor(self.model, name, record[id(layer)]) for name, layer in layers.items()}

    def _find_layers(self):
        self._layers = {name: find_layer(self.model, name) for name in self.names}
        return self._layers


def select_inputs(x, inputs):
    """What a model gets of a batch's `x`: all of it for None, a key's entry, or what a function of `x` returns.

    For a key, an `x` that is no dictionary is what the model takes already, as when it predicts alone.
    """
    if inputs is None:
        return x
    if callable(inputs):
        return inputs(x)
    if not isinstance(x, dict):
        return x
    if inputs not in x:
        raise ValueError(f"Expected batches with x[{inputs!r}]. Received: a dictionary with {sorted(x)}.")
    return x[inputs]


def checked_inputs(name, inputs):
    """Returns `inputs` when it is None, a key or a function, or raises `ValueError`."""
    if inputs is None or isinstance(inputs, str) or callable(inputs):
        return inputs
    raise ValueError(
        f"Expected `{name}` to be a key of the dictionary x, a function of x, or None. Received: {inputs!r}."
    )


def checked_features(name, features):
    """Returns `features` when it is None or a function, or raises `ValueError`."""
    if features is None or (callable(features) and not isinstance(features, keras.Layer)):
        return features
    raise ValueError(
        f"Expected `{name}` to be a function of (model, inputs, training) that returns (outputs, {{name: tensor}}), "
        f"or None. Received: {features!r}."
    )


@contextlib.contextmanager
def without_rematerialization(models):
    """Lets layers of a `keras.RematScope` run as others do: where only shapes are told, TensorFlow has a graph.

    A graph takes no keyword arguments for what runs again for its gradient.
    """
    layers = [layer for model in models for layer in model._flatten_layers()]
    modes = [(layer, vars(layer)["_remat_mode"]) for layer in layers if vars(layer).get("_remat_mode") is not None]
    for layer, _ in modes:
        vars(layer)["_remat_mode"] = None  # past Keras's tracking of attributes
    try:
        yield
    finally:
        for layer, mode in modes:
            vars(layer)["_remat_mode"] = mode
