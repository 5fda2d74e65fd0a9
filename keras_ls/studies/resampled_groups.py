"""Bootstrap intervals of many examples from sums over groups of them: their cost hardly grows with the examples.

Resampling draws counts of examples, and examples that a score can hardly tell apart may be counted together: whole
weights are counts (`ops.bootstrap_interval`), so that the bootstrap of the groups is that of examples moved to the mean
of their group. Up to `MOST_ROWS` examples nothing is grouped.
"""

import numpy as np
from keras import ops as K

from keras_ls.ops._predictions import to_probabilities
from keras_ls.ops.binning import FINE_CELLS, bin_statistics, fine_cell_index, uniform_bin_index
from keras_ls.ops.calibration import calibration_error_of_bins
from keras_ls.ops.classwise import classwise_targets

MOST_ROWS = 2 * FINE_CELLS  # examples up to which resamples are of single ones
BLOCKS = 4096
_BLOCK = 1 << 20  # predictions that are read at once
_MOST_COPIES = 1 << 26


def counts_of(weight):
    """The weights as counts of examples, float64; None where they are none. Equal weights are 1."""
    weight = np.asarray(weight, "float64")
    for counts in (weight, weight / weight.max()):
        if (counts == np.floor(counts)).all():
            return counts
    return None


def group_examples(accuracy, confidence, weight, num_bins, num_cells=FINE_CELLS):
    """Examples of one fine cell of confidence, of one bin and of equal accuracy as one example that counts as often.

    The confidence of a group is the mean of its cell, which a bin edge never crosses. In a resample it is off by less
    than the width of a cell, at most 1/2048: so are the sums of confidence in the bins of equal width, where weights
    and hits are exact, and the l1 error of those bins and the smooth error. Bins of equal mass and ranks cannot tell
    apart what is in one cell, as those of the metrics (`merge_into_quantile_bins` has the bound).

    Args:
        accuracy: `[N]`.
        confidence: `[N]` in [0, 1].
        weight: `[N]`.
        num_bins: B, bins of equal width.
        num_cells: F, fine cells.

    Returns:
        `(accuracy, confidence, weight)` `[G]` with G = 2 (F + B - 1), some of weight 0; the arguments themselves for
        at most `MOST_ROWS` examples, weights that are no counts, and accuracies of soft labels.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.studies.resampled_groups import group_examples
        >>> accuracy = np.arange(10000) % 4 > 0
        >>> hit, confidence, count = group_examples(accuracy * 1.0, np.full(10000, 0.75), np.ones(10000), 15)
        >>> [(float(h), float(c), int(n)) for h, c, n in zip(hit, confidence, count) if n]
        [(0.0, 0.75, 2500), (1.0, 0.75, 7500)]
    """
    counts = counts_of(weight)
    if len(weight) <= MOST_ROWS or counts is None or not np.isin(accuracy, (0, 1)).all():
        return accuracy, confidence, weight
    # both indices ascend with confidence: where either differs, so does their sum
    cell = K.convert_to_numpy(fine_cell_index(confidence, num_cells) + uniform_bin_index(confidence, num_bins))
    size = num_cells + num_bins - 1
    total, hits, sums = (np.bincount(cell, counts * x, size) for x in (1.0, accuracy, confidence))
    mean = (sums / np.maximum(total, 1)).astype("float32")  # rounded as the edges of the bins are
    outcome = np.repeat(np.array([0, 1], "float32"), size)
    return outcome, np.tile(mean, 2), np.concatenate([total - hits, hits])


