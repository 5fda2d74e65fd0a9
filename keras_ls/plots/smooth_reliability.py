"""The smooth reliability curve: the gap at every confidence, without bins, and how sure it is.

Examples are counted in fine cells once. Smoothing cells with a Gaussian that is reflected at 0 and 1 is a product in
the cosine basis (the heat equation between two walls): a curve, or hundreds of resampled ones, are a few transforms.
"""

import numpy as np
from scipy.fft import dct, idct

from keras_ls.ops._checks import checked_count
from keras_ls.ops.smooth_calibration import smooth_calibration_error
from keras_ls.plots.reliability_bins import cells_of_examples
from keras_ls.plots.saved_data import as_numbers

NUM_CELLS = 1000
KEPT = slice(2, None, 5)  # the middle of every five cells is a point of the curve
NARROWEST = 1 / 200  # bandwidth: what such a curve resolves
LEVEL = 0.95
CURVES = ("confidence", "accuracy", "low", "high")
NUMBERS = ("bandwidth", "error")


def smooth_reliability(confidence, accuracy, weight, resamples, seed):
    """Returns the curve `t + Σ w K(t, c) (a - c) / Σ w K(t, c)` of examples, with a bootstrap band.

    K is the Gaussian reflected at 0 and 1. Its bandwidth σ is the smooth calibration error itself: the σ at which
    `∫ |1/n Σ w K_σ(t, c) (a - c)| dt = σ`, but at least 0.005. So the distance of the curve from the diagonal is what
    the error integrates. A mean of the accuracies alone would pull a calibrated model off the diagonal near 0 and 1,
    where all other confidences lie on one side.

    Args:
        confidence: c, `[M]`.
        accuracy: a, `[M]`.
        weight: w, `[M]`, above 0, in examples.
        resamples: of the band, drawn with the total weight for a count; 0 for none.
        seed: of the resamples.

    Returns:
        A dictionary: "confidence" t, "accuracy", and "low" and "high", the 95 % band of the resampled curves (None
        without resamples), all `[200]` and NaN beyond the confidences that occur and where the kernel (scaled to 1 at
        its centre) holds less than one example; "bandwidth" σ and "error", the integral above at σ.

    Reference:
        Bandwidth and kernel: Błasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing",
        2023. Their curve is the mean of the accuracies.
    """
    resamples = checked_count("resamples", resamples, minimum=0)
    n, hits, sums = cells_of_examples(confidence, accuracy, weight, NUM_CELLS)
    error = float(smooth_calibration_error(accuracy, confidence, sample_weight=weight))
    bandwidth = max(error, NARROWEST)
    if error < bandwidth:
        error = float(smooth_calibration_error(accuracy, confidence, bandwidth, weight))
    t = ((np.arange(NUM_CELLS) + 0.5) / NUM_CELLS)[KEPT]
    smooth_n, smooth_gap = smoothed(np.stack([n, hits - sums]), bandwidth)[:, KEPT]
    known = smooth_n * bandwidth * np.sqrt(2 * np.pi) * NUM_CELLS >= 1
    known &= np.abs(t - np.clip(t, confidence.min(), confidence.max())) < 0.51 / len(t)
    curve = {
        "confidence": t,
        "accuracy": _curve(t, smooth_gap, smooth_n, known),
        "low": None,
        "high": None,
        "bandwidth": bandwidth,
        "error": error,
    }
    if resamples:
        means = sums / np.where(n > 0, n, 1)
        new_n, new_hits = _resampled(n, hits, resamples, seed)
        smooth_n, smooth_gap = smoothed(np.stack([new_n, new_hits - new_n * means]), bandwidth)[..., KEPT]
        # a resample may have nothing left where there was one example
        curves = _curve(t, smooth_gap, smooth_n, known & (smooth_n > 1e-9 * n.sum() / NUM_CELLS))
        band = np.full((2, len(t)), np.nan)
        band[:, known] = np.nanquantile(curves[:, known], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        curve["low"], curve["high"] = band
    return curve


def smoothed(cells, bandwidth):
    """`cells` `[..., F]` on [0, 1], smoothed by the reflected Gaussian; their sum stays."""
    frequency = np.arange(cells.shape[-1])
    return idct(dct(cells, axis=-1) * np.exp(-0.5 * (np.pi * bandwidth * frequency) ** 2), axis=-1)


def checked_curve(smooth):
    """Returns a copy of a `smooth_reliability` dictionary as NumPy, or None, or raises `ValueError`."""
    if smooth is None:
        return None
    if not isinstance(smooth, dict) or set(smooth) != {*CURVES, *NUMBERS}:
        had = sorted(map(str, smooth)) if isinstance(smooth, dict) else type(smooth).__name__
        raise ValueError(
            f"Expected `smooth` to be a dictionary of {', '.join((*CURVES, *NUMBERS))}, or None. Received: {had}. "
            "`from_predictions(..., smooth=True)` makes it."
        )
    size = len(as_numbers("smooth['confidence']", smooth["confidence"], [None]))
    curve = {
        key: None if smooth[key] is None and key in ("low", "high") else as_numbers(f"smooth[{key!r}]", value, [size])
        for key, value in smooth.items()
        if key in CURVES
    }
    if (curve["low"] is None) != (curve["high"] is None):
        raise ValueError("Expected `smooth` with both low and high, or neither. Received: one of them.")
    return curve | {key: float(as_numbers(f"smooth[{key!r}]", smooth[key], [])) for key in NUMBERS}


def _resampled(n, hits, resamples, seed):
    """Draws examples again, hits and misses of each cell: `[2, R, F]`, their numbers and hits."""
    kinds = np.maximum(np.stack([hits, n - hits]), 0).reshape(-1)
    occurring = np.flatnonzero(kinds)
    counts = np.zeros((resamples, kinds.size))
    chance = kinds[occurring] / kinds.sum()
    size = min(max(1, round(n.sum())), 1 << 53)  # more are known exactly
    counts[:, occurring] = np.random.default_rng(seed).multinomial(size, chance, resamples) * (n.sum() / size)
    hits, misses = counts.reshape(resamples, 2, -1).transpose(1, 0, 2)
    return np.stack([hits + misses, hits])


def _curve(t, gap, n, known):
    return np.clip(t + np.where(known, gap, np.nan) / np.where(known, n, 1), 0, 1)
