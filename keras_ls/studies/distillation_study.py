"""Distillation from hard and smoothed teachers: figure 5 of the paper."""

import dataclasses

import numpy as np

from keras_ls import ops
from keras_ls.plots import SmoothingSweepDisplay
from keras_ls.studies.intervals import direction, direction_at_points, estimate
from keras_ls.studies.result import Figure, StudyResult, Table
from keras_ls.studies.study import Study
from keras_ls.studies.training import Training


@dataclasses.dataclass(frozen=True)
class DistillationStudy(Study):
    """Teachers, students alone, and students of both kinds of teacher, all against effective smoothing γ.

    Students of a teacher do not see the labels (β = 1) and keep their own temperature at 1, as in the paper.

    Attributes:
        smoothings: α of the teachers and of the students trained alone; the first is 0.
        temperatures: T of the hard teacher.
        smoothed: α of the smoothed teacher whose temperature is swept too.
        smoothed_temperatures: its T; the first is 1.
        teacher_widths: hidden layers of the teachers.
        student_widths: hidden layers of the students.
        student_epochs: passes over the data, for the students.
        student_learning_rate: of the students.
    """

    dataset: str = "digits-noise"
    smoothings: tuple = (0.0, 0.15, 0.45, 0.6, 0.75)
    temperatures: tuple = (1.0, 2.0, 4.0, 8.0)
    smoothed: float = 0.15
    smoothed_temperatures: tuple = (1.0, 2.0, 4.0)
    teacher_widths: tuple = (256, 256)
    student_widths: tuple = (16,)
    student_epochs: int = 80
    student_learning_rate: float = 0.1

    name = "distillation"
    about = "students of hard and smoothed teachers against effective smoothing (figure 5)"

    def __post_init__(self):
        super().__post_init__()
        if self.smoothed_temperatures[0] != 1 or not set(self.smoothed_temperatures) <= set(self.temperatures):
            raise ValueError(
                "Expected `smoothed_temperatures` to begin with 1 and to be among `temperatures`, to compare equal T. "
                f"Received: {self.smoothed_temperatures} and {self.temperatures}."
            )

    def trainings(self):
        """Teachers first."""
        return [
            training
            for seed in self.seeds
            for curve in self._curves(seed).values()
            for _, training in curve
            for training in ([training.teacher] if training.teacher else []) + [training]
        ]

    def summarise(self, store):
        """Accuracy and γ of every network."""
        labels = self.splits.test[1]
        values = {}
        for seed in self.seeds:
            for curve, points in self._curves(seed).items():
                for point, training in points:
                    accuracy = float((store.predictions(training).logits["test"].argmax(axis=1) == labels).mean())
                    entry = values.setdefault(curve, {}).setdefault(point, {"accuracy": [], "gamma": []})
                    entry["accuracy"].append(accuracy)
                    entry["gamma"].append(self._gamma(store, training))
        return StudyResult(
            study=self.name,
            config=dataclasses.asdict(self),
            tables=(self._table(values),),
            directions=self._directions(values),
            figures=(self._figure(values),),
            values=values,
            provenance=self.provenance(),
        )

    def _curves(self, seed):
        def teacher(alpha):
            return Training(self.dataset, self.teacher_widths, label_smoothing=alpha, seed=seed)

        student = Training(
            self.dataset,
            self.student_widths,
            epochs=self.student_epochs,
            learning_rate=self.student_learning_rate,
            seed=seed,
        )

        def alone(alpha):
            return dataclasses.replace(student, label_smoothing=alpha)

        def taught(alpha, temperature):
            return dataclasses.replace(student, teacher=teacher(alpha), temperature=temperature)

        smoothed = [alpha for alpha in self.smoothings if alpha > 0]
        return {
            "teacher, smoothed": [(f"α={a:g}", teacher(a)) for a in self.smoothings],
            "student alone, smoothed": [(f"α={a:g}", alone(a)) for a in self.smoothings],
            "student of hard teacher": [(f"T={t:g}", taught(0.0, t)) for t in self.temperatures],
            "student of smoothed teacher, T=1": [(f"α={a:g}", taught(a, 1.0)) for a in smoothed],
            f"student of α={self.smoothed:g} teacher": [
                (f"T={t:g}", taught(self.smoothed, t)) for t in self.smoothed_temperatures
            ],
        }

    def _gamma(self, store, training):
        if training.teacher is None:
            return training.label_smoothing  # smoothing itself: γ = α
        teacher = store.predictions(training.teacher).logits["train"]
        return float(ops.effective_smoothing(teacher, self.splits.train[1], training.temperature))

    def _table(self, values):
        rows = tuple(
            (curve, point, estimate(entry["gamma"]).format(3), estimate(entry["accuracy"]).format(3))
            for curve, points in values.items()
            for point, entry in points.items()
        )
        return Table(
            title=f"Distillation on {self.splits.source}",
            columns=("network", "setting", "γ", "accuracy"),
            rows=rows,
            note=(
                f"Mean ± 95 % interval over {len(self.seeds)} seeds. The test split is the same for all of them: its "
                f"{len(self.splits.test[1])} examples alone leave an accuracy of .7 uncertain by ± .03. Teacher "
                f"{self._network(self.teacher_widths)}, student {self._network(self.student_widths)}. γ is measured on "
                "the training split; for smoothing itself it is α. The paper gives figure 5 (CIFAR-10) as curves "
                "without numbers: the directions below are what it says of them."
            ),
        )

    def _directions(self, values):
        alone, hard = values["student alone, smoothed"], values["student of hard teacher"]
        smoothed = values["student of smoothed teacher, T=1"]
        sweep = values[f"student of α={self.smoothed:g} teacher"]
        last = f"T={self.smoothed_temperatures[-1]:g}"
        return (
            direction_at_points(
                "At equal γ, the student of the hard teacher beats the student trained with smoothing",
                at_equal_gamma(alone, hard),
                "figure 5: at every γ",
            ),
            direction_at_points(
                "At equal γ, the student trained with smoothing beats the student of a smoothed teacher",
                {name: pair[::-1] for name, pair in at_equal_gamma(alone, smoothed).items()},
                "figure 5: no better, or worse",
            ),
            direction_at_points(
                "At equal γ, the hard teacher teaches better than a smoothed teacher",
                {name: pair[::-1] for name, pair in at_equal_gamma(hard, smoothed).items()},
                "MNIST, student's error: .74 % against .91 %",
            ),
            direction(
                f"From T=1 to {last}, students of a smoothed teacher lose more than students of the hard teacher",
                np.subtract(hard["T=1"]["accuracy"], hard[last]["accuracy"]),
                np.subtract(sweep["T=1"]["accuracy"], sweep[last]["accuracy"]),
                "Chandrasegaran 2022, ImageNet, T=1 to 64: 7.31 against 5.30 points",
            ),
        )

    def _figure(self, values):
        curves = []
        for curve, points in values.items():
            gammas = [estimate(entry["gamma"]) for entry in points.values()]
            accuracies = [estimate(entry["accuracy"]) for entry in points.values()]
            curves.append(
                {
                    "label": curve,
                    "gamma": [gamma.mean for gamma in gammas],
                    "accuracy": [accuracy.mean for accuracy in accuracies],
                    "interval": [accuracy.interval for accuracy in accuracies] if len(self.seeds) > 1 else None,
                    "points": list(points),
                }
            )
        return Figure(
            name="distillation",
            kind="SmoothingSweepDisplay",
            panels=((SmoothingSweepDisplay(curves).to_dict(),),),
            reading=(
                "Test accuracy against effective smoothing γ: how much probability the targets leave to the wrong "
                "classes. At equal γ, the height of a student's curve over the student trained alone is what its "
                "teacher tells about the classes. Bars are 95 % intervals over seeds."
            ),
        )

    @staticmethod
    def _network(widths):
        return "×".join(map(str, widths))


