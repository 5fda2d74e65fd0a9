"""Input validation: every message says what was expected, what came and what to do."""

import difflib
import numbers

import keras
import numpy as np


def checked_fraction(name, value):
    """Returns `value` as a float in [0, 1), or raises `ValueError`."""
    if not _is_number(value) or not 0.0 <= float(value) < 1.0:
        raise ValueError(f"Expected `{name}` in [0, 1). Received: {value!r}.")
    return float(value)


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


def checked_count(name, value, minimum=1):
    """Returns `value` as an int of at least `minimum`, or raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise ValueError(f"Expected `{name}` to be an integer of at least {minimum}. Received: {value!r}.")
    return int(value)


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


def checked_choice(name, value, choices):
    """Returns `value` when it is one of `choices`; the error names the nearest valid one."""
    choices = list(choices)
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Expected `{name}` to be one of {', '.join(map(repr, choices))}. Received: {value!r}.{hint}")


def checked_prior(prior, num_classes=None):
    """Returns a class distribution as float64 NumPy (or None), or raises `ValueError`."""
    if prior is None:
        return None
    try:
        values = np.asarray(prior, dtype="float64")
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
        rates = np.asarray(prior, dtype="float64")
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


def check_integer_labels(labels, num_classes, ignore_class=None, weight=None):
    """Raises `ValueError` for labels outside [0, num_classes) when their values are known.

    Inside a traced function the values are not known: there a TensorFlow graph raises `InvalidArgumentError` when it
    runs, and where XLA compiles it (which leaves assertions out) the callers turn such an example's result into NaN.
    """
    values = concrete(labels)
    if values is None:
        _assert_in_graph(
            labels,
            weight,
            lambda least, largest: (least >= 0) & (largest < num_classes),
            f"Expected integer labels in [0, {num_classes}), as the predictions have {num_classes} classes. "
            "Use `ignore_class` for examples without a label.",
        )
        return
    wrong = (values < 0) | (values >= num_classes) | (values != np.floor(values))
    if ignore_class is not None:
        wrong &= values != ignore_class
    weights = concrete(weight)
    if weights is not None and weights.shape == wrong.shape:
        wrong &= weights != 0
    if wrong.any():
        raise ValueError(
            f"Expected integer labels in [0, {num_classes}), as the predictions have {num_classes} classes. "
            f"Received: {values[wrong].flat[0]}. Use `ignore_class` for examples without a label."
        )


def check_binary_labels(labels, weight=None):
    """Raises for labels of examples with weight that lie outside [0, 1]: when, is as for `check_integer_labels`."""
    expected = "Expected binary labels in [0, 1]."
    advice = "Multi-class predictions have one column a class; use `ignore_class` for labels that are not known."
    known, weights = concrete(labels), concrete(weight)
    if known is None or (weight is not None and weights is None):
        _assert_in_graph(labels, weight, lambda least, largest: (least >= 0) & (largest <= 1), f"{expected} {advice}")
        return
    known = known if weights is None else known[weights != 0]
    if known.size and not ((known >= 0) & (known <= 1)).all():
        raise ValueError(f"{expected} Received: {known.min()} to {known.max()}. {advice}")


def _assert_in_graph(labels, weight, fit, message):
    """Makes a TensorFlow graph that is being traced raise when it runs with labels whose range does not `fit`."""
    if keras.backend.backend() != "tensorflow" or isinstance(labels, keras.KerasTensor):
        return
    import tensorflow as tf

    if not labels.dtype.is_floating:
        labels = tf.cast(labels, "int64")  # the number of classes may not fit in the 8 bits of theirs
    if weight is not None:
        labels = tf.where(weight != 0, labels, tf.zeros_like(labels))
    # two numbers for all labels, as comparing each takes longer; of no labels +∞ and -∞, which fit
    least, largest = tf.reduce_min(labels), tf.reduce_max(labels)
    # the bare operation: `tf.debugging.Assert` adds a conditional function around it
    received = [f"{message} Received, smallest and largest:", least, largest]
    tf.raw_ops.Assert(condition=fit(least, largest), data=received)


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