def group_values(values, weight):
    """Values in one of 4,096 intervals of equal width as their mean, which counts as often.

    The variance of a resampled mean loses that within the intervals, of the values' range r at most `r² / (4 · 4096²)`
    an example.

    Args:
        values: `[N]`.
        weight: `[N]`.

    Returns:
        `(values, weight)` `[4096]`, some of weight 0; the arguments themselves for at most `MOST_ROWS` values, weights
        that are no counts, and infinite values.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.studies.resampled_groups import group_values
        >>> values, counts = group_values(np.arange(10000) % 2, np.ones(10000))
        >>> values[counts > 0].tolist(), counts[counts > 0].tolist()
        ([0.0, 1.0], [5000.0, 5000.0])
    """
    counts = counts_of(weight)
    least, span = values[weight > 0].min(), np.ptp(values[weight > 0])
    if len(values) <= MOST_ROWS or counts is None or not np.isfinite(span):
        return values, weight
    values = np.where(weight > 0, values, least).astype("float64")
    cell = np.minimum((values - least) * (FINE_CELLS / max(span, 1e-300)), FINE_CELLS - 1).astype(int)
    total, sums = np.bincount(cell, counts, FINE_CELLS), np.bincount(cell, counts * values, FINE_CELLS)
    return sums / np.maximum(total, 1), total


def resampled_classwise_errors(labels, logits, weight, num_bins, num_resamples, seed):
    """Class-wise calibration errors of resamples of 4,096 random blocks of examples: NumPy `[R]`, or None.

    What the error is made of, sums over the bins of each class, adds up over examples: a resample of M blocks is one
    row of `counts[R, M] @ sums[M, 3 K B]`. Blocks of independent examples, drawn at random, are independent and alike
    themselves, and the variance over their resamples is that of single examples in expectation (with a relative
    standard deviation of √(2/M), 2 %).

    Args:
        labels: `[N]` or `[N, K]`.
        logits: `[N, K]`, or `[N]`.
        weight: `[N]`; counts are repeated examples.
        num_bins: B.
        num_resamples: R.
        seed: of blocks and resamples.

    Returns:
        The errors; None where counts stand for more than 2²⁶ examples.

    Examples:
        Always 0.5, and half of the examples of each class:

        >>> import numpy as np
        >>> from keras_ls.studies.resampled_groups import resampled_classwise_errors
        >>> y = np.arange(10000) % 2
        >>> errors = resampled_classwise_errors(y, np.zeros((10000, 2)), np.ones(10000), 15, 50, 0)
        >>> bool(abs(errors.mean() - 0.005 * np.sqrt(2 / np.pi)) < 0.002)  # |a normal number of deviation 1 / √(4 N)|
        True
    """
    counts, rng = counts_of(weight), np.random.default_rng(seed)
    if counts is None:
        copies = np.flatnonzero(weight)
    elif counts.sum() <= _MOST_COPIES:
        copies, weight = np.repeat(np.arange(len(counts)), counts.astype(int)), np.ones(len(counts), "float32")
    else:
        return None
    order, blocks = rng.permutation(copies), min(BLOCKS, len(copies))
    starts = len(order) * np.arange(blocks + 1) // blocks
    classes = 2 if logits.ndim == 1 else logits.shape[1]
    share = max(1, _BLOCK // classes * blocks // len(order))
    sums = []
    for first in range(0, blocks, share):
        edges = starts[first : first + share + 1]
        rows, block = order[edges[0] : edges[-1]], np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        targets, p = classwise_targets(labels[rows], to_probabilities(K.convert_to_tensor(logits[rows]), True))
        bins = K.convert_to_numpy(uniform_bin_index(p, num_bins)) + num_bins * np.arange(classes)
        index = (bins + num_bins * classes * block[:, None]).ravel().astype("int32")
        flat = K.reshape(p, (-1,)), K.reshape(targets, (-1,)), np.repeat(weight[rows], classes)
        found = K.convert_to_numpy(bin_statistics(index, *flat, (len(edges) - 1) * classes * num_bins))
        sums.append(found.reshape(3, len(edges) - 1, classes * num_bins))
    sums = np.concatenate(sums, axis=1)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=num_resamples).astype("float64")
    resampled = np.stack([(drawn @ part).reshape(num_resamples, classes, num_bins) for part in sums])
    return K.convert_to_numpy(calibration_error_of_bins(resampled)).mean(axis=-1)
