"""Input validation: every message says what was expected, what came and what to do."""

import difflib
import numbers

import keras
import numpy as np
from keras import ops as K
from keras.src.backend.common.stateless_scope import in_stateless_scope


def checked_fraction(name, value):
    """Returns `value` as a float in [0, 1), or raises `ValueError`."""
    if not _is_number(value) or not 0.0 <= float(value) < 1.0:
        raise ValueError(f"Expected `{name}` in [0, 1). Received: {value!r}.")
    return float(value)


def as_fraction(name, value, dtype):
    """A checked fraction, or a scalar tensor as it is, as a tensor of `dtype`."""
    return _as_scalar(name, value, dtype, checked_fraction)


def as_positive(name, value, dtype):
    """A checked number above 0, or a scalar tensor as it is, as a tensor of `dtype`."""
    return _as_scalar(name, value, dtype, checked_positive)


def _as_scalar(name, value, dtype, checked):
    if not K.is_tensor(value):
        return K.convert_to_tensor(checked(name, value), dtype)  # a cast would take a Python number through float32
    if len(value.shape) > 0:
        raise ValueError(f"Expected `{name}` to be one number. Received: a tensor of shape {tuple(value.shape)}.")
    known = concrete(value)
    if known is not None:
        checked(name, known.item())
    return K.cast(value, dtype)


def checked_positive(name, value):
    """Returns `value` as a finite float above 0, or raises `ValueError`."""
    if not _is_number(value) or not 0.0 < float(value) < float("inf"):
        raise ValueError(f"Expected `{name}` > 0. Received: {value!r}.")
    return float(value)


def checked_non_negative(name, value):
    """Returns `value` as a finite float of at least 0, or raises `ValueError`."""
    if not _is_number(value) or not 0.0 <= float(value) < float("inf"):
        raise ValueError(f"Expected `{name}` >= 0. Received: {value!r}.")
    return float(value)


def checked_count(name, value, minimum=1, maximum=None):
    """Returns `value` as an int of at least `minimum` and at most `maximum`, or raises `ValueError`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < minimum or (maximum is not None and value > maximum):
        span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum:,}"
        raise ValueError(f"Expected `{name}` to be an integer {span}. Received: {value!r}.")
    return int(value)


def checked_flag(name, value):
    """Returns `value` as a bool, or raises `ValueError`."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"Expected `{name}` to be True or False. Received: {value!r}.")
    return bool(value)


def checked_function(name, value):
    """Returns `value`, which can be called, or raises `ValueError`."""
    if not callable(value):
        raise ValueError(f"Expected `{name}` to be a function. Received: {value!r}.")
    return value


def checked_image_shape(input_shape):
    """Returns the shape of one image as a tuple of three counts, or raises `ValueError`."""
    if len(input_shape) != 3:
        raise ValueError(
            f"Expected `input_shape` as (height, width, channels). Received: {input_shape!r}. "
            "Grey images have 1 channel."
        )
    return tuple(checked_count("input_shape", size) for size in input_shape)


