"""Numbers of a loss that may change while it trains."""

import keras
import numpy as np


class Coefficient:
    """A number of a loss, kept in a variable: a traced training step reads it anew every time.

    As a class attribute, `label_smoothing = Coefficient(checked_fraction)` makes `loss.label_smoothing` a
    `keras.Variable`; assigning a number to it checks the number and takes effect at the next step, without a new trace
    (on JAX, whose traces keep the values of variables outside the model, at the next trace).

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
            self.checked(self.name, float(np.asarray(number).astype(loss.dtype)))  # .99999999 becomes 1
        if vars(loss).get(self.name) is not None:
            vars(loss)[self.name].assign(number)
        else:
            # no autocast: in a layer of half precision that calls the loss, .1 stays .1
            vars(loss)[self.name] = keras.Variable(
                number, trainable=False, dtype=loss.dtype, autocast=False, name=self.name
            )


def number(variable):
    """A coefficient as the float it was set to: the shortest number with its float32 value, .1 and not .10000000149.

    None for the None of an optional one.
    """
    if variable is None:
        return None
    value = variable.numpy()  # which a strategy's scope allows, too
    return float(str(value.dtype.type(value)))
