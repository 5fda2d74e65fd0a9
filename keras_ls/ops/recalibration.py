"""Logits whose softmax has given probabilities: of every class, or of the predicted one alone."""

import math

from keras import ops as K

from keras_ls.ops.log_odds import leading_class
from keras_ls.ops.precision import at_least_float32

# the predicted class stays ahead by this much: above float32's rounding of log-probabilities, below any use
_LEAD = 1e-5


def logits_of_class_scores(logits, scores, floor):
    """Log of each class's score, divided by their sum.

    `z'_k = log max(s_k / Σ_j s_j, floor)`; a row whose scores are all 0 keeps `softmax(z)` instead.

    Args:
        logits: z, `[..., K]`.
        scores: s, calibrated class after class, `[..., K]` in [0, 1].
        floor: the least probability.

    Returns:
        `[..., K]`, finite.

    Examples:
        >>> from keras_ls.ops.recalibration import logits_of_class_scores
        >>> z = logits_of_class_scores([[1.0, 0.0]], [[0.6, 0.2]], 1e-7)
        >>> round(float(z[0, 0] - z[0, 1]), 5)  # log 3
        1.09861
    """
    scores = at_least_float32(scores)
    total = K.sum(scores, axis=-1, keepdims=True)
    empty = total == 0
    shares = K.where(empty, K.softmax(at_least_float32(logits), axis=-1), scores / K.where(empty, 1.0, total))
    return K.log(K.maximum(shares, floor))


def logits_of_confidence(logits, confidence, floor):
    """Logits that give the predicted class the probability `confidence`, and the others the rest, in proportion.

    `p'_t = c` for the predicted class t, and `p'_j = p_j (1 - c) / (1 - p_t)`; none below `floor`. The decision stays:
    where c would put t behind another class, t stays ahead of it by a factor of 1 + 1e-5.

    Args:
        logits: `[..., K]`.
        confidence: c, `[..., 1]` in [0, 1].
        floor: the least probability.

    Returns:
        `[..., K]`, finite.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.ops.recalibration import logits_of_confidence
        >>> z = logits_of_confidence(np.log([[0.8, 0.15, 0.05]]), [[0.6]], 1e-7)
        >>> [round(float(p), 6) for p in np.exp(z)[0]]  # .4 split 3 : 1
        [0.6, 0.3, 0.1]
    """
    logits = at_least_float32(logits)
    confidence = K.cast(confidence, logits.dtype)
    largest, top, rest = leading_class(logits)
    is_top = K.arange(logits.shape[-1], dtype="int32") == K.expand_dims(top, -1)
    share = logits - K.expand_dims(largest, -1) - K.expand_dims(rest, -1)  # log p_j / (1 - p_t)
    others = K.maximum(K.log(K.maximum(1 - confidence, floor)) + share, math.log(floor))
    others = K.where(is_top, math.log(floor), others)
    runner_up = K.max(others, axis=-1, keepdims=True)
    return K.where(is_top, K.maximum(K.log(K.maximum(confidence, floor)), runner_up + _LEAD), others)


def logit_of_probability(probability, floor):
    """`log p - log(1 - p)`, with p and 1 - p at least `floor`.

    Args:
        probability: any shape.
        floor: the least probability of either outcome.

    Returns:
        The shape of `probability`, finite.

    Examples:
        >>> from keras_ls.ops.recalibration import logit_of_probability
        >>> round(float(logit_of_probability(0.8, 1e-7)), 5)  # log 4
        1.38629
    """
    p = at_least_float32(probability)
    return K.log(K.maximum(p, floor)) - K.log(K.maximum(1 - p, floor))