def checked_class(name, value):
    """Returns `value` as an int, or None for None, or raises `ValueError`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise ValueError(f"Expected `{name}` to be an integer or None. Received: {value!r}.")
    return None if value is None else int(value)


def checked_axis(axis):
    """Returns `axis` as an int, or raises `ValueError`."""
    if checked_class("axis", axis) is None:
        raise ValueError("Expected `axis` to be an integer. Received: None.")
    return int(axis)


def checked_choice(name, value, choices):
    """Returns `value` when it is one of `choices`; the error names the nearest valid one."""
    choices = list(choices)
    if isinstance(value, (str, int, type(None))) and value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Expected `{name}` to be one of {', '.join(map(repr, choices))}. Received: {value!r}.{hint}")


def checked_prior(prior, num_classes=None):
    """Returns a class distribution as float64 NumPy (or None), or raises `ValueError`."""
    if prior is None:
        return None
    try:
        values = np.asarray(prior)
        values = np.empty(0) if values.dtype.kind == "c" else values.astype("float64")
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or values.size < 2 or not np.all(values >= 0) or abs(values.sum() - 1.0) > 1e-3:
        raise ValueError(
            "Expected `prior` to be a 1-D class distribution: at least two non-negative numbers that sum to 1. "
            f"Received: {prior!r}. Divide class counts by their sum; keras_ls.losses.unigram_prior counts them."
        )
    if num_classes is not None and values.size != num_classes:
        raise ValueError(
            f"Expected `prior` to have one entry a class: {num_classes}, as the predictions have. "
            f"Received: {values.size} entries."
        )
    return values / values.sum()


def checked_rates(prior, num_labels=None):
    """Returns rates of binary labels, one number or one a label, as float64 NumPy, or raises `ValueError`."""
    try:
        rates = np.asarray(prior)
        rates = np.full((1, 1), np.nan) if rates.dtype.kind == "c" else rates.astype("float64")
    except (TypeError, ValueError):
        rates = np.full((1, 1), np.nan)
    if rates.ndim > 1 or not np.all((rates >= 0) & (rates <= 1)):
        raise ValueError(
            f"Expected `prior` to be rates of labels in [0, 1]: a number or one a label. Received: {prior!r}."
        )
    if num_labels is not None and rates.ndim == 1 and rates.size != num_labels:
        raise ValueError(f"Expected `prior` to have one rate a label: {num_labels}. Received: {rates.size} rates.")
    return rates


def concrete(tensor):
    """Returns `tensor` as a NumPy array, or None where it has no value yet (inside a traced function)."""
    if tensor is None or isinstance(tensor, keras.KerasTensor):
        return None
    if keras.backend.backend() == "torch" and in_stateless_scope():
        return None  # Keras looks for shapes there, with numbers that it makes up
    if keras.backend.backend() == "jax":
        import jax

        if isinstance(tensor, jax.core.Tracer):
            return None
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.is_symbolic_tensor(tensor):
            return None
    try:
        return keras.ops.convert_to_numpy(tensor)
    except (NotImplementedError, AttributeError):
        return None


def check_outcomes(labels, weight, binary):
    """Raises `ValueError` for known targets that are no outcomes: dense or binary ones other than 0 and 1."""
    known, weights = concrete(labels), concrete(weight)
    if known is None or weights is None or (known.ndim == 1 and not binary):
        return
    known = known[weights != 0]
    soft = (known != 0) & (known != 1)
    if known.ndim == 2:
        soft = soft.any(axis=1) | (known.sum(axis=1) != 1)
    if soft.any():
        raise ValueError(
            "Expected outcomes: integer labels, one-hot targets, or 0 and 1 for P(y=1). Received: "
            f"{known[soft][0]}. A test asks how likely outcomes are; soft targets are none."
        )


def check_no_nan(name, values, advice):
    """Raises `ValueError` when known `values` hold a NaN."""
    known = concrete(values)
    if known is not None and np.isnan(known).any():
        raise ValueError(f"Expected `{name}` without NaN. Received: {int(np.isnan(known).sum())} NaN. {advice}")


def check_unit_interval(name, values, advice="They are fractions of 1."):
    """Raises `ValueError` when known `values` lie outside [0, 1] by more than half precision rounds, NaN among them."""
    known = concrete(values)
    if known is not None and not ((known >= -1e-3) & (known <= 1 + 1e-3)).all():
        raise ValueError(f"Expected {name} in [0, 1]. Received: {known.min()} to {known.max()}. {advice}")


def check_some_weight(weight):
    """Raises `ValueError` when no example has a (known) weight above 0."""
    known = concrete(weight)
    if known is not None and not (known > 0).any():
        raise ValueError("Expected an example of positive weight. Received: a `sample_weight` of 0 everywhere.")


def check_same_shape(teacher, student, what="logits", advice=""):
    """Raises `ValueError` for what teacher and student give in shapes that are known to differ."""
    known = all(a is None or b is None or a == b for a, b in zip(teacher.shape, student.shape))
    if len(teacher.shape) != len(student.shape) or not known:
        raise ValueError(
            f"Expected teacher and student {what} of one shape. "
            f"Received: teacher {tuple(teacher.shape)}, student {tuple(student.shape)}.{advice}"
        )


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
