"""Distillation from hard and smoothed teachers: the paper's section 4."""

import dataclasses

from keras_ls import data
from keras_ls.reports.result import StudyResult
from keras_ls.studies.engine.settings import SETTINGS
from keras_ls.studies.engine.store import Store
from keras_ls.studies.engine.study import Study
from keras_ls.studies.engine.training import Training
from keras_ls.studies.smoothing_curves import SmoothingCurves
from keras_ls.studies.teacher_pairs import TeacherPairs

DEFAULTS = {
    "tiny": {"datasets": ("digits-noise",), "seeds": (0, 1, 2, 3, 4)},
    "small": {"datasets": ("mnist", "cifar10"), "seeds": (0, 1, 2)},
    "paper": {"datasets": ("mnist",), "seeds": (0, 1, 2, 3, 4)},
}
PAIRS = {  # MNIST
    "tiny": {"epochs": 10, "examples": 5_000},
    "small": {"epochs": 30},
    "paper": {"epochs": 100, "with_calibration": True},
}
DIGITS = {
    "teacher": {"widths": (256, 256)},
    "student": {"widths": (16,), "epochs": 80, "learning_rate": 0.1},
    "smoothings": (0.0, 0.15, 0.45, 0.6, 0.75),
    "temperatures": (1.0, 2.0, 4.0, 8.0),
    "grid_smoothings": (0.15,),
    "grid_temperatures": (1.0, 2.0, 4.0),
}
# Adam, whose steps do not depend on the size of a loss: at one rate of SGD that is right for hard labels, networks with
# soft targets, whose gradients are small, have not finished training
SHARED = {**SETTINGS["cifar10"], "epochs": 20, "optimizer": "adam", "learning_rate": 0.001}
CIFAR10 = {
    # longer than the students: a hard teacher that has not fitted its labels has no small γ, where curves lie far apart
    "teacher": {**SHARED, "width": 0.5, "epochs": 60},
    "student": {**SHARED, "width": 0.25},
    "smoothings": (0.0, 0.15, 0.3, 0.45, 0.6, 0.75),
    "temperatures": (1.0, 2.0, 3.0, 4.0, 8.0, 12.0, 16.0),
    "grid_smoothings": (0.15, 0.45),
    "grid_temperatures": (1.0, 2.0, 4.0, 16.0),
}


@dataclasses.dataclass(frozen=True)
class DistillationStudy(Study):
    """On MNIST the paper's two teachers and their students; elsewhere the curves of its figure 5, and T × α.

    Attributes:
        dataset: one dataset; None for those of the size.
        seeds: None for those of the size.
        settings: what to change of an experiment, such as `{"epochs": 5}`: the attributes of `TeacherPairs` (MNIST) or
            `SmoothingCurves` (others).
    """

    dataset: str | None = None
    seeds: tuple | None = None
    settings: dict = dataclasses.field(default_factory=dict)

    name = "distillation"
    about = "students of hard and smoothed teachers: the MNIST table, figure 5, T × α"
    sizes = ("tiny", "small", "paper")

    def __post_init__(self):
        self.check_size()
        if self.seeds is None:
            object.__setattr__(self, "seeds", DEFAULTS[self.size]["seeds"])
        if self.size == "paper" and self.datasets != ("mnist",):
            raise ValueError(
                f"Expected `dataset` 'mnist' at size 'paper'. Received: {self.dataset!r}, which the study distillation "
                "has at 'tiny' and 'small' only."
            )
        if self.size == "tiny" and "cifar10" in self.datasets:
            raise ValueError(
                "Expected `size` 'small' for the dataset 'cifar10' of the study distillation. Received: 'tiny', where "
                "its 30 networks a seed would not be."
            )
        super().__post_init__()

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return DEFAULTS[self.size]["datasets"] if self.dataset is None else (self.dataset,)

    @property
    def experiments(self) -> dict[str, TeacherPairs | SmoothingCurves]:
        """Dataset → experiment."""
        return {dataset: self._experiment(dataset) for dataset in self.datasets}

    def _experiment(self, dataset):
        if dataset == "mnist":
            return TeacherPairs(dataset, self.seeds, **{**PAIRS[self.size], **self.settings})
        defaults = CIFAR10 if dataset == "cifar10" else DIGITS
        return SmoothingCurves(dataset, self.seeds, **{**defaults, **self.settings})

    def trainings(self) -> list[Training]:
        """Teachers before their students."""
        return [training for experiment in self.experiments.values() for training in experiment.trainings()]

    def summarise(self, store: Store) -> StudyResult:
        """Tables, directions and figures of every dataset."""
        values = {dataset: experiment.evaluate(store) for dataset, experiment in self.experiments.items()}

        def named(dataset, found):
            source = f"{data.load(dataset).source}: " if len(self.datasets) > 1 else ""
            return {**found, "claim": source + found["claim"]}

        def collected(what):
            return tuple(x for d, experiment in self.experiments.items() for x in getattr(experiment, what)(values[d]))

        return StudyResult(
            study=self.name,
            config=dataclasses.asdict(self),
            tables=collected("tables"),
            directions=tuple(
                named(d, found)
                for d, experiment in self.experiments.items()
                for found in experiment.directions(values[d])
            ),
            figures=collected("figures"),
            values=values,
            provenance=self.provenance(),
        )
