"""Class-wise calibration: of the probability of every class, not of the predicted one alone."""

from typing import Literal

from keras import ops as K

from keras_ls.ops._backend import at_least_float32, mean
from keras_ls.ops._checks import checked_choice, checked_fraction
from keras_ls.ops._inputs import pick, probability_examples
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import are_counts
from keras_ls.ops.binning import bin_statistics, quantile_bin_index, uniform_bin_index
from keras_ls.ops.calibration import (
    calibration_error_of_bins,
    checked_calibration_options,
    examples_of_bins,
)


def classwise_calibration_error(
    labels: Tensor,
    probabilities: Tensor,
    num_bins: int = 15,
    binning: Literal["uniform", "quantile"] = "uniform",
    norm: Literal["l1", "l2", "max"] = "l1",
    closed: Literal["left", "right"] = "left",
    debiased: bool = False,
    threshold: float = 0.0,
    average: Literal["macro"] | None = "macro",
    sample_weight: Tensor | None = None,
    axis: int = -1,
) -> Tensor:
    """Calibration error of each class's probability, `p_k` against `[y = k]`, and its mean over the classes.

    `1/K Σ_k Σ_m n_km/n_k |freq_km - conf_km|`, with n_km the weight of the examples whose `p_k` lies in bin m, freq_km
    how often class k was the label there, conf_km their mean `p_k`, and n_k the weight of all that count for class k.
    With uniform bins this is the static calibration error (SCE), also called class-wise ECE; with `binning="quantile"`
    the adaptive one (ACE), and with a threshold besides the thresholded adaptive one (TACE).

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened. P(y=1) = p counts as two classes, `(1 - p, p)`.
        num_bins: B ≥ 1, for each class.
        binning: "uniform" (equal width), or "quantile" (equal mass, of the class's own probabilities).
        norm: "l1", "l2" or "max", as for `calibration_error`, within each class.
        closed: the side on which a bin includes its edge, "left" or "right".
        debiased: needs `norm="l2"`.
        threshold: ε in [0, 1): only `p_k > ε` count for class k, in its bins and in n_k; 0 counts all, zeros too. A
            class for which none count has an error of 0.
        average: "macro" for the mean over the classes, None for one error a class.
        sample_weight: `[N]`, or None. An integer weight counts as that many examples. Where any (of those that count
            for a class) is no whole number, the scale of the weights says nothing, as for `calibration_error`.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A scalar in [0, 1], or `[K]` with `average=None`: differences of probabilities.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, NaN, or no examples.

    Examples:
        Class 1 has 0.1 and 0.4 in one of two bins and 0.7 in the other, hit in one of two and in one of one:
        `2/3 |1/2 - 0.25| + 1/3 |1 - 0.7|`; so does its mirror image, class 0.

        >>> import keras_ls as kls
        >>> error = kls.ops.classwise_calibration_error([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]], num_bins=2)
        >>> round(float(error), 6)
        0.266667

    Reference:
        Nixon et al., "Measuring Calibration in Deep Learning", 2019 (SCE, ACE, TACE; there each equal-mass range counts
        alike, here by its mass, which differs where ties or rounding make masses differ); Kull et al., "Beyond
        Temperature Scaling", 2019 (class-wise ECE).
    """
    checked_calibration_options(num_bins, binning, norm, closed, debiased)
    threshold = checked_fraction("threshold", threshold)
    checked_choice("average", average, ["macro", None])
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    targets, probabilities = classwise_targets(labels, probabilities)
    weight = classwise_weight(probabilities, weight, threshold)
    if binning == "uniform":
        index = uniform_bin_index(probabilities, num_bins, closed)
    else:
        columns = zip(K.unstack(probabilities, axis=1), K.unstack(weight, axis=1))
        index = K.stack([quantile_bin_index(p, w, num_bins, closed) for p, w in columns], axis=1)
    statistics = classwise_bin_statistics(index, probabilities, targets, weight, num_bins, squares=debiased)
    examples = examples_of_bins(statistics, are_counts(weight, axis=0)) if debiased else None
    errors = calibration_error_of_bins(statistics[:3], norm, debiased, examples)
    return errors if average is None else mean(errors)


def classwise_bin_statistics(index, probabilities, targets, weight, num_bins, squares=False):
    """`bin_statistics` of each class.

    Args:
        index: bin of each class's probability, `[N, K]` int32.
        probabilities: `[N, K]`.
        targets: `[N, K]`.
        weight: `[N, K]`.
        num_bins: B.
        squares: whether to add the sums of the squared weights.

    Returns:
        `[3, K, B]`: sums of the weight, of weight · target and of weight · probability, and with `squares` `[4, K, B]`;
        float64 (float32 on JAX).

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.classwise import classwise_bin_statistics
        >>> p, y, w = [[0.25, 0.75]], [[0.0, 1.0]], [[1.0, 1.0]]
        >>> statistics = classwise_bin_statistics([[0, 1]], p, y, w, num_bins=2)
        >>> [[[float(v) for v in row] for row in rows] for rows in statistics]
        [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]], [[0.25, 0.0], [0.0, 0.75]]]
    """
    index = K.cast(index, "int32")
    num_classes = index.shape[-1]
    index = index + num_bins * K.arange(num_classes, dtype="int32")  # the bins of one class after those of another
    flat = (K.reshape(x, (-1,)) for x in (index, probabilities, targets, weight))
    return K.reshape(bin_statistics(*flat, num_classes * num_bins, squares), (3 + squares, num_classes, num_bins))


def classwise_targets(labels, probabilities):
    """`[M, K]` targets and probabilities; of P(y=1) those of classes 0 and 1. NaN where a label is out of range."""
    p = at_least_float32(probabilities)
    if len(p.shape) == 1:
        y = K.cast(labels, p.dtype)
        return K.stack([1 - y, y], axis=-1), K.stack([1 - p, p], axis=-1)
    if len(labels.shape) == 2:
        return K.cast(labels, p.dtype), p
    hit = K.one_hot(K.cast(labels, "int32"), p.shape[-1], dtype=p.dtype)
    return hit + 0 * K.expand_dims(pick(p, labels), -1), p


def classwise_weight(probabilities, weight, threshold):
    """`[M, K]` weights: 0 where a probability does not exceed the threshold, unless that is 0. NaN counts as above."""
    shape = K.shape(probabilities)
    weight = K.ones_like(probabilities) if weight is None else K.broadcast_to(weight[:, None], shape)
    return weight if threshold == 0 else K.where(probabilities <= threshold, K.zeros_like(weight), weight)
