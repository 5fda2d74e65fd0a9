"""The edge of every function and class: labels, predictions, weights and masks, aligned and checked once.

How what does not fit is told of, eagerly and in graphs, is in `_tensors`.
"""

import functools
import operator

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32, compiled_by_xla
from keras_ls.ops._checks import check_some_weight, concrete
from keras_ls.ops._tensors import NAN_ADVICE, as_tensor, as_weight, classes_last, ragged_steps, refuse
from keras_ls.ops._weights import align_leading, is_not_ignored

LOGITS_ADVICE = "Pass logits through softmax first, or use `from_logits=True` where there is one."
LABELS_ADVICE = "Encode names as integers from 0, in the order of the predictions' classes."
ROUNDING = 0.01  # how far a distribution's sum may be from 1: half precision and printed numbers are rounded


def align_labels(labels, predictions, axis=-1):
    """Integer labels of the rank of `predictions` less one, or dense ones with the classes last; else an error.

    `predictions` have their classes last already; `axis` is where dense labels, or a trailing 1, have theirs.
    """
    labels = as_tensor("labels", labels, LABELS_ADVICE)
    rank = len(predictions.shape)
    if predictions.shape[-1] is not None and predictions.shape[-1] < 2:
        raise ValueError(
            f"Expected predictions over at least two classes. Received shape: {tuple(predictions.shape)}. "
            "For one logit an example, stack it with a zero: softmax([0, z]) is sigmoid(z)."
        )
    if len(labels.shape) == rank:
        labels = classes_last(labels, axis)
        if labels.shape[-1] == 1:
            labels = K.squeeze(labels, axis=-1)
    if len(labels.shape) not in (rank, rank - 1) or not same_shape(labels, predictions):
        raise ValueError(
            "Expected integer labels of the predictions' shape without the class axis, or dense labels of their whole "
            f"shape. Received: labels of shape {tuple(labels.shape)}, predictions of shape {tuple(predictions.shape)} "
            "(classes last)."
        )
    return labels


def same_shape(x, y):
    """Whether the shapes may be the same, as far as they are known, on the axes that both have."""
    return all(a is None or b is None or a == b for a, b in zip(x.shape, y.shape))


def checked_labels(labels, logits, weight=None):
    """Aligned labels of examples with weight, which are classes or distributions; see `checked_distributions`."""
    if len(labels.shape) == len(logits.shape):
        return checked_distributions(labels, weight)
    check_integer_labels(labels, logits.shape[-1], weight=weight)
    return labels


def check_integer_labels(labels, num_classes, ignore_class=None, weight=None):
    """Raises for integer labels of examples with weight outside [0, num_classes), or with a fraction."""
    classes = f"Expected integer labels in [0, {num_classes}), as the predictions have {num_classes} classes."
    mend = "Use `ignore_class` for examples without a label."
    if keras.backend.backend() == "tensorflow" and concrete(labels) is None:
        _assert_whole_in_graph(labels, weight, num_classes, f"{classes} {mend} Received, smallest and largest:")
        return
    values = concrete(labels)
    if values is None:
        return
    wrong = ~((values >= 0) & (values < num_classes))
    if values.dtype.kind not in "iub":
        wrong |= values != np.floor(values)
    if ignore_class is not None:
        wrong &= values != ignore_class
    if weight is not None and concrete(weight) is not None:
        wrong &= np.broadcast_to(concrete(weight) != 0, wrong.shape)
    if wrong.any():
        raise ValueError(f"{classes} Received: {values[wrong].flat[0]}. {mend}")


def checked_distributions(labels, weight=None):
    """Dense labels `[..., K]` of examples with weight as distributions; NaN where XLA hides that they are none."""
    rows = at_least_float32(labels)
    fits = K.logical_and(K.all(rows >= 0, axis=-1), K.abs(K.sum(rows, axis=-1) - 1) < ROUNDING)
    wrong = _of_weight(K.logical_not(fits), weight)
    refuse(
        wrong,
        labels,
        "Expected dense labels as class distributions: no negative numbers, and a sum of 1.",
        "Divide one-hot masks of 0 and 255 by 255. For several labels an example, score each label's P(y=1) on its "
        "own, or divide by their number; P(y=1) of several axes, such as maps, needs a last axis of 1.",
    )
    return K.where(wrong[..., None], K.full_like(rows, np.nan), rows) if compiled_by_xla() else labels


