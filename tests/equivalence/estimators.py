"""Every public function and diagram that takes sample weights, or sums of them, with data to try it on.

`test_registry.py` fails for one that is not here. Each entry has its name (and what distinguishes it, after a dash) and
a function from weights (None for none) to numbers. The data are 40 examples of five classes.
"""

import functools

import numpy as np
from keras.ops import convert_to_numpy

import keras_ls as kls
from keras_ls.ops.binning import (
    bin_statistics,
    fine_cell_index,
    merge_into_quantile_bins,
    quantile_bin_index,
    uniform_bin_index,
)
from keras_ls.ops.calibration import calibration_error_of_bins
from keras_ls.ops.classwise import classwise_bin_statistics
from keras_ls.ops.selective import risk_coverage_area_of_groups
from keras_ls.ops.smooth_calibration import node_statistics, smooth_calibration_error_of_nodes

N, CLASSES = 40, 5
_rng = np.random.default_rng(0)
LOGITS = (1.5 * _rng.normal(size=(N, CLASSES))).astype("float32")
LABELS = (LOGITS / 2 + _rng.gumbel(size=(N, CLASSES))).argmax(axis=1)
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)).astype("float32")
HIT, CONFIDENCE = (PROBABILITIES.argmax(axis=1) == LABELS).astype("float32"), PROBABILITIES.max(axis=1)
FEATURES = _rng.normal(size=(N, 3)).astype("float32")
OTHERS = _rng.normal(size=(N, 3)).astype("float32")
KERNEL = _rng.normal(size=(3, CLASSES)).astype("float32")
ops = kls.ops


def scored(function, *options, **more):
    """A score of labels and probabilities."""
    return lambda w: function(LABELS, PROBABILITIES, *options, sample_weight=w, **more)


def ones(w):
    return np.ones(N, "float32") if w is None else w


def divided(sums, squares=False):
    """Sums are in the scale of the weights: divided by the first, which is their total."""
    sums = convert_to_numpy(sums).astype("float64")
    total = sums[0].sum() * np.ones(len(sums))
    total[3:] **= 2
    return sums / total.reshape(-1, *[1] * (sums.ndim - 1))


def sums_of(index, cells, w, squares=False):
    return bin_statistics(index, CONFIDENCE, HIT, ones(w), cells, squares)


def fine_cells(w):
    return sums_of(fine_cell_index(CONFIDENCE), 4096, w)


def above_zero(w):
    return float(np.sum(ones(w))) if (ones(w) == np.floor(ones(w))).all() else float(np.sum(ones(w) > 0))


def debiased(w):
    sums = convert_to_numpy(sums_of(uniform_bin_index(CONFIDENCE, 3), 3, w, True))
    sizes = sums[0] if (ones(w) == np.floor(ones(w))).all() else sums[0] ** 2 / np.maximum(sums[3], 1e-300)
    return calibration_error_of_bins(sums[:3], "l2", True, examples=sizes)


def drawn(display, arrays):
    """What a diagram holds, as numbers."""
    return [np.asarray(getattr(display, name), "float64") for name in arrays]


def reliability(w, **options):
    display = kls.plots.ReliabilityDisplay.from_predictions(LABELS, LOGITS, sample_weight=w, **options)
    curve = [display.smooth[name] for name in ("accuracy", "low", "high", "bandwidth")] if display.smooth else []
    density = [] if display.density is None else [display.density]
    return drawn(display, ("weight", "accuracy", "confidence", "edges", "interval")) + curve + density


def classwise(w):
    display = kls.plots.ClasswiseReliabilityDisplay.from_predictions(
        LABELS, LOGITS, classes=[0, 3], num_bins=3, binning="quantile", sample_weight=w
    )
    return [x for one in display.displays for x in drawn(one, ("weight", "accuracy", "edges", "interval"))]


def comparison(w):
    display = kls.plots.ReliabilityComparisonDisplay.from_predictions(
        {"a": (LABELS, LOGITS, w) if w is not None else (LABELS, LOGITS)}, num_bins=4, binning="quantile"
    )
    return drawn(display.displays[0], ("weight", "accuracy", "edges", "interval"))


def brier(labels, p, sample_weight):
    return np.average(((np.eye(CLASSES)[labels.astype(int)] - p) ** 2).sum(axis=1), weights=sample_weight)


def area(labels, p, sample_weight):
    """In NumPy, of weights as they come."""
    right, order = p.argmax(axis=1) == labels, np.argsort(-p.max(axis=1), kind="stable")
    w = np.asarray(sample_weight, "float64")[order]
    w, wrong = w[w > 0], ~right[order][w > 0]
    return np.average(np.cumsum(w * wrong) / np.cumsum(w), weights=w)


