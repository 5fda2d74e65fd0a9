"""Logits of calibrated probabilities: of each class, of a confidence, without losing what lies near 0 and 1."""

import math

from keras import ops as K

from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._inputs import pick_inside

# -inf logits rule classes out: as finite numbers their differences are no NaN
_FARTHEST = 1e30


def log_odds(logits):
    """Log-odds of each class against all others.

    `u_k = log p_k - log(1 - p_k) = z_k - log Σ_{j≠k} exp z_j`

    They have the order of the probabilities, and tell apart what rounds to the same probability: two confidences of
    1.0 may be 1 - 1e-8 and 1 - 1e-9.

    Args:
        logits: `[..., K]`.

    Returns:
        `[..., K]`, at least float32, within ±1e30. A NaN makes its row NaN.

    Examples:
        Probabilities (0.8, 0.1, 0.1): log(0.8 / 0.2) = log 4, log(0.1 / 0.9) = -log 9.

        >>> from keras_ls.calibrators.log_odds import log_odds
        >>> import numpy as np
        >>> [round(float(u), 5) for u in log_odds(np.log([[0.8, 0.1, 0.1]]))[0]]
        [1.38629, -2.19722, -2.19722]
    """
    logits = at_least_float32(logits)
    largest, top, rest = leading_class(logits)
    is_top = K.arange(logits.shape[-1], dtype="int32") == K.expand_dims(top, -1)
    return log_odds_of_class(logits, is_top, K.expand_dims(largest, -1), K.expand_dims(rest, -1))


def leading_class(logits):
    """What the log-odds of any class need to know of its row.

    Args:
        logits: `[..., K]`, at least float32.

    Returns:
        `(largest, top, rest)`, each `[...]`: the largest logit z_t, its (first) class t, int32, and
        `log Σ_{j≠t} exp(z_j - z_t)`.

    Examples:
        >>> from keras_ls.calibrators.log_odds import leading_class
        >>> largest, top, rest = leading_class([[1.0, 3.0, 1.0]])
        >>> float(largest[0]), int(top[0]), round(float(rest[0]), 5)  # log(2 exp(-2))
        (3.0, 1, -1.30685)
    """
    logits = at_least_float32(logits)
    top = K.cast(K.argmax(logits, axis=-1), "int32")
    largest = pick_inside(logits, top)
    is_top = K.arange(logits.shape[-1], dtype="int32") == K.expand_dims(top, -1)
    behind = K.maximum(logits - K.expand_dims(largest, -1), -_FARTHEST)
    # the sum with the top class shows a NaN that argmax passed over
    rest = K.logsumexp(K.where(is_top, -_FARTHEST + 0 * behind, behind), axis=-1)
    return largest, top, rest


def log_odds_of_class(logit, is_top, largest, rest):
    """`log_odds` of one class of each row (or of several, with the row's numbers as `[..., 1]`).

    Args:
        logit: the logits of the class.
        is_top: where the class is the row's leading one.
        largest: see `leading_class`.
        rest: likewise.

    Returns:
        The log-odds, of the shape of `logit`.

    Examples:
        >>> from keras_ls.calibrators.log_odds import leading_class, log_odds_of_class
        >>> largest, top, rest = leading_class([[1.0, 3.0, 1.0]])
        >>> round(float(log_odds_of_class(1.0, False, largest, rest)[0]), 5)  # 1 - log(exp 3 + exp 1)
        -2.12693
    """
    behind = K.maximum(at_least_float32(logit) - largest, -_FARTHEST)
    # of the leading class nothing is subtracted from 1: others = Σ_{j≠k} exp(z_j - z_t) is ≥ 1 for all but that one
    others = K.where(is_top, rest, K.log(K.maximum(1 + K.exp(rest) - K.exp(behind), 1)))
    return K.clip(behind - others, -_FARTHEST, _FARTHEST)


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
        >>> from keras_ls.calibrators.log_odds import logits_of_class_scores
        >>> z = logits_of_class_scores([[1.0, 0.0]], [[0.6, 0.2]], 1e-7)
        >>> round(float(z[0, 0] - z[0, 1]), 5)  # log 3
        1.09861
    """
    scores = at_least_float32(scores)
    total = K.sum(scores, axis=-1, keepdims=True)
    empty = total == 0
    shares = K.where(empty, K.softmax(at_least_float32(logits), axis=-1), scores / K.where(empty, 1.0, total))
    return K.log(K.maximum(shares, floor))


def logits_of_confidence(logits, confidence, floor, leading=None):
    """Logits that give the predicted class the probability `confidence`, and the others the rest, in proportion.

    `p'_t = c` for the predicted class t, and `p'_j = p_j (1 - c) / (1 - p_t)`; none below `floor`. The decision stays:
    where c would put t behind another class, t stays ahead of it by a factor of 1 + 1e-5.

    Args:
        logits: `[..., K]`.
        confidence: c, `[..., 1]` in [0, 1].
        floor: the least probability.
        leading: `leading_class(logits)`, where it is known.

    Returns:
        `[..., K]`, finite.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.calibrators.log_odds import logits_of_confidence
        >>> z = logits_of_confidence(np.log([[0.8, 0.15, 0.05]]), [[0.6]], 1e-7)
        >>> [round(float(p), 6) for p in np.exp(z)[0]]  # 0.4 split 3 : 1
        [0.6, 0.3, 0.1]
    """
    logits = at_least_float32(logits)
    confidence = K.cast(confidence, logits.dtype)
    largest, top, rest = leading_class(logits) if leading is None else leading
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
        >>> from keras_ls.calibrators.log_odds import logit_of_probability
        >>> round(float(logit_of_probability(0.8, 1e-7)), 5)  # log 4
        1.38629
    """
    p = at_least_float32(probability)
    return K.log(K.maximum(p, floor)) - K.log(K.maximum(1 - p, floor))