def checked_probabilities(p, weight=None, binary=None, nan_passes=False):
    """Probabilities `[..., K]` of examples with weight, or P(y=1); NaN where XLA hides that they are none.

    `binary` says whether each number is a P(y=1) of its own, as in `[M]`. A known NaN is an error, or with `nan_passes`
    left to the caller.
    """
    binary = len(p.shape) == 1 if binary is None else binary
    rows = at_least_float32(p)
    inside = K.logical_and(rows >= -1e-3, rows <= 1 + 1e-3)  # by more than half precision rounds
    if not binary:
        inside = K.all(inside, axis=-1)
    nan = _of_weight(K.isnan(rows if binary else K.sum(rows, axis=-1)), weight)
    known = concrete(nan)  # in a graph the result is NaN, too
    if known is not None and known.any() and not nan_passes:
        raise ValueError(f"Expected `probabilities` without NaN. Received: {int(known.sum())} NaN. {NAN_ADVICE}")
    outside = K.logical_and(_of_weight(K.logical_not(inside), weight), K.logical_not(nan))
    refuse(outside, p, "Expected `probabilities` in [0, 1].", LOGITS_ADVICE)
    if binary:
        wrong = outside
    else:
        wrong = _of_weight(K.abs(K.sum(rows, axis=-1) - 1) > ROUNDING, weight)
        refuse(
            wrong,
            p,
            "Expected `probabilities` of an example's classes to have a sum of 1.",
            "Divide them by their sum; for independent labels, score each label's P(y=1) on its own.",
        )
        wrong = K.logical_or(wrong, outside)
    if not compiled_by_xla():
        return p
    return K.where(wrong if binary else wrong[..., None], K.full_like(rows, np.nan), rows)


def check_binary_labels(labels, weight=None):
    """Raises for labels of examples with weight that lie outside [0, 1]."""
    labels = at_least_float32(labels)
    outside = _of_weight(K.logical_not(K.logical_and(labels >= 0, labels <= 1)), weight)
    refuse(
        outside,
        labels,
        "Expected binary labels in [0, 1].",
        "Multi-class predictions have one column a class; use `ignore_class` for labels that are not known.",
    )


def probability_examples(labels, probabilities, sample_weight=None, axis=-1):
    """`flatten_examples` of probabilities, some of which have weight."""
    labels, p, weight = flatten_examples(labels, probabilities, sample_weight, axis=axis, from_logits=False)
    check_some_weight(weight)
    return labels, p, weight


def flatten_examples(
    labels, predictions, sample_weight=None, mask=None, ignore_class=None, axis=-1, from_logits=True, dense="labels"
):
    """`flatten_batch` with weights of 1 where there are none."""
    labels, predictions, weight = flatten_batch(
        labels, predictions, sample_weight, mask, ignore_class, axis, from_logits, dense
    )
    return labels, predictions, K.ones(K.shape(predictions)[:1], "float32") if weight is None else weight


def flatten_batch(
    labels, predictions, sample_weight=None, mask=None, ignore_class=None, axis=-1, from_logits=True, dense="labels"
):
    """Flattens leading axes and folds mask and ignored class into the weights.

    Args:
        labels: integers or dense targets for `predictions`.
        predictions: `[..., K]` with K ≥ 2, or K along `axis`; P(y=1) (or its logit) as `[N]` or `[..., 1]`. Ragged ones
            with ragged labels count each of their steps.
        sample_weight: broadcastable to the leading axes, or None.
        mask: boolean, broadcastable likewise; False drops an example.
        ignore_class: label that drops an example, or None.
        axis: the class axis.
        from_logits: False for probabilities, which are checked to be some.
        dense: what dense labels are: "labels", which are checked to be distributions, or "teacher".

    Returns:
        `(labels, predictions, weight)`: predictions `[M, K]` or `[M]`, labels `[M]` or `[M, K]`, weight `[M]` float32,
        or None where every example counts 1. Dropped examples keep their place with weight 0 and label 0.

    Raises:
        ValueError: for what are no numbers, shapes that do not fit, labels out of range, dense labels that are no
            distributions, probabilities that are none, no examples, and negative, infinite or NaN weights.
    """
    labels, predictions, sample_weight = ragged_steps(labels, predictions, sample_weight)
    predictions = as_tensor("predictions", predictions)
    labels = as_tensor("labels", labels, LABELS_ADVICE)
    if 0 in predictions.shape:
        raise ValueError(f"Expected at least one example. Received: predictions of shape {tuple(predictions.shape)}.")
    if len(predictions.shape) == 0:
        raise ValueError("Expected predictions [N], or [..., K]. Received: one number.")
    if len(predictions.shape) > 1:
        if len(labels.shape) == len(predictions.shape):
            labels = classes_last(labels, axis)
        predictions = classes_last(predictions, axis)
    binary = len(predictions.shape) == 1 or predictions.shape[-1] == 1
    if binary:
        labels, predictions = _match_binary(labels, predictions)
        like = predictions
        labels, predictions = K.reshape(labels, (-1,)), K.reshape(predictions, (-1,))
    else:
        labels = align_labels(labels, predictions)
        like = predictions[..., 0]
        classes = predictions.shape[-1]
        labels = K.reshape(labels, (-1, classes) if len(labels.shape) == len(predictions.shape) else (-1,))
        predictions = K.reshape(predictions, (-1, classes))

    factors = [
        K.reshape(K.broadcast_to(align_leading(K.cast(factor, "float32"), like), K.shape(like)), (-1,))
        for factor in (as_weight(sample_weight), mask)
        if factor is not None
    ]
    if ignore_class is not None and len(labels.shape) == 1:
        factors.append(K.cast(is_not_ignored(labels, ignore_class), "float32"))
    weight = functools.reduce(operator.mul, factors) if factors else None
    if binary:
        check_binary_labels(labels, weight)
    elif len(labels.shape) == 1:
        check_integer_labels(labels, predictions.shape[-1], weight=weight)
    elif dense == "labels":
        labels = checked_distributions(labels, weight)
    if not from_logits:
        predictions = checked_probabilities(predictions, weight)
    if factors and len(labels.shape) == 1:
        labels = dropped(labels, weight)
    return labels, predictions, weight


