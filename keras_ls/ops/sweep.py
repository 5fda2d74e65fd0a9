"""The calibration error with as many bins as the data allow: the most for which accuracy rises with confidence."""

from typing import Literal

import numpy as np
from keras import ops as K

from keras_ls.ops._inputs import dropped, probability_examples
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import are_counts, number_of_examples
from keras_ls.ops.binning import bin_statistics, quantile_bin_index, uniform_bin_index
from keras_ls.ops.calibration import calibration_error, checked_calibration_options

# counts may sum to more than could be tried: at least so many bins are, and four for each confidence that occurs
MOST_BINS = 1 << 10


def sweep_calibration_error(
    labels: Tensor,
    probabilities: Tensor,
    binning: Literal["uniform", "quantile"] = "quantile",
    norm: Literal["l1", "l2", "max"] = "l1",
    closed: Literal["left", "right"] = "left",
    sample_weight: Tensor | None = None,
    axis: int = -1,
) -> Tensor:
    """Calibration error with the number of bins chosen by the data: `calibration_error` with `monotone_bins` bins.

    More bins make the estimate less blind and more noisy; the noise shows when the accuracies of the bins cease to
    rise with confidence. For arrays, not inside a traced function.

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened.
        binning: "quantile" (equal mass) or "uniform" (equal width).
        norm: "l1", "l2" or "max", as for `calibration_error`.
        closed: the side on which a bin includes its edge, "left" or "right".
        sample_weight: `[N]`, or None, as for `monotone_bins`.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A scalar in [0, 1]: a difference of probabilities.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, NaN, or no examples.

    Examples:
        One bin: `|3/4 - 0.75|`. Two: ½ at 0.65 and 1 at 0.85. Three would have accuracies 1, 0, 1.

        >>> import keras_ls as kls
        >>> p, y = [0.6, 0.7, 0.8, 0.9], [1, 0, 1, 1]
        >>> round(float(kls.ops.sweep_calibration_error(y, p)), 6)
        0.15

    Reference:
        Roelofs, Cain, Shlens and Mozer, "Mitigating Bias in Calibration Error Estimation", 2022.
    """
    num_bins = monotone_bins(labels, probabilities, binning, closed, sample_weight, axis)
    return calibration_error(
        labels, probabilities, num_bins, binning, norm, closed, sample_weight=sample_weight, axis=axis
    )


def monotone_bins(
    labels: Tensor,
    probabilities: Tensor,
    binning: Literal["uniform", "quantile"] = "quantile",
    closed: Literal["left", "right"] = "left",
    sample_weight: Tensor | None = None,
    axis: int = -1,
) -> int:
    """The largest B such that with 1, 2, ... and B bins the accuracy never falls from a bin to the next.

    Empty bins are passed over. B is at most the number of examples, which it is when no example contradicts: every one
    right, for instance. Of more than 1024 examples it is at most 1024 or, where that is more, four times the number of
    different confidences. For arrays, not inside a traced function.

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened.
        binning: "quantile" (equal mass) or "uniform" (equal width).
        closed: the side on which a bin includes its edge, "left" or "right".
        sample_weight: `[N]`, or None. An integer weight counts as that many examples. Where any is no whole number, the
            scale of the weights says nothing: they stand for as many examples as are above 0.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        B, a Python integer.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, NaN, or no examples.

    Examples:
        >>> import keras_ls as kls
        >>> kls.ops.monotone_bins([1, 0, 1, 1], [0.6, 0.7, 0.8, 0.9])
        2

    Reference:
        Roelofs, Cain, Shlens and Mozer, "Mitigating Bias in Calibration Error Estimation", 2022.
    """
    checked_calibration_options(1, binning, "l1", closed, False)
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    confidence, accuracy = confidence_and_accuracy(labels, probabilities)
    confidence, accuracy = dropped(confidence, weight), dropped(accuracy, weight)
    examples = K.convert_to_numpy(number_of_examples(weight))
    # accuracies differ by rounding, which of weights that are no whole numbers is theirs too
    rounding = 1e-9 if K.convert_to_numpy(are_counts(weight)) else 1e-6
    values, cells = np.unique(K.convert_to_numpy(confidence), return_inverse=True)
    most = min(max(1, round(float(examples))), max(4 * len(values), MOST_BINS))
    # equal confidences share every bin: one cell each, and if these do not fall, no merging of them makes bins that do
    cell_sums = K.convert_to_numpy(bin_statistics(cells, confidence, accuracy, weight, len(values)))
    if _rises(cell_sums, rounding):
        return most
    for num_bins in range(2, most + 1):
        if binning == "uniform":
            index = uniform_bin_index(values, num_bins, closed)
        else:
            index = quantile_bin_index(values, cell_sums[0], num_bins, closed, examples)
        index = K.convert_to_numpy(index)
        if not _rises(np.stack([np.bincount(index, row, num_bins) for row in cell_sums]), rounding):
            return num_bins - 1
    return most


def _rises(sums, rounding):
    weight, hits, _ = sums[:, sums[0] > 0].astype("float64")
    return bool((np.diff(hits / weight) >= -rounding).all())
