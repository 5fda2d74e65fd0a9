"""What a reliability diagram draws, computed: the bins of predictions, their edges and intervals."""

import numpy as np
from scipy.special import betaincinv

from keras_ls.ops._checks import check_no_nan, check_some_weight, check_unit_interval, concrete
from keras_ls.ops._inputs import flatten_examples
from keras_ls.ops._predictions import confidence_and_accuracy, to_probabilities
from keras_ls.ops._tensors import NAN_ADVICE
from keras_ls.ops._weights import to_effective_counts
from keras_ls.ops.binning import bin_statistics, quantile_bin_index, uniform_bin_index
from keras_ls.ops.calibration import checked_calibration_options


def bins_of_predictions(labels, logits, num_bins, binning, closed, from_logits, sample_weight, axis=-1):
    """Returns `(weight, accuracy, confidence, edges)` of predictions, the means NaN where a bin is empty."""
    checked_calibration_options(num_bins, binning, "l1", closed, False)
    examples = examples_of_predictions(labels, logits, from_logits, sample_weight, axis)
    return bins_of_examples(*examples, num_bins, binning, closed)


def examples_of_predictions(labels, logits, from_logits, sample_weight, axis=-1):
    """Returns `(confidence, accuracy, weight)`, NumPy `[M]`, of the predictions whose weight is not 0.

    The weights are as `to_effective_counts` has them.
    """
    labels, logits, weight = flatten_examples(labels, logits, sample_weight, axis=axis, from_logits=from_logits)
    check_some_weight(weight)
    arrays = (*confidence_and_accuracy(labels, to_probabilities(logits, from_logits)), weight)
    kept = concrete(weight) != 0
    confidence, accuracy, weight = (concrete(array)[kept] for array in arrays)
    check_no_nan("logits" if from_logits else "probabilities", confidence, NAN_ADVICE)
    check_unit_interval("`probabilities`", confidence, "Pass `from_logits=True` for logits.")
    return confidence, accuracy, to_effective_counts(weight)


def bins_of_examples(confidence, accuracy, weight, num_bins, binning, closed):
    """Returns `(weight, accuracy, confidence, edges)` of examples, the means NaN where a bin is empty."""
    if binning == "uniform":
        index = uniform_bin_index(confidence, num_bins, closed)
        edges = np.arange(num_bins + 1) / num_bins
    else:
        index = quantile_bin_index(confidence, weight, num_bins, closed)
        edges = _quantile_edges(concrete(index), confidence, num_bins, closed)
    sums = concrete(bin_statistics(index, confidence, accuracy, weight, num_bins))
    means = sums[1:] / np.where(sums[0] > 0, sums[0], np.nan)
    return sums[0], means[0], means[1], edges


def cells_of_examples(confidence, accuracy, weight, num_cells):
    """Returns `[3, F]`: sums of weight, weight · accuracy, weight · confidence over F cells of equal width."""
    index = uniform_bin_index(confidence, num_cells)
    return concrete(bin_statistics(index, confidence, accuracy, weight, num_cells))


def jeffreys_interval(count, mean, level=0.95):
    """`[2, B]`: quantiles of `Beta(½ + hits, ½ + misses)`; 0 without a hit, 1 without a miss, NaN without a count."""
    hits, misses = np.maximum(count * mean, 0), np.maximum(count * (1 - mean), 0)
    low, high = (betaincinv(hits + 0.5, misses + 0.5, tail) for tail in ((1 - level) / 2, (1 + level) / 2))
    # the mean lies inside, also that of soft targets or fractions of an example
    low = np.where(hits == 0, 0.0, np.minimum(low, mean))
    high = np.where(misses == 0, 1.0, np.maximum(high, mean))
    return np.where(count > 0, [low, high], np.nan)


def _quantile_edges(index, confidence, num_bins, closed):
    # an inner edge is an example's confidence: the lowest from its bin on, or the highest of the bins before
    if closed == "left":
        inner = [confidence[index >= k].min() for k in range(1, num_bins)]
    else:
        inner = [confidence[index < k].max() for k in range(1, num_bins)]
    return np.array([confidence.min(), *inner, confidence.max()])
