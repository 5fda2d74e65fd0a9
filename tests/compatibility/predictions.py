"""Data on which libraries agree, and data on which they do not: edges of bins, and confidences of exactly 0 and 1."""

import numpy as np

from keras_ls.ops.binning import bin_statistics
from keras_ls.ops.calibration import calibration_error_of_bins


def binary(kind, dtype):
    """Labels and P(y=1): "random", "tenths" (on the edges of ten bins) or "sure" (a third each 0, 1 and random)."""
    rng = np.random.default_rng(0)
    p = rng.random(600)
    if kind == "tenths":
        p = np.round(p * 10) / 10
    if kind == "sure":
        p[:200], p[200:400] = 0, 1
    # errors of both signs, so that a confidence in the wrong bin shows
    labels = rng.random(600) < np.clip(p + 0.15 * np.cos(31 * p), 0, 1)
    return labels.astype("int64"), p.astype(dtype)


def multi_class(dtype, saturated=False):
    """Labels and `[600, 4]` probabilities; of the saturated ones half are one-hot."""
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(4, 0.5), 600)
    if saturated:
        p[::2] = np.eye(4)[p[::2].argmax(axis=1)]
    return rng.integers(0, 4, 600), p.astype(dtype)


def statistics_of(index, labels, p, num_bins):
    """Our statistics of bins that another library would choose."""
    return bin_statistics(index, p.astype("float64"), labels, np.ones(len(p)), num_bins)


def error_of(index, labels, p, num_bins, norm="l1"):
    """Our calibration error of bins that another library would choose."""
    return float(calibration_error_of_bins(statistics_of(index, labels, p, num_bins), norm))
