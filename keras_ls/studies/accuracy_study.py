"""Accuracy: tables 1 and 2 of the paper, widened to the losses that came after label smoothing."""

import dataclasses
import functools

import numpy as np

from keras_ls import data, ops
from keras_ls.calibrators import TemperatureScaling
from keras_ls.evaluation import evaluate
from keras_ls.ops._checks import checked_count, checked_fraction
from keras_ls.plots import ComparisonDisplay
from keras_ls.reports.intervals import direction_at_points, estimate
from keras_ls.reports.result import Figure, StudyResult, Table
from keras_ls.studies.engine.compared_losses import COMPARED_LOSSES
from keras_ls.studies.engine.settings import SETTINGS
from keras_ls.studies.engine.store import Store
from keras_ls.studies.engine.study import MOST_BINS, Study
from keras_ls.studies.engine.training import Training

DEFAULTS = {
    "tiny": {"datasets": ("digits-noise",), "seeds": (0, 1, 2, 3, 4)},
    "small": {"datasets": ("mnist", "cifar10"), "seeds": (0, 1, 2)},
}
# key, heading, digits, and what the table multiplies it by
MEASURES = {
    "accuracy": ("accuracy", 3, 1),
    "nll": ("NLL (nats)", 3, 1),
    "nll_T": ("NLL after T", 3, 1),
    "ece": ("ECE", 3, 1),
    "ece_T": ("ECE after T", 3, 1),
    "temperature": ("T", 2, 1),
    "separation": ("R²", 3, 1),
    "aurc": ("AURC ·10³", 1, 1000),
}
PAPER = {  # table 2, and the teachers of the MNIST experiment
    "cifar10": {"hard": "0.868 ± 0.002", "smoothed": "0.867 ± 0.003"},
    "mnist": {"hard": "0.993", "smoothed": "0.994"},
}


