"""Calibration errors and proper scores of whole arrays of predictions; the metrics stream the same formulas."""

from typing import Literal

import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32, compiled_by_xla, to_accumulation_dtype
from keras_ls.ops._checks import (
    checked_choice,
    checked_count,
    checked_flag,
    concrete,
)
from keras_ls.ops._inputs import dropped, probability_examples
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import are_counts, effective_size
from keras_ls.ops.binning import bin_statistics, quantile_bin_index, uniform_bin_index
from keras_ls.ops.crossentropy import subtract_at

MOST_BINS = 1_000_000


def calibration_error(
    labels: Tensor,
    probabilities: Tensor,
    num_bins: int = 15,
    binning: Literal["uniform", "quantile"] = "uniform",
    norm: Literal["l1", "l2", "max"] = "l1",
    closed: Literal["left", "right"] = "left",
    debiased: bool = False,
    sample_weight: Tensor | None = None,
    axis: int = -1,
) -> Tensor:
    """Binned calibration error: of the top label for `[N, K]`, of P(y=1) for `[N]`.

    With n_m the weight of bin m, n the total, acc_m and conf_m the weighted means over the bin:

    - `norm="l1"`: `ECE = Σ_m n_m/n |acc_m - conf_m|`
    - `norm="l2"`: `sqrt(Σ_m n_m/n (acc_m - conf_m)²)`; `debiased=True` subtracts `acc_m (1 - acc_m) / (n_m - 1)` from
      each square, leaves out bins of one example and floors the sum at 0 (where any weight is no whole number, n_m in
      this is Kish's effective sample size `(Σ w)² / Σ w²` of the bin)
    - `norm="max"`: the largest `|acc_m - conf_m|` of a bin that is not empty

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened.
        num_bins: B ≥ 1.
        binning: "uniform" (equal width) or "quantile" (equal mass).
        norm: "l1", "l2" or "max".
        closed: the side on which a bin includes its edge, "left" or "right".
        debiased: needs `norm="l2"`.
        sample_weight: `[N]`, or None. An integer weight counts as that many examples. Where any is no whole number, the
            scale of the weights says nothing.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A scalar in [0, 1]: a difference of probabilities.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, NaN, or no examples.

    Examples:
        >>> import keras_ls as kls
        >>> p, y = [0.5, 0.5, 0.5, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6], [0, 1, 0, 1, 0, 1, 1, 1, 0]
        >>> [round(float(kls.ops.calibration_error(y, p, norm=norm)), 6) for norm in ("l1", "l2")]
        [0.222222, 0.223607]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017; Kumar, Liang and Ma, "Verified Uncertainty
        Calibration", 2019 (debiased). Equal-mass bins: Nguyen and O'Connor, 2015.
    """
    checked_calibration_options(num_bins, binning, norm, closed, debiased)
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    confidence, accuracy = confidence_and_accuracy(labels, probabilities)
    confidence = dropped(confidence, weight)  # NaN of padding would upset the order of the others
    if binning == "uniform":
        index = uniform_bin_index(confidence, num_bins, closed)
    else:
        index = quantile_bin_index(confidence, weight, num_bins, closed)
    statistics = bin_statistics(index, confidence, accuracy, weight, num_bins, squares=debiased)
    examples = examples_of_bins(statistics, are_counts(weight)) if debiased else None
    return calibration_error_of_bins(statistics[:3], norm, debiased, examples)


def examples_of_bins(statistics, counts):
    """`[..., B]`: how many examples each bin of `[4, ..., B]` sums stands for, which have the squares of the weights.

    Args:
        statistics: as `bin_statistics(..., squares=True)` returns them.
        counts: `[...]` boolean: whether the weights are counts.
    """
    n, squares = statistics[0], statistics[3]
    return K.where(K.expand_dims(counts, -1), n, effective_size(n, squares))


def calibration_error_of_bins(statistics, norm="l1", debiased=False, examples=None):
    """The calibration error of `[3, ..., B]` sums of weight, weight · accuracy and weight · confidence.

    Args:
        statistics: as `bin_statistics` returns them.
        norm: "l1", "l2" or "max".
        debiased: see `calibration_error`. The only option that the scale of the weights matters to.
        examples: `[..., B]`, how many examples the weight of each bin stands for, where `debiased`. None for the weight
            itself, which then is a count.

    Returns:
        `[...]`, a scalar for `[3, B]`; 0 where all bins are empty.

    Raises:
        ValueError: with `debiased`, for weights that are no whole numbers without `examples`.

    Examples:
        One bin of 4 with 3 hits at confidence 0.9: `|0.75 - 0.9|`.

        >>> import keras_ls as kls
        >>> from keras_ls.ops.calibration import calibration_error_of_bins
        >>> round(float(calibration_error_of_bins([[4.0], [3.0], [3.6]])), 6)
        0.15
    """
    n, hits, confidence = K.unstack(to_accumulation_dtype(statistics), 3)
    total = K.sum(n, axis=-1)
    if norm == "l1":
        return _ratio(K.sum(K.abs(hits - confidence), axis=-1), total)
    gap = _ratio(hits - confidence, n)
    if norm == "max":
        return K.max(K.abs(gap), axis=-1) + 0 * K.sum(gap, axis=-1)  # max alone may pass over NaN
    square = gap * gap
    if debiased:
        accuracy = _ratio(hits, n)
        size = _checked_counts(n) if examples is None else to_accumulation_dtype(examples)
        several = K.logical_not(size <= 1 + 1e-6)  # NaN too, which must show; an effective size may round above 1
        variance = _ratio(accuracy * (1 - accuracy), K.where(several, size - 1, K.ones_like(size)))
        square = K.where(several, square - variance, K.zeros_like(square) * square)
    return K.sqrt(K.maximum(_ratio(K.sum(n * square, axis=-1), total), 0))


