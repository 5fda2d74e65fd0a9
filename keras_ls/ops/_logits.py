"""Logits or probabilities: how the one becomes the other, and how to tell that one was taken for the other."""

import warnings

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import check_unit_interval, checked_flag, concrete
from keras_ls.ops._inputs import checked_probabilities
from keras_ls.ops._output_layers import activation_of, probability_outputs
from keras_ls.ops._tensors import as_tensor, classes_last
from keras_ls.ops._types import Tensor

_ROWS = 64  # that are looked at
_SUM = 5e-3  # of a row of probabilities, off 1 at most: what half precision rounds
_FEWEST_BINARY = 16  # numbers in [0, 1] that are no chance
_MEND = "Pass `from_logits=False`, or take the {activation} off the model."
# operations of a TensorFlow graph that move or convert numbers
_PASSED = {
    *("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StopGradient", "ClipByValue"),
    *("EnsureShape", "StridedSlice", "Snapshot", "PreventGradient"),
}


def probabilities_to_logits(probabilities: Tensor, binary: bool | None = None) -> Tensor:
    """Logits whose softmax, or sigmoid, gives probabilities back: for models that end in one.

    `z_k = log p_k` of the probabilities of K classes, `z = log p - log(1 - p)` of P(y=1), with p (and 1 - p) clipped to
    at least Keras's ε (1e-7), so that logits are finite. The logits that a softmax was taken of differ by a constant of
    each example, which changes no probability, temperature or NLL.

    Args:
        probabilities: `[..., K]`, classes last; or P(y=1), of any shape.
        binary: whether each number is a P(y=1) of its own, as those of several labels an example are; None (default)
            for what the shape says, as everywhere in this package: yes for `[N]` and `[..., 1]`, no for `[..., K]`.

    Returns:
        Logits of the same shape, at least float32.

    Raises:
        ValueError: for numbers outside [0, 1] or NaN, and rows of K classes that do not sum to 1; in a TensorFlow graph
            when it runs.

    Examples:
        log(0.8 / 0.2) = log 4 either way:

        >>> import keras_ls as kls
        >>> z = kls.ops.probabilities_to_logits([[0.2, 0.8]])
        >>> round(float(z[0, 1] - z[0, 0]), 4), round(float(kls.ops.probabilities_to_logits([0.8])[0]), 4)
        (1.3863, 1.3863)

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, whose temperature divides logits.
    """
    p = as_tensor("probabilities", probabilities)
    if binary is not None:
        checked_flag("binary", binary)
    binary = is_binary(p) if binary is None else binary
    p = p if binary else classes_last(p, -1)
    return as_logits(checked_probabilities(p, binary=binary), False, binary)


def as_logits(predictions, from_logits, binary=False):
    """Predictions as logits: as they are, or as `probabilities_to_logits` has them, without its check."""
    if from_logits:
        return predictions
    p = at_least_float32(predictions)
    log_p = K.log(K.clip(p, keras.config.epsilon(), 1.0))
    return log_p - K.log(K.clip(1.0 - p, keras.config.epsilon(), 1.0)) if binary else log_p


def is_binary(predictions):
    """Whether predictions are one number an example, for class 1: `[N]` or `[..., 1]`."""
    return len(predictions.shape) < 2 or predictions.shape[-1] == 1


def logits_of_array(predictions, weight, from_logits):
    """`as_logits` of flat NumPy predictions, `[M, K]` or `[M]`, after an error for "probabilities" that are none."""
    if from_logits:
        return predictions
    checked_probabilities(predictions, weight)
    return K.convert_to_numpy(as_logits(predictions, False, is_binary(predictions)))


def check_some_in_unit_interval(name, predictions):
    """Raises `ValueError` where some rows, of known values, are no probabilities."""
    values = _some(predictions, -1)
    if values is not None:
        check_unit_interval(name, np.nan_to_num(values), "Use `from_logits=True` for logits.")


