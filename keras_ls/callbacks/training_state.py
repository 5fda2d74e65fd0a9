"""What a training depends on besides its data: collected between two steps, restored in another process."""

import copy
import json
import random
import re
import zlib

import keras
import numpy as np

from keras_ls.callbacks.checkpoints import is_importable

_LARGE = 1 << 24  # bytes of an array
_KERAS = ("model", "_model", "params", "validation_data")  # of every callback, set by `fit`


class TrainingState:
    """The state of a `fit`: weights, optimizer, losses, metrics, random numbers, callbacks, history.

    Args:
        model: a `keras.Model` in `fit`.
        callbacks: the callbacks of the `fit`.
    """

    def __init__(self, model, callbacks):
        self._model = model
        self._callbacks = callbacks
        self._settings = [
            {name: _fingerprint(value) for name, value in _attributes(callback).items()} for callback in callbacks
        ]

    def build(self, batch):
        """Makes the variables of metrics, losses and optimizer, which Keras on TensorFlow makes in the first step.

        Args:
            batch: what has the shape and dtype of one; None where Keras has made them.
        """
        if batch is not None:
            with self._model.distribute_strategy.scope():
                self._model._symbolic_build(data_batch=batch)

    def save_weights(self, path):
        """Writes the model, its optimizer and its losses."""
        self._sync()
        self._model.save_weights(path)

    def collect(self):
        """All else: a structure of dictionaries, lists, numbers, text and NumPy arrays."""
        self._sync()
        return {
            "metrics": [np.array(variable.numpy()) for variable in self._model.metrics_variables],
            "seeds": [np.array(variable.numpy()) for variable in _seed_variables(self._model)],
            "random": random_states(),
            "history": copy.deepcopy(self._history.history),
            "epochs": list(self._history.epoch),
            "callbacks": [_changed(*pair) for pair in zip(self._callbacks, self._settings)],
        }

    def restore(self, checkpoint):
        """Sets all of it to what a `Checkpoint` holds."""
        state = checkpoint.state
        self._model.load_weights(checkpoint.weights)
        for variables, values in (
            (self._model.metrics_variables, state["metrics"]),
            (_seed_variables(self._model), state["seeds"]),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        for callback, remembered in zip(self._callbacks, state["callbacks"]):
            if remembered["class"] == type(callback).__name__:
                vars(callback).update(remembered["attributes"])
        self.restore_history(checkpoint)
        set_random_states(state["random"])
        self._renew_traces()

    def restore_history(self, checkpoint):
        """Sets the history that `fit` returns."""
        self._history.history = {key: list(values) for key, values in checkpoint.state["history"].items()}
        self._history.epoch = list(checkpoint.state["epochs"])

    @property
    def _history(self):
        return next(callback for callback in self._callbacks if isinstance(callback, keras.callbacks.History))

    def _sync(self):
        if hasattr(self._model, "jax_state_sync") and getattr(self._model, "_jax_state", None) is not None:
            self._model.jax_state_sync()

    def _renew_traces(self):
        if keras.backend.backend() == "jax":  # which keeps numbers of losses and callbacks in its traces
            self._model.make_train_function(force=True)
            self._model._jax_state_synced = True


def facts_of(model):
    """What tells one training from another: name → text or numbers that JSON has."""
    shapes = [[list(variable.shape), str(variable.dtype)] for variable in model.variables]
    try:
        compiled = json.dumps(model.get_compile_config(), sort_keys=True, default=str)
    except Exception:  # a loss of the user's own may have no config
        compiled = ""
    compiled = re.sub(r'_\d+"', '"', compiled)  # "adam_1", where another model came before
    return {"backend": keras.backend.backend(), "shapes of variables": shapes, "arguments of compile()": compiled}


def _seed_variables(model):
    """The states of random layers, which no weights file has."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _attributes(callback):
    own = {} if isinstance(callback, keras.callbacks.History) else vars(callback)
    return {name: value for name, value in own.items() if name not in _KERAS and _is_plain(value)}


def _changed(callback, settings):
    """What a callback remembers: not what it was made with, which a later run may change."""
    changed = {
        name: copy.deepcopy(value)
        for name, value in _attributes(callback).items()
        if settings.get(name) != _fingerprint(value)
    }
    return {"class": type(callback).__name__, "attributes": changed}


def _fingerprint(value):
    """What tells whether a plain value has changed; a large array is data, and another one only as another object."""

    def of_array(array):
        large = array.nbytes > _LARGE
        return array.shape, str(array.dtype), id(array) if large else zlib.crc32(np.ascontiguousarray(array))

    return repr(keras.tree.map_structure(lambda leaf: of_array(leaf) if isinstance(leaf, np.ndarray) else leaf, value))


def _is_plain(value):
    if isinstance(value, dict):
        return all(isinstance(key, (str, int, float, bool)) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    plain = value is None or isinstance(value, (bool, int, float, str, np.number, np.bool_))
    return plain or is_importable(value)


def _keras_seed():
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator().state


def random_states():
    """The states of random numbers outside of the model."""
    name, keys, *rest = np.random.get_state()
    states = {
        "python": random.getstate(),
        "numpy": [name, keys.copy(), *rest],
        "keras": np.array(_keras_seed().numpy()),
    }
    if keras.backend.backend() == "torch":
        import torch

        states["torch"] = torch.get_rng_state().numpy().copy()
    return states


def set_random_states(states):
    """Sets what `random_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    _keras_seed().assign(states["keras"])
    if "torch" in states:
        import torch

        torch.set_rng_state(torch.from_numpy(states["torch"]))