def at_equal_gamma(reference, points):
    """A reference curve's accuracy, interpolated at the γ of other points, beside the accuracy of these points.

    Args:
        reference: point name → {"gamma": one a seed, "accuracy": one a seed}.
        points: likewise; those beyond the ends of the reference curve, for any seed, are left out.

    Returns:
        Point name → `(reference accuracy, accuracy)`, one value a seed.

    Examples:
        Half-way between (0, .8) and (1, .6) the reference is at .7.

        >>> from keras_ls.studies.distillation_study import at_equal_gamma
        >>> reference = {"a": {"gamma": [0.0], "accuracy": [0.8]}, "b": {"gamma": [1.0], "accuracy": [0.6]}}
        >>> points = {"c": {"gamma": [0.5], "accuracy": [0.75]}, "d": {"gamma": [2.0], "accuracy": [0.5]}}
        >>> [(name, round(float(a[0]), 6), b) for name, (a, b) in at_equal_gamma(reference, points).items()]
        [('c', 0.7, [0.75])]
    """
    gamma, accuracy = (np.array([entry[key] for entry in reference.values()]).T for key in ("gamma", "accuracy"))
    pairs = {}
    for name, entry in points.items():
        at = np.array(entry["gamma"])
        if ((at >= gamma.min(axis=1)) & (at <= gamma.max(axis=1))).all():
            curves = [(x[np.argsort(x)], y[np.argsort(x)]) for x, y in zip(gamma, accuracy)]
            pairs[name] = ([float(np.interp(g, x, y)) for g, (x, y) in zip(at, curves)], entry["accuracy"])
    return pairs