class LogitsCheck:
    """Warns, once, where what is taken for logits are probabilities: by a model's layers, a graph's operations, values.

    In a TensorFlow graph the operation that made a tensor tells; elsewhere some rows of the first batch do, if their
    values are known. So nothing is added to a step that is compiled.

    Args:
        name: what takes the logits, as the warning has it.
        mend: what to do, as the warning has it; "{activation}" becomes softmax or sigmoid.
        multi_label: whether each number is a logit of its own.

    Attributes:
        found: whether probabilities were seen.
        done: whether there is no need to look again; assign True for silence.

    Examples:
        >>> import warnings
        >>> from keras_ls.ops._logits import LogitsCheck
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     LogitsCheck("Mine").see([[0.9, 0.1], [0.2, 0.8]])
        >>> print(caught[0].message)
        Expected logits for Mine. Received: rows that are not negative and sum to 1, as after a softmax. Pass
        `from_logits=False`, or take the softmax off the model.
    """

    def __init__(self, name, mend=_MEND, multi_label=False):
        self.name, self.mend, self.multi_label = name, mend, multi_label
        self.found = self.done = False

    def see_model(self, model):
        """Looks at the layers that make the outputs of a model."""
        for activation, layer, shape in probability_outputs(model):
            if activation == "softmax" or self.multi_label or len(shape) < 2 or shape[-1] == 1:
                self._warn(activation, f"the outputs of a model that ends in a {activation}, in its layer {layer!r}")
                return

    def see(self, predictions, axis=-1):
        """Looks at predictions `[..., K]`, with the classes on `axis`, or `[N]` or `[..., 1]`; a tensor or array."""
        if self.done:
            return
        if not hasattr(predictions, "shape"):
            try:
                predictions = np.asarray(predictions, "float64")
            except (TypeError, ValueError):  # what takes them says so
                return
        binary = self.multi_label or is_binary(predictions)
        expected = "sigmoid" if binary else "softmax"
        symbolic = isinstance(predictions, keras.KerasTensor)
        if (activation_of(predictions) if symbolic else _operation(predictions)) == expected:
            self._warn(expected, f"the output of a {expected}")
            return
        values = _some(predictions, axis)
        if values is None:
            return
        by_keras = hasattr(predictions, "_keras_logits")  # what Keras's activations leave on their outputs
        if binary and (by_keras or _are_binary(values)):
            self._warn(expected, "numbers in [0, 1] alone, as after a sigmoid")
        elif not binary and _are_rows(values, 1 if by_keras else 2):
            self._warn(expected, "rows that are not negative and sum to 1, as after a softmax")
        self.done = self.done or (values.size >= _FEWEST_BINARY if binary else len(values) > 1)

    def see_all(self, *several):
        """Looks at predictions of several models that come together, as a teacher's and a student's do."""
        done = self.done
        for predictions in several:
            self.done = done or self.found
            self.see(predictions)

    def _warn(self, activation, received):
        self.found = self.done = True
        mend = self.mend.format(activation=activation)
        warnings.warn(f"Expected logits for {self.name}. Received: {received}. {mend}", stacklevel=4)


def silenced(component):
    """A component of this package that is given what was looked at already."""
    component.logits_check.done = True
    return component


def are_probabilities(predictions):
    """Whether NumPy predictions `[..., K]`, all of them, are rows that are not negative and sum to 1.

    Rows of 0 and 1 alone tell nothing: they may be one-hot logits.
    """
    return _are_rows(np.reshape(predictions, (-1, np.shape(predictions)[-1])), 2)


def _are_rows(values, fewest):
    rows = values[(values != 0).any(axis=-1)]  # padding
    total = rows.sum(axis=-1, dtype="float64")
    if not ((rows >= 0).all() and (abs(total - 1) <= _SUM).all()):
        return False
    return int((rows.max(axis=-1, initial=0) < 1).sum()) >= fewest


def _are_binary(values):
    inside = ((values > 0) & (values < 1)).any() and values.min() < values.max()
    return bool(values.size >= _FEWEST_BINARY and inside and (values >= 0).all() and (values <= 1).all())


def _some(predictions, axis):
    """Some rows as NumPy, classes last, `[M, K]` or `[M]`; None where there are no values yet."""
    try:
        rank = len(predictions.shape)
        if rank == 0 or 0 in predictions.shape:
            return None
        most = _ROWS if rank < 3 else 16
        kept = tuple(slice(None) if rank > 1 and i == axis % rank else slice(most) for i in range(rank))
        values = concrete(predictions[kept])
        if values is None:
            return None
        values = np.asarray(values, "float64")
        return values if rank == 1 else np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    except (TypeError, ValueError):  # what takes them says so, an axis that they do not have, too
        return None


def _operation(tensor):
    """`"softmax"`, `"sigmoid"` or None: what made a tensor of a TensorFlow graph."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if not isinstance(tensor, tf.Tensor) or not tf.is_symbolic_tensor(tensor):
        return None
    operation = tensor.op
    while operation.type in _PASSED and len(operation.inputs):
        operation = operation.inputs[0].op
    return {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(operation.type)
