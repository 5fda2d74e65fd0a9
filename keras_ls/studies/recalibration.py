"""Calibrators compared on predictions of any framework, cross-fitted: `keras-ls calibrate`."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_ls import calibrators, ops
from keras_ls.calibrators.calibrator import flat_arrays
from keras_ls.evaluation import blocks_of_rows
from keras_ls.metrics import ClasswiseCalibrationError
from keras_ls.ops._checks import check_unit_interval, checked_choice, checked_count
from keras_ls.ops._logits import are_probabilities, probabilities_to_logits
from keras_ls.ops._predictions import as_two_classes, confidence_and_accuracy, to_probabilities
from keras_ls.ops._weights import to_effective_counts
from keras_ls.ops.calibration import squared_distance
from keras_ls.ops.resampling import interval_of_resamples
from keras_ls.ops.selective import predicted_confidence_and_accuracy, risk_coverage_area_of_examples
from keras_ls.plots.reliability_bins import bins_of_examples
from keras_ls.studies.engine.study import LARGEST_SEED, MOST_BINS, MOST_FOLDS, MOST_RESAMPLES
from keras_ls.studies.resampled_groups import MOST_ROWS, group_examples, group_values, resampled_classwise_errors

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
_FITTING = 0.7  # share of a step that its fits are taken to be, for progress
_TESTS = 1000  # resamples of the test of calibration
_TEST_CELLS = 512


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
        flat = flat_arrays(self.logits, self.labels, self.sample_weight, self.ignore_class)
        for key, array in zip(("labels", "logits", "sample_weight"), flat):
            object.__setattr__(self, key, array)
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
    def num_classes(self) -> int:
        """K."""
        return 2 if self.logits.ndim == 1 else self.logits.shape[1]

    @property
    def steps(self) -> tuple[str, ...]:
        """What `step` takes: the predictions as given, and each calibrator."""
        return (AS_GIVEN, *self.names)

    def step(self, name: str, progress: Callable[[float, str], None] | None = None) -> dict:
        """Fits one calibrator and scores it: `Step`.

        Args:
            name: of `steps`.
            progress: `(share, what)` → None, called as the step goes on with the share of it that is done and what
                comes next, such as "fit 2 of 6"; or None.
        """
        progress = progress or (lambda share, what: None)
        if name == AS_GIVEN:
            return Step(*self._evaluate(self.logits, progress), None)
        fitted = calibrators.crossfit(
            CALIBRATORS[name][1](),
            self.logits,
            self.labels,
            self.sample_weight,
            folds=self.folds,
            seed=self.seed,
            progress=lambda done, fits: progress(_FITTING * done / fits, f"fit {min(done + 1, fits)} of {fits}"),
        )
        scored = self._evaluate(fitted.logits, lambda share, what: progress(_FITTING + (1 - _FITTING) * share, what))
        return Step(*scored, fitted.calibrator)

    def _evaluate(self, logits, progress):
        """Scores as `[estimate, low, high]`, and the bins of the reliability diagram."""
        progress(0.0, "scores")
        weight, errors = self.sample_weight, self._errors
        examples, classwise = self._examples(logits)
        top_label = examples["accuracy"], examples["confidence"], weight
        kept = weight != 0
        counted = examples["confidence"][kept], examples["accuracy"][kept], to_effective_counts(weight[kept])
        bins = bins_of_examples(*counted, self.num_bins, "uniform", "left")
        calls = _Calls(progress, 8 * self.num_resamples + _TESTS)
        scores = {}
        for name, key in (("accuracy", "hits"), ("nll", "nll"), ("brier", "brier")):
            mean = calls.told(SCORES[name], _weighted_mean)
            values = examples[key]
            grouped, counts = group_values(values, weight)
            rows, groups = (np.zeros_like(values), values, weight), (np.zeros_like(grouped), grouped, counts)
            scores[name] = self._interval(mean, rows, groups, "percentile")
        # of confidences and hits: the same as of all classes, and quicker
        groups = group_examples(*top_label, self.num_bins)
        for name in ("ece", "ece_quantile", "smooth"):
            scores[name] = self._interval(calls.told(ERRORS[name], errors[name]), top_label, groups)
        scores["classwise"] = self._classwise(logits, classwise, calls)
        rows = (*_of_predicted_class(*top_label[:2], binary=logits.ndim == 1), weight)
        groups = group_examples(*rows, self.num_bins)
        scores["aurc"] = self._interval(calls.told(SCORES["aurc"], errors["aurc"]), rows, groups, "percentile")
        if self.labels.ndim == 1:
            # confidences are not resampled here, so that fewer cells tell as much
            groups = group_examples(*top_label, self.num_bins, num_cells=_TEST_CELLS)
            statistic = calls.told("test of calibration", errors["ece"])
            test = ops.calibration_test(*groups, statistic, num_resamples=_TESTS, seed=self.seed)
            scores["p_value"] = [test.p_value, None, None]
        return scores, bins

    def _examples(self, logits):
        """What the scores take of each example, NumPy `[N]` by name, and the class-wise error; read block by block."""
        parts = []
        classwise = ClasswiseCalibrationError(num_bins=self.num_bins, from_logits=False)
        for rows in blocks_of_rows(logits):
            labels, z = self.labels[rows], keras.ops.convert_to_tensor(logits[rows])
            p = to_probabilities(z, from_logits=True)
            confidence, accuracy = confidence_and_accuracy(labels, p)
            classwise.add_examples(labels, p, self.sample_weight[rows])
            parts.append(
                {
                    "confidence": confidence,
                    "accuracy": accuracy,
                    "hits": (p > 0.5) == (labels > 0.5) if logits.ndim == 1 else accuracy,
                    "nll": ops.smoothed_crossentropy(*as_two_classes(labels, z, from_logits=True), 0.0),
                    "brier": squared_distance(labels, p),
                }
            )
            parts[-1] = {name: keras.ops.convert_to_numpy(x).astype("float32") for name, x in parts[-1].items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, float(classwise.result())

    def _classwise(self, logits, estimate, calls):
        what, weight = ERRORS["classwise"], self.sample_weight
        if self.num_classes > MOST_CLASSES:  # without its interval, which would take minutes
            return [estimate, None, None]
        if len(weight) > MOST_ROWS:
            settings = self.num_bins, self.num_resamples, self.seed
            resampled = resampled_classwise_errors(self.labels, logits, weight, *settings)
            if resampled is not None:
                calls.tell(what, self.num_resamples)
                return _cell(interval_of_resamples(estimate, resampled))
        rows = self.labels, keras.ops.convert_to_numpy(to_probabilities(logits, from_logits=True)), weight
        return self._interval(calls.told(what, self._errors["classwise"]), rows, rows)

    @functools.cached_property
    def _errors(self):
        """The statistics that are resampled, compiled: each is called many times on arrays of one shape."""
        binned = functools.partial(ops.calibration_error, num_bins=self.num_bins)
        functions = {
            "ece": binned,
            "ece_quantile": functools.partial(binned, binning="quantile"),
            "smooth": ops.smooth_calibration_error,
            "classwise": functools.partial(ops.classwise_calibration_error, num_bins=self.num_bins),
            "aurc": _risk_coverage_area,
        }
        # not by XLA, which sorts slowly; the test of calibration has another number of rows at each step
        return {name: tf.function(function, reduce_retracing=name == "ece") for name, function in functions.items()}

    def _interval(self, statistic, rows, groups, method="basic"):
        """`[estimate, low, high]`: the estimate of all examples, the ends as far from it as the groups say."""
        labels, p, weight = groups
        settings = {"num_resamples": self.num_resamples, "seed": self.seed, "method": method}
        found = ops.bootstrap_interval(statistic, labels, p, weight, **settings)
        if len(weight) == len(rows[-1]):
            return _cell(found)
        estimate = float(statistic(*rows[:2], sample_weight=rows[2].astype("float64")))
        moved = estimate - found.estimate
        return _cell(found._replace(estimate=estimate, low=found.low + moved, high=found.high + moved))


class _Calls:
    """Tells of a number of calls of statistics how many are done.

    Args:
        progress: `(share, what)` → None.
        total: how many are to come.
    """

    def __init__(self, progress, total):
        self._progress, self._total, self._done = progress, total, 0

    def tell(self, what, calls=1):
        """Counts some calls for what `what` names."""
        self._done += calls
        self._progress(min(self._done / self._total, 1.0), what)

    def told(self, what, statistic):
        """The statistic, each call of which is counted."""

        def counted(*args, **kwargs):
            self.tell(what)
            return statistic(*args, **kwargs)

        return counted


def logits_of(predictions: np.ndarray, from_logits: bool) -> np.ndarray:
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
        if p.ndim > 1 and p.min() >= 0 and are_probabilities(p):
            raise ValueError(
                "Expected logits. Received: rows that are not negative and sum to 1, as after a softmax. Say "
                "`--probabilities` (from_logits=False)."
            )
        return p.astype("float32", copy=False)
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


def _risk_coverage_area(accuracy, confidence, sample_weight):
    return risk_coverage_area_of_examples(confidence, accuracy, sample_weight)


def _of_predicted_class(accuracy, confidence, binary):
    """Accuracy and confidence of the predicted class, where binary ones are of P(y=1)."""
    if not binary:
        return accuracy, confidence
    confidence, accuracy = predicted_confidence_and_accuracy(accuracy, confidence)
    return keras.ops.convert_to_numpy(accuracy), keras.ops.convert_to_numpy(confidence)


def _cell(interval):
    return [interval.estimate, max(interval.low, 0.0), max(interval.high, 0.0)]
