"""One flat list of examples from whatever a Keras model, a mask and sample weights give."""

import functools
import operator

from keras import ops as K

from keras_ls.ops.checks import check_binary_labels, check_integer_labels, concrete
from keras_ls.ops.lean import argmax
from keras_ls.ops.masks import align_leading, is_not_ignored
from keras_ls.ops.precision import at_least_float32
from keras_ls.ops.smoothing import align_labels, pick
from keras_ls.ops.xla import compiled_by_xla


def flatten_examples(labels, predictions, sample_weight=None, mask=None, ignore_class=None):
    """`flatten_batch` with weights of 1 where there are none."""
    labels, predictions, weight = flatten_batch(labels, predictions, sample_weight, mask, ignore_class)
    return labels, predictions, K.ones(K.shape(predictions)[:1], "float32") if weight is None else weight


def flatten_batch(labels, predictions, sample_weight=None, mask=None, ignore_class=None):
    """Flattens leading axes and folds mask and ignored class into the weights.

    Args:
        labels: integers or dense targets for `predictions`.
        predictions: `[..., K]` with K ≥ 2, or P(y=1) (or its logit) as `[N]` or `[..., 1]`.
        sample_weight: broadcastable to the leading axes, or None.
        mask: boolean, broadcastable likewise; False drops an example.
        ignore_class: label that drops an example, or None.

    Returns:
        `(labels, predictions, weight)`: predictions `[M, K]` or `[M]`, labels `[M]` or `[M, K]`, weight `[M]` float32,
        or None where every example counts 1. Dropped examples keep their place with weight 0 and label 0.

    Raises:
        ValueError: for shapes that do not fit, labels out of range, no examples, or negative weights.
    """
    predictions = K.convert_to_tensor(predictions)
    labels = K.convert_to_tensor(labels)
    if 0 in predictions.shape:
        raise ValueError(f"Expected at least one example. Received: predictions of shape {tuple(predictions.shape)}.")
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

    integer = len(labels.shape) == 1 and not binary
    factors = [
        K.reshape(K.broadcast_to(align_leading(K.cast(factor, "float32"), like), K.shape(like)), (-1,))
        for factor in (sample_weight, mask)
        if factor is not None
    ]
    if ignore_class is not None and len(labels.shape) == 1:
        factors.append(K.cast(is_not_ignored(labels, ignore_class), "float32"))
    weight = functools.reduce(operator.mul, factors) if factors else None
    known = concrete(weight)
    if known is not None and not (known >= 0).all():
        raise ValueError(f"Expected `sample_weight` without negative numbers or NaN. Received: {known.min()}.")
    if integer:
        check_integer_labels(labels, predictions.shape[-1], weight=weight)
    if binary:
        check_binary_labels(labels, weight)
    if factors and len(labels.shape) == 1:
        labels = dropped(labels, weight)
    return labels, predictions, weight


def dropped(values, weight):
    """`values` with 0 for the examples of weight 0, whatever stood there (padding may hold NaN)."""
    if weight is None:
        return values
    return K.where(weight != 0, values, K.zeros_like(values))


def to_probabilities(predictions, from_logits):
    """Softmax (`[M, K]`) or sigmoid (`[M]`) of logits; probabilities stay what they are."""
    if not from_logits:
        return predictions
    predictions = at_least_float32(predictions)
    return K.sigmoid(predictions) if len(predictions.shape) == 1 else K.softmax(predictions, axis=-1)


def as_two_classes(labels, predictions, from_logits):
    """Dense labels and predictions `[M, 2]` for those of P(y=1), `[M]`; others as they are."""
    if len(predictions.shape) > 1:
        return labels, predictions
    p = at_least_float32(predictions)
    both = [K.zeros_like(p), p] if from_logits else [1 - p, p]  # softmax([0, z]) is sigmoid(z)
    y = K.cast(labels, p.dtype)
    return K.stack([1 - y, y], axis=-1), K.stack(both, axis=-1)


def confidence_and_accuracy(labels, predictions, from_logits=False):
    """Top-label confidence and its hit for `[M, K]`; P(y=1) and y for `[M]`.

    A dense target counts with the probability that it gives to the predicted class. A NaN anywhere in a row is a NaN
    confidence, and so is a label out of range.
    """
    if len(predictions.shape) == 1:
        return to_probabilities(predictions, from_logits), at_least_float32(labels)
    predicted, confidence = _top_label(predictions, from_logits)
    if len(labels.shape) == 2:
        return confidence, pick(at_least_float32(labels), predicted)
    labels = K.cast(labels, "int32")
    hit = at_least_float32(labels == predicted)
    if compiled_by_xla():  # elsewhere `flatten_batch` raises
        inside = K.logical_and(labels >= 0, labels < predictions.shape[-1])
        hit = K.where(inside, hit, K.full_like(hit, float("nan")))
    return confidence, hit


def _top_label(predictions, from_logits):
    # what finds the largest may pass over NaN, so that it is added
    if not compiled_by_xla():
        p = to_probabilities(predictions, from_logits)
        nan = 0 * (p[:, 0] if from_logits else K.sum(p, axis=-1))
        return argmax(predictions), K.max(p, axis=-1) + nan
    z = at_least_float32(predictions) if from_logits else predictions
    top = K.max(z, axis=-1, keepdims=True)
    # XLA finds the index of the largest one by one, but the least of many numbers many at a time
    classes = K.arange(z.shape[-1], dtype="int32")
    predicted = K.min(K.where(z == top, classes, z.shape[-1]), axis=-1)
    if from_logits:
        return predicted, 1 / K.sum(K.exp(z - top), axis=-1)
    return predicted, top[:, 0] + 0 * K.sum(z, axis=-1)


def _match_binary(labels, predictions):
    if len(labels.shape) == len(predictions.shape) + 1 and labels.shape[-1] == 1:
        labels = K.squeeze(labels, axis=-1)
    if len(predictions.shape) == len(labels.shape) + 1 and predictions.shape[-1] == 1:
        predictions = K.squeeze(predictions, axis=-1)
    fits = all(a is None or b is None or a == b for a, b in zip(labels.shape, predictions.shape))
    if len(labels.shape) != len(predictions.shape) or not fits:
        raise ValueError(
            "Expected one label a prediction for P(y=1) predictions. Received: labels of shape "
            f"{tuple(labels.shape)}, predictions of shape {tuple(predictions.shape)}."
        )
    return labels, predictions
