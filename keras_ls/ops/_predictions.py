"""What flat predictions say: probabilities, the predicted class, its confidence and whether it is right."""

from keras import ops as K

from keras_ls.ops._backend import argmax, at_least_float32, compiled_by_xla
from keras_ls.ops._inputs import pick


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
    if compiled_by_xla():  # elsewhere `check_integer_labels` raises
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
