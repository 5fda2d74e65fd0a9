"""Anything a caller may pass as a tensor of numbers, or an error that says what came.

What has values (arrays, lists, eager tensors) and does not fit is a `ValueError`. Traced tensors have none: a
TensorFlow graph gets an assertion, which raises `InvalidArgumentError` when it runs; where XLA compiles it, which
leaves assertions out, what does not fit becomes NaN.
"""

import numbers

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32, compiled_by_xla
from keras_ls.ops._checks import check_same_shape, concrete

NAN_ADVICE = "Find the step that made them: a calibration number must not hide them."


def as_tensor(name, x, mend=""):
    """`x` as a tensor of numbers, or a `ValueError`; variables are read, and lists of numbers have float32 or int64."""
    if isinstance(x, keras.KerasTensor):
        return x
    if isinstance(x, keras.Variable):
        x = x.value
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(x, tf.Variable):
            x = tf.convert_to_tensor(x)
        if tf.is_tensor(x):
            dense = isinstance(x, tf.Tensor)
            if not dense or not (x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool):
                raise _no_numbers(name, f"a {type(x).__name__}" if not dense else f"a {x.dtype.name} tensor", mend)
            return x
    elif K.is_tensor(x):
        if "complex" in str(x.dtype):
            raise _no_numbers(name, f"a {x.dtype} tensor", mend)
        return x
    return K.convert_to_tensor(_as_array(name, x, mend))


def checked_logits(name, x, axis=-1, finite=False):
    """Numbers, at least float32, with the classes put last; known ones without NaN and +inf, with `finite` -inf too."""
    x = classes_last(at_least_float32(as_tensor(name, x)), axis)
    if x.shape[-1] is not None and x.shape[-1] < 2:
        raise ValueError(
            f"Expected `{name}` over at least two classes. Received: shape {tuple(x.shape)} (classes last). For one "
            "logit an example, stack it with a zero: softmax([0, z]) is sigmoid(z)."
        )
    check_numbers(name, x, finite)
    known = concrete(x)
    if known is not None and known.size and (impossible := np.isneginf(known.max(axis=-1))).any():
        raise ValueError(
            f"Expected `{name}` with a class that is possible in every row. Received: -inf for all of them, in "
            f"{int(impossible.sum())} rows."
        )
    return x


def checked_logit_pair(teacher_logits, student_logits, axis=-1, finite=False):
    """`checked_logits` of a teacher and a student, of one shape and, the wider one, dtype."""
    teacher = checked_logits("teacher_logits", teacher_logits, axis, finite)
    student = checked_logits("student_logits", student_logits, axis, finite)
    check_same_shape(teacher, student)
    dtypes = {keras.backend.standardize_dtype(x.dtype) for x in (teacher, student)}
    return tuple(K.cast(x, "float64" if "float64" in dtypes else "float32") for x in (teacher, student))


def checked_features(name, x):
    """Numbers, at least float32; known ones finite."""
    x = at_least_float32(as_tensor(name, x))
    check_numbers(name, x, finite=True)
    return x


def as_weight(sample_weight, name="sample_weight"):
    """Weights, at least float32, or None for None: finite and of at least 0."""
    if sample_weight is None:
        return None
    weight = at_least_float32(as_tensor(name, sample_weight))
    fits = K.logical_and(weight >= 0, weight < float("inf"))
    refuse(
        K.logical_not(fits),
        weight,
        f"Expected `{name}` without negative numbers, infinite ones or NaN.",
        "0 drops an example.",
    )
    return K.where(fits, weight, K.full_like(weight, np.nan)) if compiled_by_xla() else weight


def classes_last(predictions, axis):
    """`predictions` with the class axis moved to the end."""
    rank = len(predictions.shape)
    if rank == 0:
        raise ValueError("Expected predictions [..., K]. Received: one number.")
    if isinstance(axis, bool) or not isinstance(axis, numbers.Integral) or not -rank <= axis < rank:
        raise ValueError(
            f"Expected `axis`, where the classes are, to be an axis of the predictions. Received: axis={axis!r}, "
            f"predictions of shape {tuple(predictions.shape)}."
        )
    return predictions if axis in (-1, rank - 1) else K.moveaxis(predictions, axis, -1)


