"""Selective classification: what risk remains when a model answers only where it is sure."""

from keras import ops as K

from keras_ls.ops._backend import at_least_float32, cumsum, divide_no_nan, segment_sum, to_accumulation_dtype
from keras_ls.ops._inputs import dropped, probability_examples
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import are_counts, number_of_examples

_MANY = 2.0**30  # examples: any more do not move the area


def risk_coverage_area(
    labels: Tensor, probabilities: Tensor, sample_weight: Tensor | None = None, axis: int = -1
) -> Tensor:
    """Area under the risk-coverage curve (AURC): the mean risk over all coverages.

    `AURC = 1/n Σ_{i=1}^{n} (errors among the i most confident) / i`. Examples of equal confidence cannot be told apart
    by it: the value is the expectation over their order, so that it does not depend on the order of the examples.

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened. Confidence is that of the predicted class:
            `max_k p_k`, or `max(p, 1 - p)`.
        sample_weight: `[N]`, or None. An integer weight counts as that many examples. Where any is no whole number, the
            scale of the weights says nothing: they are made to sum to the number of those above 0.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A scalar in [0, 1], lower is better: 0 without errors, the error rate where confidence says nothing.

    Raises:
        ValueError: for shapes or labels that do not fit, NaN, or no examples.

    Examples:
        Right at 0.9, wrong at 0.8, right at 0.7: `(0/1 + 1/2 + 1/3) / 3`.

        >>> import keras_ls as kls
        >>> p = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]
        >>> round(float(kls.ops.risk_coverage_area([0, 1, 0], p)), 6)
        0.277778

    Reference:
        Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", 2019; of label
        smoothing: Xia et al., "Towards Understanding Why Label Smoothing Degrades Selective Classification and How to
        Fix It", 2025.
    """
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    return risk_coverage_area_of_examples(*predicted_confidence_and_accuracy(labels, probabilities), weight)


def risk_coverage_area_of_examples(confidence, accuracy, weight):
    """`risk_coverage_area` of the predicted classes' confidence, whether each is right, and weights, all `[M]`."""
    doubt = -to_accumulation_dtype(dropped(confidence, weight))
    # the doubt of each example stands for a group, which all that are equally confident are in; the others are empty
    group = K.searchsorted(K.sort(doubt), doubt, side="left")
    examples = number_of_examples(weight)
    weight = to_accumulation_dtype(weight)
    failed = weight * dropped(1 - to_accumulation_dtype(accuracy), weight)
    groups = segment_sum(K.stack([weight, failed], axis=-1), K.cast(group, "int32"), K.shape(weight)[0])
    return risk_coverage_area_of_groups(K.transpose(groups), examples) + 0 * K.sum(doubt)


def risk_coverage_area_of_groups(statistics, examples=None):
    """The area under the risk-coverage curve of groups of examples that cannot be told apart, most confident first.

    With s examples, e of them wrong, in a group, and b before it, f of them wrong:
    `1/n Σ_groups Σ_{j=1}^{s} (f + j e/s) / (b + j)`.

    Args:
        statistics: `[2, G]`: the weight of each group, and the weight of its errors. Empty groups add nothing.
        examples: n, how many examples the weights stand for. None for their sum where the groups hold whole numbers,
            and otherwise for very many, as the scale of weights that are no counts says nothing.

    Returns:
        A scalar; 0 without examples.

    Examples:
        Two right, then three of which one is wrong: `(0 + 0 + (1/3)/3 + (2/3)/4 + 1/5) / 5`.

        >>> import keras_ls as kls
        >>> from keras_ls.ops.selective import risk_coverage_area_of_groups
        >>> round(float(risk_coverage_area_of_groups([[2.0, 3.0], [0.0, 1.0]])), 6)
        0.095556
    """
    size, failed = K.unstack(to_accumulation_dtype(statistics), 2)
    total = K.sum(size)
    if examples is None:
        examples = K.where(are_counts(size), total, K.full_like(total, _MANY))
    scale = divide_no_nan(to_accumulation_dtype(examples), total)
    size, failed = scale * size, scale * failed
    covered = cumsum(size)
    before, failed_before = covered - size, cumsum(failed) - failed
    rate = divide_no_nan(failed, size)
    # the sum of (failed_before + j · rate) / (before + j) over j = 1 ... size
    risks = size * rate + (failed_before - before * rate) * _harmonic_difference(before, size)
    return divide_no_nan(K.sum(risks), covered[-1])


def predicted_confidence_and_accuracy(labels, probabilities):
    """`confidence_and_accuracy` of the predicted class for P(y=1) too: `max(p, 1 - p)`."""
    confidence, accuracy = confidence_and_accuracy(labels, at_least_float32(probabilities))
    if len(probabilities.shape) == 1:  # predicted as Keras's accuracy has it
        positive = confidence > 0.5
        confidence = K.where(positive, confidence, 1 - confidence)
        accuracy = K.where(positive, accuracy, 1 - accuracy)
    return confidence, accuracy


def _harmonic_difference(start, size):
    """`Σ_{j=1}^{size} 1 / (start + j)`, which is `ψ(start + size + 1) - ψ(start + 1)` for fractions too.

    Ten steps of the recurrence, then the asymptotic series of ψ, each as a difference: nothing is lost where `size` is
    small beside `start`.
    """
    a, b = start + 1, start + size + 1
    steps = sum(size / ((a + j) * (b + j)) for j in range(10))
    a, b = a + 10, b + 10
    odd = size / (2 * a * b)
    even = (1 / a - 1 / b) * (1 / a + 1 / b) / 12
    fourth = (1 / a - 1 / b) * (1 / a + 1 / b) * (1 / (a * a) + 1 / (b * b)) / 120
    sixth = (1 / a**6 - 1 / b**6) / 252
    return steps + K.log1p(size / a) + odd + even - fourth + sixth