def brier_score(labels: Tensor, probabilities: Tensor, sample_weight: Tensor | None = None, axis: int = -1) -> Tensor:
    """Brier score: mean squared distance of the probabilities from the target.

    `BS = 1/n Σ_i Σ_k (p_ik - y_ik)²` for `[N, K]`, in [0, 2]; `1/n Σ_i (p_i - y_i)²` for P(y=1) as `[N]`, in [0, 1].

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened.
        sample_weight: `[N]`, or None; the scale of the weights says nothing.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A scalar, the weighted mean; 0 is perfect.

    Raises:
        ValueError: for shapes or labels that do not fit, NaN, or no examples.

    Examples:
        `(0.14 + 0.24 + 0.86) / 3`:

        >>> import keras_ls as kls
        >>> p = [[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]]
        >>> round(float(kls.ops.brier_score([1, 0, 2], p)), 6)
        0.413333

    Reference:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    distance = squared_distance(labels, probabilities)
    return weighted_mean(distance, weight)


def squared_distance(labels, probabilities):
    """`Σ_k (p_k - y_k)²` an example for `[M, K]`, `(p - y)²` for `[M]`.

    Args:
        labels: `[M]` integers or `[M, K]` dense; `[M]` in [0, 1] for P(y=1).
        probabilities: `[M, K]` or `[M]`.

    Returns:
        `[M]`, at least float32.

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.calibration import squared_distance
        >>> round(float(squared_distance([0], [[0.6, 0.4]])[0]), 6)
        0.32
    """
    labels, p = K.convert_to_tensor(labels), at_least_float32(probabilities)
    if len(p.shape) == 1:
        return K.square(p - K.cast(labels, p.dtype))
    if len(labels.shape) == 2:
        return K.sum(K.square(p - K.cast(labels, p.dtype)), axis=-1)
    # not Σ_k p_k² + 1 - 2 p_y: where p_y is near 1 that leaves only rounding, even below 0
    inside = K.clip(K.cast(labels, "int32"), 0, p.shape[-1] - 1)
    distance = K.sum(K.square(subtract_at(p, inside, 1.0)), axis=-1)
    if compiled_by_xla():  # elsewhere a label out of range raises
        distance = K.where(K.cast(labels, "int32") == inside, distance, K.full_like(distance, np.nan))
    return distance


def weighted_mean(values, weight):
    """`Σ w v / Σ w` with the examples of weight 0 left out, whatever their values."""
    weight = to_accumulation_dtype(weight)
    return _ratio(K.sum(weight * to_accumulation_dtype(dropped(values, weight))), K.sum(weight))


def checked_calibration_options(num_bins, binning, norm, closed, debiased):
    """Raises `ValueError` for options that `calibration_error` does not know."""
    checked_count("num_bins", num_bins, maximum=MOST_BINS)
    checked_choice("binning", binning, ["uniform", "quantile"])
    checked_choice("norm", norm, ["l1", "l2", "max"])
    checked_choice("closed", closed, ["left", "right"])
    if checked_flag("debiased", debiased) and norm != "l2":
        raise ValueError(f"Expected `norm='l2'` with `debiased=True`. Received: norm={norm!r}.")


def _checked_counts(n):
    known = concrete(n)
    broken = None if known is None else known[known != np.floor(known)]
    if broken is not None and broken.size:
        raise ValueError(
            "Expected whole numbers of examples in the bins with `debiased=True`. Received: a weight of "
            f"{broken.flat[0]:g}. Pass `examples`, how many examples each weight stands for: for weights w that are no "
            "counts, (Σ w)² / Σ w² of the bin."
        )
    return K.where(are_counts(n), n, K.full_like(n, np.nan))


def _ratio(numerator, denominator):
    # 0 where there is nothing, and NaN (not 0) where the numerator is NaN
    empty = denominator == 0
    return K.where(empty, K.zeros_like(numerator), numerator / K.where(empty, K.ones_like(denominator), denominator))
