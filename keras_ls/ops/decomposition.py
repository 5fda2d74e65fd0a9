"""What the Brier score consists of: calibration and refinement, in parts that add up exactly."""

from typing import Any, Literal, NamedTuple

from keras import ops as K

from keras_ls.ops._backend import at_least_float32, divide_no_nan, segment_sum, to_accumulation_dtype
from keras_ls.ops._inputs import dropped, pick, probability_examples
from keras_ls.ops._types import Tensor
from keras_ls.ops.binning import quantile_bin_index, uniform_bin_index
from keras_ls.ops.calibration import checked_calibration_options


class BrierDecomposition(NamedTuple):
    """Parts of a Brier score, `reliability - resolution + uncertainty + within_bin_variance - within_bin_covariance`.

    Attributes:
        reliability: how far the mean probabilities of the bins lie from what happened in them; 0 is calibrated.
        resolution: how much what happened differs between the bins; more is better.
        uncertainty: variance of the targets, which no predictor changes.
        within_bin_variance: of the probabilities of one bin.
        within_bin_covariance: of the probabilities and targets of one bin, twice.

    Examples:
        >>> import keras_ls as kls
        >>> parts = kls.ops.BrierDecomposition(0.02, 0.1, 0.25, 0.01, 0.03)
        >>> round(parts.calibration, 6), round(parts.refinement, 6), round(parts.brier_score, 6)
        (0.02, 0.13, 0.15)
    """

    reliability: Any
    resolution: Any
    uncertainty: Any
    within_bin_variance: Any
    within_bin_covariance: Any

    @property
    def calibration(self) -> Tensor:
        """What recalibrating the bins could gain: the reliability."""
        return self.reliability

    @property
    def refinement(self) -> Tensor:
        """What would be left: `uncertainty - resolution`, and what the bins hide."""
        return self.uncertainty - self.resolution + self.within_bin_variance - self.within_bin_covariance

    @property
    def brier_score(self) -> Tensor:
        """`calibration + refinement`."""
        return self.calibration + self.refinement


def brier_decomposition(
    labels: Tensor,
    probabilities: Tensor,
    sample_weight: Tensor | None = None,
    num_bins: int = 15,
    binning: Literal["uniform", "quantile"] = "uniform",
    closed: Literal["left", "right"] = "left",
    axis: int = -1,
) -> BrierDecomposition:
    """Murphy's decomposition of the Brier score, with the terms within the bins that make it exact.

    With n_m the weight of bin m, n the total, `p̄_m` and `ȳ_m` the means over bin m, `ȳ` that over all:

    - reliability `Σ_m n_m/n (p̄_m - ȳ_m)²`
    - resolution `Σ_m n_m/n (ȳ_m - ȳ)²`
    - uncertainty `1/n Σ_i (y_i - ȳ)²`, which is `ȳ (1 - ȳ)` for labels 0 and 1
    - within-bin variance `1/n Σ_i (p_i - p̄_m(i))²`
    - within-bin covariance `2/n Σ_i (p_i - p̄_m(i)) (y_i - ȳ_m(i))`

    The first less the second plus the third is the Brier score only where all probabilities of a bin are equal. With
    the other two it always is: `BS = calibration + refinement`, calibration being the reliability. For `[N, K]` each
    class is decomposed in bins of its own probabilities, and the parts are summed over the classes, as the Brier score
    is. Few examples a bin raise reliability and resolution alike: compare models on the same bins and examples.

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened.
        sample_weight: `[N]`, or None. An integer weight counts as that many examples. The scale of the weights says
            nothing, but for the edges of equal-mass bins where all are whole numbers: see `quantile_bin_index`.
        num_bins: B ≥ 1.
        binning: "uniform" (equal width) or "quantile" (equal mass).
        closed: the side on which a bin includes its edge, "left" or "right".
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A `BrierDecomposition` of scalars, squared differences of probabilities; `.calibration`, `.refinement` and
        `.brier_score` are sums of them.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, NaN, or no examples.

    Examples:
        Two bins: 0.2 and 0.4 with hits 0 and 1, 0.8 twice with two hits. `p̄` 0.3 and 0.8, `ȳ` 0.5 and 1.

        >>> import keras_ls as kls
        >>> parts = kls.ops.brier_decomposition([0, 1, 1, 1], [0.2, 0.4, 0.8, 0.8], num_bins=2)
        >>> [round(float(part), 6) for part in parts]
        [0.04, 0.0625, 0.1875, 0.005, 0.05]
        >>> round(float(parts.brier_score), 6)  # (0.04 + 0.36 + 0.04 + 0.04) / 4
        0.12

    Reference:
        Murphy, "A New Vector Partition of the Probability Score", 1973; Stephenson, Coelho and Jolliffe, "Two Extra
        Components in the Brier Score Decomposition", 2008.
    """
    checked_calibration_options(num_bins, binning, "l1", closed, False)
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    probabilities = at_least_float32(probabilities)
    if len(probabilities.shape) == 1:
        columns = [(labels, probabilities)]
    else:
        targets = _targets(labels, probabilities)
        columns = [(targets[:, k], probabilities[:, k]) for k in range(probabilities.shape[-1])]
    # class after class: the memory stays that of one
    parts = [_binary_parts(y, p, weight, num_bins, binning, closed) for y, p in columns]
    return BrierDecomposition(*(sum(part) for part in zip(*parts)))


def _targets(labels, p):
    if len(labels.shape) == 2:
        return labels
    # NaN where a label is out of range and tracing hid it
    return K.one_hot(K.cast(labels, "int32"), p.shape[-1], dtype=p.dtype) + 0 * pick(p, labels)[:, None]


def _binary_parts(y, p, weight, num_bins, binning, closed):
    p = dropped(p, weight)
    if binning == "uniform":
        index = uniform_bin_index(p, num_bins, closed)
    else:
        index = quantile_bin_index(p, weight, num_bins, closed)
    weight, p = to_accumulation_dtype(weight), to_accumulation_dtype(p)
    y = dropped(to_accumulation_dtype(y), weight)
    sums = segment_sum(K.stack([weight, weight * p, weight * y], axis=-1), index, num_bins)
    share = sums[:, 0] / K.sum(weight)
    bin_p, bin_y = divide_no_nan(sums[:, 1], sums[:, 0]), divide_no_nan(sums[:, 2], sums[:, 0])
    fraction = weight / K.sum(weight)
    mean_y = K.sum(fraction * y)
    p_within, y_within = p - K.take(bin_p, index), y - K.take(bin_y, index)
    return (
        K.sum(share * K.square(bin_p - bin_y)),
        K.sum(share * K.square(bin_y - mean_y)),
        K.sum(fraction * K.square(y - mean_y)),
        K.sum(fraction * K.square(p_within)),
        2 * K.sum(fraction * p_within * y_within),
    )