def counted(like, *factors):
    """Where masks and weights, if not None, let an example of the shape of `like` count; None for everywhere."""
    factors = [K.cast(align_leading(factor, like), "bool") for factor in factors if factor is not None]
    return functools.reduce(K.logical_and, factors) if factors else None


def dropped(values, weight):
    """`values` with 0 for the examples of weight 0, whatever stood there (padding may hold NaN)."""
    if weight is None:
        return values
    return K.where(K.cast(weight, "bool"), values, K.zeros_like(values))


def pick(values, labels):
    """`values[..., labels]`; NaN where a label lies outside the classes and tracing hid it from the checks."""
    num_classes = values.shape[-1]
    labels = K.cast(labels, "int32")
    inside = K.logical_and(labels >= 0, labels < num_classes)
    picked = pick_inside(values, K.where(inside, labels, K.zeros_like(labels)))
    return K.where(inside, picked, K.full_like(picked, np.nan))


def pick_inside(values, labels):
    """`values[..., labels]` of int32 labels that are known to be classes."""
    return K.squeeze(K.take_along_axis(values, K.expand_dims(labels, -1), axis=-1), axis=-1)


def _match_binary(labels, predictions):
    if len(labels.shape) == len(predictions.shape) + 1 and labels.shape[-1] == 1:
        labels = K.squeeze(labels, axis=-1)
    if len(predictions.shape) == len(labels.shape) + 1 and predictions.shape[-1] == 1:
        predictions = K.squeeze(predictions, axis=-1)
    if len(labels.shape) != len(predictions.shape) or not same_shape(labels, predictions):
        raise ValueError(
            "Expected one label a prediction for P(y=1) predictions. Received: labels of shape "
            f"{tuple(labels.shape)}, predictions of shape {tuple(predictions.shape)}."
        )
    return labels, predictions


def _of_weight(wrong, weight):
    return wrong if weight is None else K.logical_and(wrong, K.cast(weight, "bool"))


def _assert_whole_in_graph(labels, weight, num_classes, message):
    """Makes a TensorFlow graph that is being traced raise when it runs with labels that are no classes."""
    if isinstance(labels, keras.KerasTensor):
        return
    import tensorflow as tf

    if weight is not None:
        labels = tf.where(tf.cast(weight, "bool"), labels, tf.zeros_like(labels))
    if labels.dtype.is_floating:
        fits = tf.reduce_all((labels >= 0) & (labels < num_classes) & (labels == tf.floor(labels)))
    else:
        labels = tf.cast(labels, "int64")  # the number of classes may not fit in the 8 bits of theirs
    # two numbers for all labels, as comparing each takes longer; of no labels +∞ and -∞, which fit
    least, largest = tf.reduce_min(labels), tf.reduce_max(labels)
    if not labels.dtype.is_floating:
        fits = (least >= 0) & (largest < num_classes)
    tf.raw_ops.Assert(condition=fits, data=[message, least, largest])
