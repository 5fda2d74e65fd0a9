"""Numbers of a loss that may change while it trains."""

import warnings

import keras
import numpy as np
from keras.src.backend.common.stateless_scope import in_stateless_scope

from keras_ls.losses.epoch_starts import epoch_starts


class Coefficient:
    """A number of a loss, kept in a variable: a traced training step reads it anew every time.

    As a class attribute, `label_smoothing = Coefficient(checked_fraction)` makes `loss.label_smoothing` a
    `keras.Variable`; assigning a number to it checks the number and takes effect at the next step, without a new trace
    (on JAX, whose traces keep the values of variables outside the model, at the next trace). Of a loss that is made
    inside traced code (a `train_step`, a lambda, the `call` of a layer), which makes it anew in every trace and where
    no variable can be made, it is a constant.

    Args:
        checked: function of `(name, value)` that returns the number as a float or raises `ValueError`.
        optional: whether it may be None instead, which is no variable: from None, or to None, a change takes effect at
            the next trace.
    """

    def __init__(self, checked, optional=False):
        self.checked = checked
        self.optional = optional

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, loss, owner=None):
        return self if loss is None else vars(loss)[self.name]

    def __set__(self, loss, value):
        if value is None and self.optional:
            vars(loss)[self.name] = None
            return
        number = self.checked(self.name, value)
        with np.errstate(over="ignore"):  # to infinity, which is refused
            self.checked(self.name, float(np.asarray(number).astype(loss.dtype)))  # 0.99999999 becomes 1
        if isinstance(vars(loss).get(self.name), keras.Variable):
            vars(loss)[self.name].assign(number)
        elif inside_traced_code():
            vars(loss)[self.name] = Constant(self.name, number, loss.dtype)
        else:
            if self.name not in vars(loss):
                vars(loss)[_made_with(self.name)] = _shortest(number, loss.dtype)
            # no autocast: in a layer of half precision that calls the loss, 0.1 stays 0.1
            vars(loss)[self.name] = keras.Variable(
                number, trainable=False, dtype=loss.dtype, autocast=False, name=self.name
            )


class Constant:
    """A coefficient without a variable: it reads like one.

    Args:
        name: of the coefficient.
        number: its value.
        dtype: "float32" or "float64".
    """

    def __init__(self, name, number, dtype):
        self.name, self.dtype = name, dtype
        self._number = np.asarray(number, dtype)

    @property
    def value(self):
        """The number as a tensor."""
        return keras.ops.convert_to_tensor(self._number, dtype=self.dtype)

    def numpy(self):
        """The number as NumPy has it."""
        return self._number

    def assign(self, number):
        """Refuses: what traced code has read does not change."""
        raise ValueError(
            f"Expected a loss made outside traced code, to change its `{self.name}`. Received: one made inside. Make "
            "it once, before the training, and call it there."
        )


def inside_traced_code():
    """Whether what runs is being traced, so that it can make no variables that last."""
    if in_stateless_scope():
        return True
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.inside_function()
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(jax.numpy.zeros(()), jax.core.Tracer)
    return False


def coefficients(loss):
    """The coefficients of `loss` by name, each as its `number`."""
    return {name: number(getattr(loss, name)) for name in _names(loss)}


def save_coefficients(loss, store):
    """Writes the coefficients of `loss` into the `store` of `save_own_variables`, and what it was made with."""
    for name in _names(loss):
        if getattr(loss, name) is not None:
            store[name] = getattr(loss, name).numpy()
            made_with = vars(loss).get(_made_with(name))
            store[_made_with(name)] = np.asarray(np.nan if made_with is None else made_with)
    epoch_starts(loss).save(store)


def load_coefficients(loss, store):
    """Reads what `save_coefficients` wrote; a file from before it leaves the loss as it is.

    Warns where that changes a number and the file's loss was made with another one. Where both were made with the same,
    as in a training that is resumed, a schedule has moved it, and to go on from there is what loading is for.
    """
    for name in _names(loss):
        if name in store:
            loaded, present = _shortest(store[name], loss.dtype), number(getattr(loss, name))
            if loaded != present and _made_otherwise(loss, name, store):
                warnings.warn(
                    f"Expected weights saved with a {type(loss).__name__} that was made with the same `{name}`. "
                    f"Received: {name}={loaded:g} in the file, {present if present is None else f'{present:g}'} in the "
                    "model. The file's counts from now on, as it is saved like the weights. To keep the model's, set "
                    f"`loss.{name} = {present}` after `load_weights`.",
                    stacklevel=2,
                )
            setattr(loss, name, loaded)
    epoch_starts(loss).load(store)


def _made_with(name):
    return f"{name}_made_with"


def _made_otherwise(loss, name, store):
    key = _made_with(name)
    if key not in store:
        return False
    theirs = float(np.asarray(store[key]))
    return vars(loss).get(key) != (None if np.isnan(theirs) else theirs)


def _names(loss):
    return [name for name in dir(type(loss)) if isinstance(getattr(type(loss), name, None), Coefficient)]


def number(variable):
    """A coefficient as the float it was set to: the shortest number with its float32 value, 0.1 and not 0.10000000149.

    None for the None of an optional one.
    """
    if variable is None:
        return None
    value = variable.numpy()  # which a strategy's scope allows, too
    return _shortest(value, value.dtype)


def _shortest(value, dtype):
    return float(str(np.asarray(value).astype(dtype)[()]))