@dataclasses.dataclass(frozen=True)
class AccuracyStudy(Study):
    """The family of losses on the same networks, data and seeds.

    Attributes:
        dataset: one dataset; None for those of the size.
        seeds: None for those of the size.
        label_smoothing: α of label smoothing; the other losses have settings from their papers.
        num_bins: bins of the ECE.
        epochs: passes over the training split; None for those of the dataset.
        widths: hidden layers, where the network is "mlp".
    """

    dataset: str | None = None
    seeds: tuple | None = None
    label_smoothing: float = 0.1
    num_bins: int = 15
    epochs: int | None = None
    widths: tuple = (256, 256)

    name = "accuracy"
    about = "accuracy, NLL, ECE, R², AURC of label smoothing and its successors (tables 1 and 2, widened)"
    sizes = ("tiny", "small")

    def __post_init__(self):
        self.check_size()
        if self.seeds is None:
            object.__setattr__(self, "seeds", DEFAULTS[self.size]["seeds"])
        checked_fraction("label_smoothing", self.label_smoothing)
        checked_count("num_bins", self.num_bins, maximum=MOST_BINS)
        super().__post_init__()

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return DEFAULTS[self.size]["datasets"] if self.dataset is None else (self.dataset,)

    @property
    def methods(self) -> dict[str, str]:
        """Name → label, the hard network first."""
        labels = {name: member.label for name, member in COMPARED_LOSSES.items()}
        return {"hard": "hard labels", **labels, "smoothed": f"label smoothing α={self.label_smoothing:g}"}

    def trainings(self) -> list[Training]:
        """A network a dataset, method and seed; the seeds of a method one after the other, as they share its step."""
        return [
            self._training(dataset, method, seed)
            for dataset in self.datasets
            for method in self.methods
            for seed in self.seeds
        ]

    def _training(self, dataset, method, seed):
        settings = {"widths": self.widths, **SETTINGS.get(dataset, {})}
        if self.epochs is not None:
            settings["epochs"] = self.epochs
        if method in ("hard", "smoothed"):
            settings["label_smoothing"] = 0.0 if method == "hard" else self.label_smoothing
        loss = "smoothed" if method == "hard" else method
        return Training(dataset, loss=loss, seed=seed, **settings)

    def summarise(self, store: Store) -> StudyResult:
        """Scores on the test split; temperatures from the calibration split."""
        values = {
            dataset: {
                method: _columns([self._scores(store, self._training(dataset, method, seed)) for seed in self.seeds])
                for method in self.methods
            }
            for dataset in self.datasets
        }
        return StudyResult(
            study=self.name,
            config=dataclasses.asdict(self),
            tables=(self._table(values),),
            directions=self._directions(values),
            figures=(self._figure(values),),
            values=values,
            provenance=self.provenance(),
        )

    def _scores(self, store, training):
        predictions, splits = store.predictions(training), data.load(training.dataset)
        logits, labels = predictions.logits["test"], splits.test[1]
        T = TemperatureScaling().fit(predictions.logits["calibration"], splits.calibration[1]).temperature
        scored = functools.partial(evaluate, labels, num_bins=self.num_bins)
        cooled = scored(logits / np.float32(T), scores=("nll", "ece"))
        return {
            **scored(logits, scores=("accuracy", "nll", "ece", "aurc")),
            **{f"{name}_T": value for name, value in cooled.items()},
            "temperature": T,
            "separation": float(ops.class_separation(predictions.features["test"], labels)),
        }

    def _table(self, values):
        rows, about = [], " ".join(self._training(dataset, "hard", 0).about() for dataset in self.datasets)
        for dataset in self.datasets:
            if len(self.datasets) > 1:
                rows.append((data.load(dataset).source, *[""] * (len(MEASURES) + 1)))
            for method, label in self.methods.items():
                found = (
                    estimate(np.multiply(values[dataset][method][key], scale)).format(digits)
                    for key, (_, digits, scale) in MEASURES.items()
                )
                rows.append((label, *found, PAPER.get(dataset, PAPER["cifar10"]).get(method, "–")))
        return Table(
            title="Label smoothing and its successors, on the same networks, data and seeds",
            columns=("loss", *(heading for heading, _, _ in MEASURES.values()), "paper: accuracy"),
            rows=tuple(rows),
            note=(
                f"Mean ± 95 % interval over {len(self.seeds)} seeds, on the test split. "
                f"{about} T is fitted on the calibration split, "
                f"which no other number uses; ECE with {self.num_bins} bins. R² is the class separation of Kornblith "
                "et al. (2021), AURC the area under the risk-coverage curve, as trained (lower is better). Every "
                "loss has a setting from its paper (margin 10, weight 0.1; confidence penalty 0.1), the same "
                "everywhere; none is tuned here. The paper's column is an AlexNet on all of CIFAR-10 and, for MNIST, a "
                "perceptron of 1200×1200 on all of it."
            ),
        )

    def _directions(self, values):
        def pairs(key, smaller, larger):
            return {d: (values[d][smaller][key], values[d][larger][key]) for d in self.datasets}

        return (
            direction_at_points(
                "Smoothing is more accurate than hard labels",
                pairs("accuracy", "hard", "smoothed"),
                "CIFAR-100: 72.1 → 72.7; CIFAR-10: no difference (table 2)",
            ),
            direction_at_points(
                "Smoothing lowers the ECE", pairs("ece", "smoothed", "hard"), "0.150 → 0.024 (CIFAR-100, table 3)"
            ),
            direction_at_points(
                "Smoothing separates the classes more (R²)",
                pairs("separation", "hard", "smoothed"),
                "Kornblith 2021: more",
            ),
            direction_at_points(
                "Max suppression separates them less than smoothing (R²)",
                pairs("separation", "max-suppression", "smoothed"),
                "MaxSup 2025: more variety within a class",
            ),
            direction_at_points(
                "Smoothing hurts selective classification (AURC)",
                pairs("aurc", "hard", "smoothed"),
                "Xia 2025: higher",
            ),
        )

    def _figure(self, values):
        columns = (("accuracy",), ("nll", "nll_T"), ("ece", "ece_T"), ("separation",), ("aurc",))
        return Figure(
            name="accuracy",
            kind="ComparisonDisplay",
            panels=tuple(
                tuple(
                    self._panel(values[dataset], keys, data.load(dataset).source, i) for i, keys in enumerate(columns)
                )
                for dataset in self.datasets
            ),
            reading=(
                "A row a loss; dots are means over seeds, bars 95 % intervals, dotted lines the hard network. Circles "
                "are networks as trained, squares the same after a temperature fitted on other data. Accuracy is "
                "better to the right, NLL, ECE and AURC are better to the left; R² says how tight the classes are."
            ),
        )

    def _panel(self, values, keys, source, column):
        def series(key):
            found = [estimate(values[method][key]) for method in self.methods]
            interval = None if len(self.seeds) == 1 else [one.interval for one in found]
            label = "after temperature" if key.endswith("_T") else "as trained"
            return {"label": label, "mean": [one.mean for one in found], "interval": interval}

        title = source if column == 0 else None
        heading = {"aurc": "AURC"}.get(keys[0], MEASURES[keys[0]][0])
        return ComparisonDisplay(list(self.methods.values()), [series(k) for k in keys], heading, title).to_dict()


def _columns(scores):
    """A list of dictionaries as a dictionary of lists."""
    return {key: [score[key] for score in scores] for key in scores[0]}
