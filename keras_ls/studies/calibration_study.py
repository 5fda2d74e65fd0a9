"""Calibration: table 3 and figure 2 of the paper, and how much smoothing it takes."""

import dataclasses
import functools

import numpy as np
from scipy import special

from keras_ls import data, ops
from keras_ls.calibrators import TemperatureScaling
from keras_ls.evaluation import evaluate
from keras_ls.ops._checks import checked_count, checked_fraction
from keras_ls.plots import ComparisonDisplay, ReliabilityDisplay
from keras_ls.plots.reliability_bins import bins_of_predictions
from keras_ls.reports.intervals import NOT_REPORTED, direction_at_points, estimate
from keras_ls.reports.result import Figure, StudyResult, Table
from keras_ls.studies.engine.settings import SETTINGS
from keras_ls.studies.engine.store import Store
from keras_ls.studies.engine.study import MOST_BINS, Study
from keras_ls.studies.engine.training import Training

DEFAULTS = {
    "tiny": {"datasets": ("digits-noise",), "label_smoothings": (0.05,), "seeds": (0, 1, 2, 3, 4)},
    "small": {"datasets": ("mnist", "cifar10"), "label_smoothings": (0.01, 0.05, 0.1, 0.2), "seeds": (0, 1, 2)},
}
PAPER_ALPHA = 0.05
# CIFAR-100, ResNet-56, 15 bins (table 3)
PAPER_ECE = {0.0: "0.150", PAPER_ALPHA: "0.024"}
PAPER_TEMPERATURE = "0.021 (T=1.9)"
SCORES = ("accuracy", "nll", "brier", "ece")
# key, heading, digits
MEASURES = {
    "accuracy": ("accuracy", 3),
    "nll": ("NLL (nats)", 3),
    "brier": ("Brier", 3),
    "ece": ("ECE", 3),
    "temperature": ("T", 2),
}