quantile = functools.partial(scored, ops.calibration_error, 5, "quantile")
ESTIMATORS = {
    "calibration_error": scored(ops.calibration_error),
    "calibration_error-l2": scored(ops.calibration_error, 5, norm="l2"),
    "calibration_error-max": scored(ops.calibration_error, 5, norm="max"),
    "calibration_error-debiased": scored(ops.calibration_error, 3, norm="l2", debiased=True),
    "calibration_error-quantile": quantile(),
    "calibration_error-quantile-right": quantile(closed="right"),
    "calibration_error-quantile-debiased": quantile("l2", debiased=True),
    "calibration_error-binary": lambda w: ops.calibration_error(HIT, CONFIDENCE, 7, "quantile", sample_weight=w),
    "classwise_calibration_error": scored(ops.classwise_calibration_error),
    "classwise_calibration_error-quantile": scored(
        ops.classwise_calibration_error, 3, "quantile", threshold=0.05, average=None
    ),
    "classwise_calibration_error-debiased": scored(ops.classwise_calibration_error, 3, norm="l2", debiased=True),
    "brier_score": scored(ops.brier_score),
    "brier_decomposition": scored(ops.brier_decomposition),
    "brier_decomposition-quantile": scored(ops.brier_decomposition, num_bins=4, binning="quantile"),
    "smooth_calibration_error": scored(ops.smooth_calibration_error),
    "risk_coverage_area": scored(ops.risk_coverage_area),
    "sweep_calibration_error": scored(ops.sweep_calibration_error),
    "sweep_calibration_error-uniform": scored(ops.sweep_calibration_error, "uniform"),
    "monotone_bins": scored(ops.monotone_bins),
    "monotone_bins-right": lambda w: ops.monotone_bins(np.ones(N), CONFIDENCE, sample_weight=w),
    "spiegelhalter_test": scored(ops.spiegelhalter_test),
    "calibration_test": scored(ops.calibration_test, num_resamples=10),
    "bootstrap_interval": lambda w: ops.bootstrap_interval(brier, LABELS, PROBABILITIES, w, num_resamples=30),
    "bootstrap_interval-area": lambda w: ops.bootstrap_interval(area, LABELS, PROBABILITIES, w, num_resamples=30),
    "estimate_smoothing": lambda w: ops.estimate_smoothing(LOGITS, LABELS, w),
    "wrong_logit_variance": lambda w: ops.wrong_logit_variance(LOGITS, LABELS, w),
    "neural_collapse": lambda w: ops.neural_collapse(FEATURES, LABELS, KERNEL, sample_weight=w),
    "correlation_distance": lambda w: ops.correlation_distance(FEATURES.T, OTHERS.T, ones(w)),
    "distance_error": lambda w: ops.distance_error(FEATURES, OTHERS, w),
    "angle_error": lambda w: ops.angle_error(FEATURES, OTHERS, w),
    "similarity_error": lambda w: ops.similarity_error(FEATURES, OTHERS, w),
    "quantile_bin_index": lambda w: quantile_bin_index(CONFIDENCE, ones(w), 6),
    "bin_statistics": lambda w: divided(sums_of(uniform_bin_index(CONFIDENCE, 4), 4, w, True)),
    "classwise_bin_statistics": lambda w: divided(
        classwise_bin_statistics(
            uniform_bin_index(PROBABILITIES, 4),
            PROBABILITIES,
            np.eye(CLASSES)[LABELS],
            np.repeat(ones(w)[:, None], CLASSES, 1),
            4,
        )
    ),
    "calibration_error_of_bins": lambda w: calibration_error_of_bins(fine_cells(w)),
    "calibration_error_of_bins-debiased": debiased,
    "merge_into_quantile_bins": lambda w: divided(merge_into_quantile_bins(fine_cells(w), 6, examples=above_zero(w))),
    "risk_coverage_area_of_groups": lambda w: risk_coverage_area_of_groups(fine_cells(w)[:2], examples=above_zero(w)),
    "node_statistics": lambda w: (
        convert_to_numpy(node_statistics(CONFIDENCE, HIT, w)) / np.sum(ones(w), dtype="float64")
    ),
    "smooth_calibration_error_of_nodes": lambda w: smooth_calibration_error_of_nodes(
        node_statistics(CONFIDENCE, HIT, w)
    ),
    "evaluate": lambda w: list(kls.evaluate(LABELS, LOGITS, sample_weight=w).values()),
    "ReliabilityDisplay": reliability,
    "ReliabilityDisplay-quantile": lambda w: reliability(w, num_bins=6, binning="quantile", density=True),
    "ReliabilityDisplay-smooth": lambda w: reliability(w, smooth=True, resamples=20),
    "ClasswiseReliabilityDisplay": classwise,
    "ReliabilityComparisonDisplay": comparison,
}
