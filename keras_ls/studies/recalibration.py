"""Calibrators compared on predictions of any framework, cross-fitted: `keras-ls calibrate`."""

import dataclasses
import functools
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_ls import calibrators, ops
from keras_ls.export import export_saved_model
from keras_ls.ops.checks import check_unit_interval, checked_choice, checked_count
from keras_ls.ops.examples import confidence_and_accuracy, flatten_examples, to_probabilities
from keras_ls.ops.smoothing import probabilities_to_logits
from keras_ls.plots import ReliabilityDisplay
from keras_ls.plots.reliability_bins import bins_of_predictions
from keras_ls.studies.result import Figure, StudyResult, Table, provenance
from keras_ls.studies.store import write_beside

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
        names: calibrators to compare; None for all that suit the number of classes.
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

    def __post_init__(self):
        flat = flatten_examples(self.labels, self.logits, self.sample_weight)
        for key, array in zip(("labels", "logits", "sample_weight"), flat):
            object.__setattr__(self, key, keras.ops.convert_to_numpy(array))
        for key, minimum in (("folds", 2), ("num_bins", 1), ("num_resamples", 1)):
            checked_count(key, getattr(self, key), minimum)
        for name in self.names or ():
            checked_choice("calibrator", name, CALIBRATORS)
        if self.names is None:
            many = self.num_classes > MOST_CLASSES
            names = tuple(name for name in CALIBRATORS if not (many and name in QUADRATIC))
            object.__setattr__(self, "names", names)

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
        nll = ops.smoothed_crossentropy(*_two_columns(labels, logits), 0.0)
        scores = {name: self._mean(v) for name, v in (("accuracy", hits), ("nll", nll))}
        scores["brier"] = self._mean(ops.squared_distance(labels, p))
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

    def summarise(self, found, fingerprints):
        """The `StudyResult` of steps by name.

        Args:
            found: step name → `Step`.
            fingerprints: name of the file → its hash.
        """
        chosen = best(found)
        left_out = ", ".join(_label(name) for name in CALIBRATORS if name not in self.names)

        def table(title, measures, note):
            rows = tuple(
                (
                    _label(name) + (" (lowest NLL)" if name == chosen else ""),
                    *(_cell(step.scores.get(key)) for key in measures),
                )
                for name, step in found.items()
            )
            return Table(title, ("calibrator", *measures.values()), rows, note)

        scores = table(
            f"{self.source}: proper scores, before and after",
            SCORES,
            (
                f"{np.count_nonzero(self.sample_weight):,} examples, {self.num_classes} classes. Every calibrator is "
                f"cross-fitted in {self.folds} parts: no example is scored by a calibrator that saw its label. "
                f"Brackets are 95 % bootstrap intervals over examples ({self.num_resamples} resamples). NLL, Brier and "
                "AURC (how well confidence ranks the errors) are better when lower."
                f"{f' Not tried: {left_out}.' if left_out else ''}"
            ),
        )
        errors = table(
            f"{self.source}: calibration errors, before and after",
            ERRORS,
            (
                f"ECE with {self.num_bins} equal-width bins of the top label, adaptive ECE with as many equal-mass "
                "bins, smECE without bins, class-wise ECE the mean over classes. An estimate is too high by chance, "
                "which its interval is not: what lies above the interval means nothing. p is of a test whether the "
                "predictions are calibrated (ECE, labels drawn from the predictions): near 0, they are not."
            ),
        )
        config = {key: getattr(self, key) for key in ("source", "folds", "num_bins", "num_resamples", "seed", "names")}
        return StudyResult(
            study="calibrate",
            config=config,
            tables=(scores, errors),
            directions=(),
            figures=(self._figure(found),),
            values={name: step.scores for name, step in found.items()},
            provenance=provenance(fingerprints, (self.seed,)),
        )

    def _figure(self, found):
        panels = [ReliabilityDisplay(*step.bins, name=_label(name)).to_dict() for name, step in found.items()]
        width = min(len(panels), 3)
        panels += [None] * (-len(panels) % width)
        return Figure(
            name="calibrate",
            kind="ReliabilityDisplay",
            panels=tuple(tuple(panels[i : i + width]) for i in range(0, len(panels), width)),
            reading=(
                "Predictions binned by confidence, as given and after each calibrator, cross-fitted. A bar's height is "
                "how often the predictions in that bin are right: on the dashed diagonal they are as right as they are "
                "confident, below it they are over-confident. The strip underneath shows where the examples lie."
            ),
        )

    def save(self, found, directory, from_logits, class_names, facts):
        """Writes the best calibrator, fitted on all examples: a SavedModel, and JSON for anything else.

        Args:
            found: step name → `Step`.
            directory: of `saved_model/` and `calibrator.json`.
            from_logits: whether the SavedModel is to take logits, or probabilities.
            class_names: K names, or None.
            facts: where the predictions come from.

        Returns:
            The two paths.

        Raises:
            ValueError: where no calibrator lowers the NLL, so that there is nothing to save.
        """
        names = [name for name in found if name != AS_GIVEN]
        chosen = names[0] if len(names) == 1 else best(found)
        if chosen == AS_GIVEN:
            raise ValueError(
                "Expected a calibrator that lowers the NLL of examples it was not fitted on. Received: none does, so "
                "that nothing is saved. Name one with `--calibrator` to have it anyway."
            )
        calibrator, directory = found[chosen].calibrator, pathlib.Path(directory)
        inputs = keras.Input(self.logits.shape[1:] or (1,))
        model = keras.Model(inputs, keras.layers.Identity()(inputs))
        saved = export_saved_model(model, directory / "saved_model", calibrator, from_logits)
        text = {
            "calibrator": type(calibrator).__name__,
            "input": "logits" if from_logits else "probabilities, of which log(max(p, 1e-7)) are the logits",
            "output": "logits",
            "classes": class_names,
            "config": calibrator.get_config(),
            "weights": {weight.name: keras.ops.convert_to_numpy(weight).tolist() for weight in calibrator.weights},
            "scores": {"before": found[AS_GIVEN].scores, "after": found[chosen].scores},
            "provenance": facts,
        }
        path = directory / "calibrator.json"
        write_beside(path, lambda p: p.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8"))
        return saved, path


def best(found):
    """The step of least cross-fitted NLL, a proper score; `AS_GIVEN` where no calibrator lowers it."""
    return min(found, key=lambda name: found[name].scores["nll"][0])


def logits_of(predictions, from_logits):
    """Predictions of a file as logits.

    Args:
        predictions: `[N, K]`, or `[N]` or `[N, 1]` for the positive class of two.
        from_logits: whether they are logits, which stay as they are, or probabilities.

    Returns:
        NumPy, float32.

    Raises:
        ValueError: for "probabilities" outside [0, 1], or that do not sum to 1.

    Examples:
        >>> import keras_ls as kls
        >>> kls.studies.logits_of([0.5], from_logits=False).tolist()
        [0.0]
    """
    p = np.asarray(predictions)
    p = p[:, 0] if p.ndim == 2 and p.shape[1] == 1 else p
    if from_logits:
        return p.astype("float32")
    check_unit_interval("`--probabilities`", p, "Use `--logits` for logits.")
    if p.ndim == 1:
        return keras.ops.convert_to_numpy(probabilities_to_logits(p) - probabilities_to_logits(1 - p)).astype("float32")
    total = p.sum(axis=-1, dtype="float64")
    if np.abs(total - 1).max() > 1e-2:
        raise ValueError(
            f"Expected `--probabilities` that sum to 1 in every row. Received: sums from {total.min():.4g} to "
            f"{total.max():.4g}. For several labels an example, calibrate each column by itself."
        )
    return keras.ops.convert_to_numpy(probabilities_to_logits(p)).astype("float32")


def _two_columns(labels, logits):
    """Labels and logits of two classes for binary ones, `[N]`; others as they are."""
    if logits.ndim == 2:
        return labels, logits
    return np.stack([1 - labels, labels], axis=1), np.stack([np.zeros_like(logits), logits], axis=1)


def _label(name):
    return name if name == AS_GIVEN else CALIBRATORS[name][0]


def _cell(found):
    if found is None:
        return "–"
    value, low, high = found
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _weighted_mean(_, values, sample_weight):
    return np.average(values, weights=sample_weight)