@dataclasses.dataclass(frozen=True)
class CalibrationStudy(Study):
    """Hard and smoothed networks, before and after a temperature that is fitted on a split of its own.

    Attributes:
        dataset: one dataset; None for those of the size.
        seeds: None for those of the size.
        label_smoothings: α of each smoothed network, ascending; None for those of the size.
        widths: hidden layers, where the network is "mlp".
        num_bins: bins of the ECE.
    """

    dataset: str | None = None
    seeds: tuple | None = None
    label_smoothings: tuple | None = None
    widths: tuple = (256, 256)
    num_bins: int = 15

    name = "calibration"
    about = "accuracy, NLL, Brier and ECE, with and without smoothing and temperature (table 3, figure 2)"
    sizes = ("tiny", "small")

    def __post_init__(self):
        self.check_size()
        for key in ("seeds", "label_smoothings"):
            if getattr(self, key) is None:
                object.__setattr__(self, key, DEFAULTS[self.size][key])
        for alpha in self.label_smoothings:
            checked_fraction("label_smoothing", alpha)
        if not self.label_smoothings or list(self.label_smoothings) != sorted({*self.label_smoothings} - {0.0}):
            raise ValueError(
                "Expected `label_smoothings` above 0, in ascending order: the hard network is always there. "
                f"Received: {self.label_smoothings}."
            )
        super().__post_init__()
        checked_count("num_bins", self.num_bins, maximum=MOST_BINS)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return DEFAULTS[self.size]["datasets"] if self.dataset is None else (self.dataset,)

    @property
    def networks(self) -> dict[str, float]:
        """Name → α, the hard network first."""
        if len(self.label_smoothings) == 1:
            return {"hard": 0.0, "smoothed": self.label_smoothings[0]}
        return {"hard": 0.0, **{f"smoothed α={alpha:g}": alpha for alpha in self.label_smoothings}}

    @property
    def methods(self) -> dict[str, tuple[str, bool]]:
        """Name → (network, whether a temperature follows)."""
        return {name + suffix: (name, bool(suffix)) for name in self.networks for suffix in ("", " + temperature")}

    def trainings(self) -> list[Training]:
        """A network a dataset, seed and α."""
        return [
            self.training(dataset, alpha, seed)
            for dataset in self.datasets
            for seed in self.seeds
            for alpha in self.networks.values()
        ]

    def training(self, dataset: str, alpha: float, seed: int) -> Training:
        """The training of one network."""
        return Training(
            dataset, **{"widths": self.widths, **SETTINGS.get(dataset, {})}, label_smoothing=alpha, seed=seed
        )

    def summarise(self, store: Store) -> StudyResult:
        """Scores on the test split, and reliability diagrams of all seeds pooled."""
        values, pooled = {}, {}
        for dataset in self.datasets:
            values[dataset], pooled[dataset] = self._evaluate(store, dataset)
        figures = (self._reliability(pooled),)
        if len(self.networks) > 2:
            figures += (self._sweep(values),)
        return StudyResult(
            study=self.name,
            config=dataclasses.asdict(self),
            tables=(self._table(values, {d: self._floor(d, pooled[d]["hard + temperature"]) for d in self.datasets}),),
            directions=self._directions(values),
            figures=figures,
            values=values,
            provenance=self.provenance(),
        )

    def _evaluate(self, store, dataset):
        """Every method's scores, one a seed, and its test logits."""
        splits = data.load(dataset)
        values = {method: {key: [] for key in MEASURES} for method in self.methods}
        pooled = {method: [] for method in self.methods}
        for seed in self.seeds:
            for method, (network, scaled) in self.methods.items():
                logits = store.predictions(self.training(dataset, self.networks[network], seed)).logits
                T = 1.0
                if scaled:
                    T = TemperatureScaling().fit(logits["calibration"], splits.calibration[1]).temperature
                pooled[method].append(logits["test"] / np.float32(T))
                scores = evaluate(splits.test[1], pooled[method][-1], num_bins=self.num_bins, scores=SCORES)
                scores["temperature"] = T
                for key in MEASURES:
                    values[method][key].append(scores[key])
        return values, pooled

    def _floor(self, dataset, logits):
        """ECE of a perfectly calibrated network with these predictions: mean and 95 % range, over the networks."""
        labels = data.load(dataset).test[1]
        ece = functools.partial(ops.calibration_error, num_bins=self.num_bins)
        tests = [
            ops.calibration_test(labels, special.softmax(z, axis=1), statistic=ece, num_resamples=200) for z in logits
        ]
        return np.mean([(test.expected, test.low, test.high) for test in tests], axis=0)

    def _table(self, values, floors):
        rows = []
        for dataset in self.datasets:
            if len(self.datasets) > 1:
                rows.append((data.load(dataset).source, *[""] * (len(MEASURES) + 1)))
            for method, (network, scaled) in self.methods.items():
                found = [estimate(values[dataset][method][key]).format(n) for key, (_, n) in MEASURES.items()]
                alpha = self.networks[network]
                paper = "–" if scaled and alpha else PAPER_TEMPERATURE if scaled else PAPER_ECE.get(alpha, "–")
                rows.append((method, *(found if scaled else [*found[:-1], "1"]), paper))
        smoothing = f" (α={self.label_smoothings[0]:g})" if len(self.label_smoothings) == 1 else ""
        sources = " and ".join(data.load(dataset).source for dataset in self.datasets)
        floor = "; ".join(
            f"{mean:.3f} ({low:.3f} to {high:.3f})" + (f" on {data.load(d).source}" if len(floors) > 1 else "")
            for d, (mean, low, high) in floors.items()
        )
        return Table(
            title=f"Calibration on {sources}: hard against smoothed{smoothing}",
            columns=("method", *(heading for heading, _ in MEASURES.values()), "paper: ECE"),
            rows=tuple(rows),
            note=(
                f"Mean ± 95 % interval over {len(self.seeds)} seeds, on the test split, {self.num_bins} bins. "
                f"{' '.join(self.training(dataset, 0.0, 0).about() for dataset in self.datasets)} No other number "
                f"uses the examples that T is fitted on. A perfectly calibrated network would score an ECE of about "
                f"{floor} here: so many examples cannot tell a network from it that scores as low. The paper's column "
                "is CIFAR-100 with a ResNet-56: other data, another network."
            ),
        )

    def _directions(self, values):
        alpha = min(self.label_smoothings, key=lambda a: abs(a - PAPER_ALPHA))
        smoothed = next(name for name, a in self.networks.items() if a == alpha)

        def pairs(key, smaller, larger):
            names = {d: data.load(d).source if len(self.datasets) > 1 else d for d in self.datasets}
            return {names[d]: (values[d][smaller][key], values[d][larger][key]) for d in self.datasets}

        name = f"Smoothing (α={alpha:g})" if len(self.label_smoothings) > 1 else "Smoothing"
        return (
            direction_at_points(f"{name} lowers the ECE", pairs("ece", smoothed, "hard"), "0.150 → 0.024"),
            direction_at_points(
                "A temperature lowers the ECE", pairs("ece", "hard + temperature", "hard"), "0.150 → 0.021"
            ),
            direction_at_points(
                f"A temperature calibrates slightly better than {name[0].lower()}{name[1:]}",
                pairs("ece", "hard + temperature", smoothed),
                "0.021 against 0.024",
            ),
            direction_at_points(
                f"After a temperature, {name[0].lower()}{name[1:]} still has the lower NLL",
                pairs("nll", f"{smoothed} + temperature", "hard + temperature"),
                NOT_REPORTED,
            ),
        )

    def _reliability(self, pooled):
        drawn = ["hard", "hard + temperature"]
        if len(self.networks) == 2:
            drawn += [method for method in self.methods if method not in drawn]
        else:
            drawn += [name for name, alpha in self.networks.items() if alpha >= PAPER_ALPHA]

        def panel(dataset, method):
            labels = np.tile(data.load(dataset).test[1], len(self.seeds))
            logits = np.concatenate(pooled[dataset][method])
            bins = bins_of_predictions(labels, logits, self.num_bins, "uniform", "left", True, None)
            source = f"{data.load(dataset).source}: " if len(self.datasets) > 1 else ""
            return ReliabilityDisplay(*bins, name=source + method).to_dict()

        return Figure(
            name="calibration",
            kind="ReliabilityDisplay",
            panels=tuple(tuple(panel(dataset, method) for method in drawn) for dataset in self.datasets),
            reading=(
                "Test examples of all seeds, binned by confidence. A bar's height is how often the predictions in that "
                "bin are right: on the dashed diagonal they are as right as they are confident, below it they are "
                "over-confident. The strip underneath shows where the examples lie; bins without any are blank. With "
                "all seeds in one diagram each bin holds more examples, so that its ECE is below the table's mean."
            ),
        )

    def _sweep(self, values):
        def panel(dataset, key):
            series = []
            for suffix, label in (("", "as trained"), (" + temperature", "after temperature")):
                found = [estimate(values[dataset][name + suffix][key]) for name in self.networks]
                interval = None if len(self.seeds) == 1 else [one.interval for one in found]
                series.append({"label": label, "mean": [one.mean for one in found], "interval": interval})
            title = data.load(dataset).source if key == "accuracy" else None
            if key == "temperature":  # that of the network as trained: 1 afterwards
                series[0] = {**series[1], "label": "as trained"}
            kept = series[:1] if key in ("accuracy", "temperature") else series
            return ComparisonDisplay(list(self.networks), kept, MEASURES[key][0], title).to_dict()

        return Figure(
            name="calibration-sweep",
            kind="ComparisonDisplay",
            panels=tuple(tuple(panel(dataset, key) for key in MEASURES) for dataset in self.datasets),
            reading=(
                "A row a network, from hard labels to the most smoothing; dots are means over seeds, bars 95 % "
                "intervals, dotted lines the hard network. Circles are networks as trained, squares the same after a "
                "temperature fitted on other data. NLL, Brier and ECE are better to the left. A T above 1 says that "
                "the network is over-confident as trained, below 1 that it is under-confident."
            ),
        )
