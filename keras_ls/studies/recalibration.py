"""Calibrators compared on predictions of any framework, cross-fitted: `keras-ls calibrate`."""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_ls import calibrators, ops
from keras_ls.ops._checks import check_unit_interval, checked_choice, checked_count
from keras_ls.ops._inputs import flatten_examples
from keras_ls.ops._logits import are_probabilities, probabilities_to_logits
from keras_ls.ops._predictions import as_two_classes, confidence_and_accuracy, to_probabilities
from keras_ls.ops.calibration import squared_distance
from keras_ls.plots.reliability_bins import bins_of_predictions
from keras_ls.studies.engine.study import LARGEST_SEED, MOST_BINS, MOST_FOLDS, MOST_RESAMPLES

AS_GIVEN = "as given"
CALIBRATORS = {
    "temperature": ("temperature", calibrators.TemperatureScaling),
    "vector": ("vector scaling", calibrators.VectorScaling),
    "matrix": ("matrix scaling", calibrators.MatrixScaling),
    "dirichlet": ("Dirichlet", calibrators.DirichletCalibration),
    "ensemble": ("ensemble temperature", calibrators.EnsembleTemperatureScaling),
    "isotonic": ("isotonic, one-vs-rest", calibrators.IsotonicCalibration),
    "isotonic-top": (
        "isotonic, top label",
        functools.partial(calibrators.IsotonicCalibration, method="top_label"),
    ),
    "histogram": ("histogram, top label", functools.partial(calibrators.HistogramBinning, method="top_label")),
}
SCORES = {"accuracy": "accuracy", "nll": "NLL (nats)", "brier": "Brier", "aurc": "AURC"}
ERRORS = {
    "ece": "ECE",
    "ece_quantile": "adaptive ECE",
    "smooth": "smECE",
    "classwise": "class-wise ECE",
    "p_value": "p",
}
QUADRATIC = ("matrix", "dirichlet")  # K² parameters
MOST_CLASSES = 50  # up to which these are tried unless asked for


@dataclasses.dataclass(frozen=True)
class Step:
    """What one calibrator does.

    Attributes:
        scores: `[estimate, low, high]` of each of `SCORES` and `ERRORS`; None where there is no interval.
        bins: of the reliability diagram.
        calibrator: fitted on all examples; None for the predictions as given.
    """

    scores: dict
    bins: tuple
    calibrator: object


