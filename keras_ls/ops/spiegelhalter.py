"""Spiegelhalter's test: is the Brier score what the predictions themselves expect it to be?"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32, to_accumulation_dtype
from keras_ls.ops._checks import check_outcomes
from keras_ls.ops._inputs import dropped, pick, probability_examples
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import are_counts, to_counts

# Keras before 3.15 has no erfc: there a p-value below 1e-16 is 0
_erfc = getattr(K, "erfc", None) or (lambda x: 1 - K.erf(x))
# probabilities that float32 cannot tell apart: where an example has no others, only rounding would be tested
_EQUAL = 4 * float(np.finfo("float32").eps)


class SpiegelhalterTest(NamedTuple):
    """Result of `spiegelhalter_test`.

    Attributes:
        statistic: z, standard normal under calibration; above 0 over-confident, below 0 under-confident.
        p_value: two-sided.
    """

    statistic: Any
    p_value: Any


def spiegelhalter_test(
    labels: Tensor, probabilities: Tensor, sample_weight: Tensor | None = None, axis: int = -1
) -> SpiegelhalterTest:
    """Tests calibration by the distance of the Brier score from its expectation under the predictions.

    An outcome drawn from the prediction p has a Brier score `Σ_k p_k² - 2 p_y + 1` of mean `1 - Σ_k p_k²` and of
    variance `4 Var(p_y) = 4 Σ_k p_k (p_k - s)²` with `s = Σ_k p_k²`. Over all examples

    `z = Σ_i w_i (s_i - p_i,y_i) / sqrt(Σ_i v_i Σ_k p_ik (p_ik - s_i)²)`,

    which for two classes is Spiegelhalter's `Σ (y - p)(1 - 2p) / sqrt(Σ (1 - 2p)² p (1 - p))`. z is about standard
    normal when the predictions are calibrated, and all K probabilities count, not only the largest. The test is
    two-sided: a z far below 0 means predictions that are less sure than they could be, and they are not calibrated
    either. Errors of both signs can cancel in z, so that a large p-value proves nothing.

    Whole-number weights are counts: `v = w`. Other weights belong to one outcome each, `v = w²`, and their scale says
    nothing.

    Args:
        labels: integers or one-hot targets; `[N]` of 0 and 1 for P(y=1).
        probabilities: `[N, K]`, divided by their sum, or `[N]`; leading axes are flattened.
        sample_weight: `[N]`, or None.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        `(statistic, p_value)`, scalars: z, and the probability of one as far from 0. Without any information (every
        example predicts all its classes alike) z is 0 and the p-value 1; where an outcome had probability 0 and no
        variance is left, z is infinite and the p-value 0.

    Raises:
        ValueError: for shapes or labels that do not fit, targets that are no outcomes, NaN, or no examples.

    Examples:
        Ten predictions of 0.9, nine right: `z ∝ 9 (0.82 - 0.9) + (0.82 - 0.1) = 0`. All ten right:
        `10 (-0.08) / sqrt(0.576)`.

        >>> import keras_ls as kls
        >>> z, p_value = kls.ops.spiegelhalter_test([1] * 9 + [0], [0.9] * 10)
        >>> abs(round(float(z), 4)), round(float(p_value), 4)
        (0.0, 1.0)
        >>> round(float(kls.ops.spiegelhalter_test([1] * 10, [0.9] * 10).statistic), 4)
        -1.0541

    Reference:
        Spiegelhalter, "Probabilistic Prediction in Patient Management and Clinical Trials", 1986.
    """
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    check_outcomes(labels, weight, binary=len(probabilities.shape) == 1)
    p = to_accumulation_dtype(at_least_float32(probabilities))
    if len(p.shape) == 1:
        p = K.stack([1 - p, p], axis=-1)
    p = dropped(p, weight[:, None])
    total = K.sum(p, axis=-1, keepdims=True)
    p = p / K.where(weight[:, None] == 0, K.ones_like(total), total)
    expected = K.sum(p * p, axis=-1, keepdims=True)
    deviation = expected - p
    rounding = _EQUAL * expected
    alike = K.sum(p * K.square(deviation), axis=-1, keepdims=True) <= K.square(rounding)
    deviation = K.where(K.logical_and(alike, K.abs(deviation) <= rounding), 0 * deviation, deviation)
    if len(labels.shape) == 2:
        labels = K.argmax(labels, axis=-1)
    counts = are_counts(weight)
    weight = to_counts(weight)  # whose squares are within the range of any dtype
    excess = K.sum(weight * dropped(pick(deviation, labels), weight))
    variance = K.sum(K.where(counts, weight, weight * weight) * K.sum(p * K.square(deviation), axis=-1))
    nothing = excess == 0
    z = excess / K.where(nothing, K.ones_like(variance), K.sqrt(variance))
    return SpiegelhalterTest(z, _erfc(K.abs(z) / 2**0.5))