def ragged_steps(*tensors):
    """The steps of ragged labels, predictions and weights as plain tensors; others as they are."""
    if keras.backend.backend() != "tensorflow":
        return tensors
    import tensorflow as tf

    ragged = [isinstance(x, tf.RaggedTensor) for x in tensors]
    if not (ragged[0] and ragged[1]):
        return tensors  # what is ragged alone is refused
    labels, predictions, weight = tensors
    if labels.ragged_rank != 1 or predictions.ragged_rank != 1:
        raise _no_numbers("predictions", "RaggedTensors that are ragged on several axes", "")
    tf.debugging.assert_equal(
        labels.row_splits, predictions.row_splits, "Expected ragged labels and predictions of the same lengths."
    )
    if ragged[2]:
        weight = weight.flat_values
    elif weight is not None:  # one weight a sequence
        weight = tf.repeat(tf.reshape(as_tensor("sample_weight", weight), (-1,)), predictions.row_lengths())
    return labels.flat_values, predictions.flat_values, weight


def refuse(wrong, values, expected, mend):
    """Raises where something is `wrong`: at once where that is known, else in a TensorFlow graph when it runs."""
    known = concrete(wrong)
    if known is not None:
        if known.any():
            first = concrete(values)[known]
            received = first[0].tolist() if first.ndim > 1 else first.flat[0]
            raise ValueError(f"{expected} Received: {received!s:.200}. {mend}")
    elif keras.backend.backend() == "tensorflow" and not isinstance(wrong, keras.KerasTensor) and not compiled_by_xla():
        import tensorflow as tf

        rows = tf.reshape(values, tf.concat([[-1], tf.shape(values)[len(wrong.shape) :]], 0))
        received = tf.gather(rows, tf.where(tf.reshape(wrong, (-1,)))[:1, 0])
        # the bare operation: `tf.debugging.Assert` adds a conditional function around it
        tf.raw_ops.Assert(
            condition=tf.logical_not(tf.reduce_any(wrong)),
            data=[f"{expected} {mend} Received:", received],
            summarize=20,
        )


def check_numbers(name, x, finite=False):
    """Raises for known numbers that are NaN or +inf; with `finite` for -inf, too."""
    known = concrete(x)
    if known is None:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(known.sum()):  # one number for all
            return
    wrong = ~np.isfinite(known) if finite else np.isnan(known) | np.isposinf(known)
    if wrong.any():
        raise ValueError(
            f"Expected `{name}` {'to be finite numbers' if finite else 'without NaN and +inf'}. "
            f"Received: {known[wrong].flat[0]}, in {int(wrong.sum())} of {known.size} numbers. {NAN_ADVICE}"
        )


def _as_array(name, x, mend):
    try:
        array = np.asarray(x)
    except Exception as error:  # rows of unequal lengths, or tensors that cannot be read
        raise _no_numbers(name, f"a {type(x).__name__} that is no array ({error})", mend) from error
    if array.dtype == object and array.size and all(isinstance(value, numbers.Real) for value in array.flat):
        try:
            array = np.array(array.tolist())
            array = array.astype("float64") if array.dtype == object else array  # integers of more than 64 bits
        except OverflowError as error:
            raise _no_numbers(name, "integers too large for any dtype", mend) from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise _no_numbers(name, _described(x, array), mend)
    if array.dtype == "float64" and not hasattr(x, "__array__"):
        return array.astype(keras.config.floatx())
    if array.dtype.kind in "iu" and array.size and keras.backend.backend() == "jax":
        # JAX would wrap them into 32 bits
        return array.astype("float32") if np.abs(array.astype("float64")).max() > 2**31 - 1 else array
    return array


def _described(x, array):
    if x is None:
        return "None"
    if array.dtype.kind in "US":
        return f"strings, such as {array.flat[0]!s:.40}" if array.size else "strings"
    if array.dtype.kind == "O":
        odd = next((v for v in array.flat if not isinstance(v, numbers.Real)), None)
        return f"objects, such as {odd!r:.60}" if array.size else f"a {type(x).__name__}"
    return f"{array.dtype} values"


def _no_numbers(name, received, mend):
    if "Ragged" in received:
        mend = "Pad it with `to_tensor()` and give a mask or weights of 0 for the padding, or take its `flat_values`."
    elif "Sparse" in received:
        mend = "Make it dense, with `tf.sparse.to_dense`."
    return ValueError(f"Expected `{name}` to be numbers. Received: {received}. {mend}".rstrip())