@dataclasses.dataclass(frozen=True)
class Recalibration:
    """Several calibrators compared on one set of predictions.

    Attributes:
        labels: `[N]` or `[N, K]`.
        logits: `[N, K]`, or `[N]` for binary ones.
        sample_weight: `[N]`, or None.
        source: what the predictions are, for titles.
        folds: parts of the cross-fit.
        num_bins: bins of the calibration errors.
        num_resamples: of the bootstrap.
        seed: of folds and bootstrap.
        names: calibrators to compare; None for all that suit the predictions.
        ignore_class: integer label of examples that do not count, or None.

    Examples:
        Logits of 2 that are right in three of four: log 3 = 2 / T.

        >>> import keras_ls as kls
        >>> labels, logits = [0, 0, 0, 1] * 5 + [1, 1, 1, 0] * 5, [[2.0, 0.0]] * 20 + [[0.0, 2.0]] * 20
        >>> study = kls.studies.Recalibration(labels, logits, num_resamples=10, names=("temperature",))
        >>> step = study.step("temperature")
        >>> round(step.calibrator.temperature, 4), round(step.scores["accuracy"][0], 2)
        (1.8205, 0.75)
    """

    labels: np.ndarray
    logits: np.ndarray
    sample_weight: np.ndarray | None = None
    source: str = "predictions"
    folds: int = 5
    num_bins: int = 15
    num_resamples: int = 200
    seed: int = 0
    names: tuple | None = None
    ignore_class: int | None = None

    def __post_init__(self):
        flat = flatten_examples(self.labels, self.logits, self.sample_weight, ignore_class=self.ignore_class)
        for key, array in zip(("labels", "logits", "sample_weight"), flat):
            object.__setattr__(self, key, keras.ops.convert_to_numpy(array))
        one_hot = self.labels.ndim == 2 and np.isin(self.labels, (0, 1)).all() and (self.labels.sum(axis=1) == 1).all()
        if one_hot:
            object.__setattr__(self, "labels", self.labels.argmax(axis=1))
        checked_count("folds", self.folds, 2, MOST_FOLDS)
        checked_count("num_bins", self.num_bins, maximum=MOST_BINS)
        checked_count("num_resamples", self.num_resamples, maximum=MOST_RESAMPLES)
        checked_count("seed", self.seed, 0, LARGEST_SEED)
        for name in self.names or ():
            checked_choice("calibrator", name, CALIBRATORS)
        if self.names is None:
            unsuited = QUADRATIC if self.num_classes > MOST_CLASSES else ("matrix",) if self.logits.ndim == 1 else ()
            if np.isneginf(self.logits).any():  # classes ruled out, which no factor or sum of logits can keep
                unsuited = ("vector", *QUADRATIC)
            object.__setattr__(self, "names", tuple(name for name in CALIBRATORS if name not in unsuited))

    @property
    def num_classes(self):
        """K."""
        return 2 if self.logits.ndim == 1 else self.logits.shape[1]

    @property
    def steps(self):
        """What `step` takes: the predictions as given, and each calibrator."""
        return (AS_GIVEN, *self.names)

    def step(self, name):
        """Fits one calibrator and scores it: `Step`."""
        if name == AS_GIVEN:
            return Step(*self._evaluate(self.logits), None)
        fitted = calibrators.crossfit(
            CALIBRATORS[name][1](), self.logits, self.labels, self.sample_weight, folds=self.folds, seed=self.seed
        )
        return Step(*self._evaluate(keras.ops.convert_to_numpy(fitted.logits)), fitted.calibrator)

    def _evaluate(self, logits):
        """Scores as `[estimate, low, high]`, and the bins of the reliability diagram."""
        labels, weight = self.labels, self.sample_weight
        bins = bins_of_predictions(labels, logits, self.num_bins, "uniform", "left", True, weight)
        p = keras.ops.convert_to_numpy(to_probabilities(logits, from_logits=True))
        confidence, accuracy = map(keras.ops.convert_to_numpy, confidence_and_accuracy(labels, p))
        hits = ((p > 0.5) == (labels > 0.5)).astype("float32") if p.ndim == 1 else accuracy
        nll = ops.smoothed_crossentropy(*as_two_classes(labels, logits, from_logits=True), 0.0)
        scores = {name: self._mean(v) for name, v in (("accuracy", hits), ("nll", nll))}
        scores["brier"] = self._mean(squared_distance(labels, p))
        # of confidences and hits: the same as of all classes, and quicker
        for name in ("ece", "ece_quantile", "smooth"):
            scores[name] = self._interval(self._errors[name], accuracy, confidence)
        if self.num_classes > MOST_CLASSES:  # without its interval, which would take minutes
            scores["classwise"] = [float(self._errors["classwise"](labels, p, sample_weight=weight)), None, None]
        else:
            scores["classwise"] = self._interval(self._errors["classwise"], labels, p)
        scores["aurc"] = self._interval(self._errors["aurc"], labels, p, method="percentile")
        if labels.ndim == 1:
            test = ops.calibration_test(accuracy, confidence, weight, self._errors["ece"], seed=self.seed)
            scores["p_value"] = [test.p_value, None, None]
        return scores, bins

    @functools.cached_property
    def _errors(self):
        """The statistics that are resampled, compiled: each is called many times on arrays of one shape."""
        binned = functools.partial(ops.calibration_error, num_bins=self.num_bins)
        classwise = functools.partial(ops.classwise_calibration_error, num_bins=self.num_bins)
        functions = {
            "ece": binned,
            "ece_quantile": functools.partial(binned, binning="quantile"),
            "smooth": ops.smooth_calibration_error,
            "classwise": classwise,
            "aurc": ops.risk_coverage_area,
        }
        # not by XLA, which sorts slowly
        return {name: tf.function(function) for name, function in functions.items()}

    def _mean(self, values):
        values = keras.ops.convert_to_numpy(values)
        return self._interval(_weighted_mean, np.zeros_like(values), values, method="percentile")

    def _interval(self, statistic, labels, p, method="basic"):
        settings = {"num_resamples": self.num_resamples, "seed": self.seed, "method": method}
        found = ops.bootstrap_interval(statistic, labels, p, self.sample_weight, **settings)
        return [found.estimate, max(found.low, 0.0), max(found.high, 0.0)]


def logits_of(predictions, from_logits):
    """Predictions of a file as logits.

    Args:
        predictions: `[N, K]`, or `[N]` or `[N, 1]` for the positive class of two.
        from_logits: whether they are logits, which stay as they are, or probabilities.

    Returns:
        NumPy, float32.

    Raises:
        ValueError: for "probabilities" outside [0, 1], or that do not sum to 1, and for "logits" whose rows all do.

    Examples:
        >>> import keras_ls as kls
        >>> kls.studies.logits_of([0.5], from_logits=False).tolist()
        [0.0]
    """
    p = np.asarray(predictions)
    p = p[:, 0] if p.ndim == 2 and p.shape[1] == 1 else p
    if from_logits:
        if p.ndim > 1 and are_probabilities(p):
            raise ValueError(
                "Expected logits. Received: rows that are not negative and sum to 1, as after a softmax. Say "
                "`--probabilities` (from_logits=False)."
            )
        return p.astype("float32")
    check_unit_interval("`--probabilities`", p, "Use `--logits` for logits.")
    if p.ndim == 1:
        return keras.ops.convert_to_numpy(probabilities_to_logits(p)).astype("float32")
    total = p.sum(axis=-1, dtype="float64")
    if np.abs(total - 1).max() > 1e-2:
        raise ValueError(
            f"Expected `--probabilities` that sum to 1 in every row. Received: sums from {total.min():.4g} to "
            f"{total.max():.4g}. For several labels an example, calibrate each column by itself."
        )
    return keras.ops.convert_to_numpy(probabilities_to_logits(p)).astype("float32")


def _weighted_mean(_, values, sample_weight):
    return np.average(values, weights=sample_weight)
