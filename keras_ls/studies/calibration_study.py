"""Calibration: table 3 and figure 2 of the paper."""

import dataclasses
import functools

import numpy as np
from scipy import special

from keras_ls import ops
from keras_ls.calibrators import TemperatureScaling
from keras_ls.ops.checks import checked_count
from keras_ls.plots import ReliabilityDisplay
from keras_ls.plots.reliability_bins import bins_of_predictions
from keras_ls.studies.intervals import direction, estimate
from keras_ls.studies.result import Figure, StudyResult, Table
from keras_ls.studies.study import Study
from keras_ls.studies.training import Training

METHODS = ("hard", "hard + temperature", "smoothed", "smoothed + temperature")
# CIFAR-100, ResNet-56, 15 bins (table 3)
PAPER_ECE = {"hard": ".150", "hard + temperature": ".021 (T=1.9)", "smoothed": ".024 (α=.05)"}


@dataclasses.dataclass(frozen=True)
class CalibrationStudy(Study):
    """Hard and smoothed networks, before and after a temperature that is fitted on a split of its own.

    Attributes:
        label_smoothing: α of the smoothed network.
        widths: hidden layers.
        num_bins: bins of the ECE.
    """

    dataset: str = "digits-noise"
    label_smoothing: float = 0.05
    widths: tuple = (256, 256)
    num_bins: int = 15

    name = "calibration"
    about = "accuracy, NLL, Brier and ECE, with and without smoothing and temperature (table 3, figure 2)"

    def __post_init__(self):
        super().__post_init__()
        checked_count("num_bins", self.num_bins)

    def trainings(self):
        """A hard and a smoothed network a seed."""
        return [self._training(alpha, seed) for seed in self.seeds for alpha in (0.0, self.label_smoothing)]

    def summarise(self, store):
        """Scores on the test split, and reliability diagrams of all seeds pooled."""
        _, labels = self.splits.test
        values = {method: {} for method in METHODS}
        pooled = {method: [] for method in METHODS}
        for seed in self.seeds:
            for kind, alpha in (("hard", 0.0), ("smoothed", self.label_smoothing)):
                logits = store.predictions(self._training(alpha, seed)).logits
                fitted = TemperatureScaling().fit(logits["calibration"], self.splits.calibration[1])
                for method, T in ((kind, 1.0), (f"{kind} + temperature", fitted.temperature)):
                    pooled[method].append(logits["test"] / np.float32(T))
                    for key, value in {**self._scores(labels, pooled[method][-1]), "temperature": T}.items():
                        values[method].setdefault(key, []).append(value)
        return StudyResult(
            study=self.name,
            config=dataclasses.asdict(self),
            tables=(self._table(values, self._floor(labels, pooled["hard + temperature"])),),
            directions=self._directions(values),
            figures=(self._figure(np.tile(labels, len(self.seeds)), pooled),),
            values=values,
            provenance=self.provenance(),
        )

    def _training(self, alpha, seed):
        return Training(self.dataset, self.widths, label_smoothing=alpha, seed=seed)

    def _scores(self, labels, logits):
        p = special.softmax(logits, axis=1)
        return {
            "accuracy": float((logits.argmax(axis=1) == labels).mean()),
            "nll": float(np.mean(ops.smoothed_crossentropy(labels, logits, 0.0))),
            "brier": float(ops.brier_score(labels, p)),
            "ece": float(ops.calibration_error(labels, p, self.num_bins)),
        }

    def _floor(self, labels, logits):
        """ECE of a perfectly calibrated network with these predictions: mean and 95 % range, over the networks."""
        ece = functools.partial(ops.calibration_error, num_bins=self.num_bins)
        tests = [
            ops.calibration_test(labels, special.softmax(z, axis=1), statistic=ece, num_resamples=200) for z in logits
        ]
        return np.mean([(test.expected, test.low, test.high) for test in tests], axis=0)

    def _table(self, values, floor):
        rows = []
        for method in METHODS:
            columns = [estimate(values[method][key]).format(3) for key in ("accuracy", "nll", "brier", "ece")]
            fitted = "temperature" in method
            T = estimate(values[method]["temperature"]).format(2) if fitted else "1"
            rows.append((method, *columns, T, PAPER_ECE.get(method, "–")))
        return Table(
            title=f"Calibration on {self.splits.source}: hard against smoothed (α={self.label_smoothing:g})",
            columns=("method", "accuracy", "NLL (nats)", "Brier", "ECE", "T", "paper: ECE"),
            rows=tuple(rows),
            note=(
                f"Mean ± 95 % interval over {len(self.seeds)} seeds, {len(self.splits.test[1])} test examples, "
                f"{self.num_bins} bins. T is fitted on {len(self.splits.calibration[1])} examples that no other number "
                f"uses. A perfectly calibrated network would score an ECE of about {floor[0]:.3f} here "
                f"({floor[1]:.3f} to {floor[2]:.3f}): so few examples cannot tell it from the lower rows. The "
                "paper's column is CIFAR-100 with a ResNet-56: other data, another network."
            ),
        )

    def _directions(self, values):
        ece = {method: values[method]["ece"] for method in METHODS}
        nll = {method: values[method]["nll"] for method in METHODS}
        return (
            direction("Smoothing lowers the ECE", ece["smoothed"], ece["hard"], ".150 → .024"),
            direction("A temperature lowers the ECE", ece["hard + temperature"], ece["hard"], ".150 → .021"),
            direction(
                "A temperature calibrates slightly better than smoothing",
                ece["hard + temperature"],
                ece["smoothed"],
                ".021 against .024",
            ),
            direction(
                "After a temperature, smoothing still has the lower NLL",
                nll["smoothed + temperature"],
                nll["hard + temperature"],
                "not reported",
            ),
        )

    def _figure(self, labels, pooled):
        displays = [
            ReliabilityDisplay(
                *bins_of_predictions(
                    labels, np.concatenate(pooled[method]), self.num_bins, "uniform", "left", True, None
                ),
                name=method,
            )
            for method in METHODS
        ]
        return Figure(
            name="calibration",
            kind="ReliabilityDisplay",
            panels=(tuple(display.to_dict() for display in displays),),
            reading=(
                "Test examples of all seeds, binned by confidence. A bar's height is how often the predictions in that "
                "bin are right: on the dashed diagonal they are as right as they are confident, below it they are "
                "over-confident. The strip underneath shows where the examples lie; bins without any are blank. With "
                "all seeds in one diagram each bin holds more examples, so that its ECE is below the table's mean."
            ),
        )
