"""Figure 5 of the paper: students of hard and of smoothed teachers against effective smoothing; and T × α."""

import dataclasses

import numpy as np

from keras_ls import data, ops
from keras_ls.plots import SmoothingSweepDisplay
from keras_ls.reports.intervals import direction_at_points, estimate
from keras_ls.reports.result import Figure, Table
from keras_ls.studies.engine.training import Training

TEACHER, ALONE = "teacher, smoothed", "student alone, smoothed"
HARD, SMOOTHED = "student of hard teacher", "student of smoothed teacher, T=1"


@dataclasses.dataclass(frozen=True)
class SmoothingCurves:
    """Teachers, students alone, and students of both kinds of teacher, all against effective smoothing γ.

    Students of a teacher do not see the labels (β = 1) and keep their own temperature at 1, as in the paper.

    Attributes:
        dataset: name of the dataset.
        seeds: one run of everything for each.
        teacher: settings of the teachers' `Training`.
        student: settings of the students'.
        smoothings: α of the teachers and of the students trained alone; the first is 0.
        temperatures: T of the hard teacher; the first is 1.
        grid_smoothings: α of the smoothed teachers whose temperature is swept too.
        grid_temperatures: T at which students of all these teachers are compared; the first is 1.
    """

    dataset: str
    seeds: tuple
    teacher: dict
    student: dict
    smoothings: tuple
    temperatures: tuple
    grid_smoothings: tuple
    grid_temperatures: tuple

    def __post_init__(self):
        if self.grid_temperatures[0] != 1 or not set(self.grid_temperatures) <= set(self.temperatures):
            raise ValueError(
                "Expected `grid_temperatures` to begin with 1 and to be among `temperatures`, to compare equal T. "
                f"Received: {self.grid_temperatures} and {self.temperatures}."
            )
        if self.smoothings[0] != 0 or not set(self.grid_smoothings) <= set(self.smoothings[1:]):
            raise ValueError(
                "Expected `smoothings` to begin with 0 and to hold all of `grid_smoothings`, above 0. "
                f"Received: {self.smoothings} and {self.grid_smoothings}."
            )

    def trainings(self):
        """Teachers before their students."""
        return [
            training
            for seed in self.seeds
            for points in self.curves(seed).values()
            for _, training in points
            for training in ([training.teacher] if training.teacher else []) + [training]
        ]

    def curves(self, seed):
        """Name of a curve → pairs of a point's name and its training."""

        def teacher(alpha):
            return Training(self.dataset, label_smoothing=alpha, seed=seed, **self.teacher)

        def alone(alpha):
            return Training(self.dataset, label_smoothing=alpha, seed=seed, **self.student)

        def taught(alpha, temperature):
            return dataclasses.replace(alone(0.0), teacher=teacher(alpha), temperature=temperature)

        return {
            TEACHER: [(f"α={a:g}", teacher(a)) for a in self.smoothings],
            ALONE: [(f"α={a:g}", alone(a)) for a in self.smoothings],
            HARD: [(f"T={t:g}", taught(0.0, t)) for t in self.temperatures],
            SMOOTHED: [(f"α={a:g}", taught(a, 1.0)) for a in self.smoothings[1:]],
            **{_of(a): [(f"T={t:g}", taught(a, t)) for t in self.grid_temperatures] for a in self.grid_smoothings},
        }

    def evaluate(self, store):
        """Curve → point → accuracy on the test split and γ on the training split, one a seed."""
        splits, values = data.load(self.dataset), {}
        for seed in self.seeds:
            for curve, points in self.curves(seed).items():
                for point, training in points:
                    entry = values.setdefault(curve, {}).setdefault(point, {"accuracy": [], "gamma": []})
                    predicted = store.predictions(training).logits["test"].argmax(axis=1)
                    entry["accuracy"].append(float((predicted == splits.test[1]).mean()))
                    entry["gamma"].append(self._gamma(store, training))
        return values

    def _gamma(self, store, training):
        if training.teacher is None:
            return training.label_smoothing  # smoothing itself: γ = α
        teacher = store.predictions(training.teacher).logits["train"]
        labels = training.part("train")[1]
        return float(ops.effective_smoothing(teacher[: len(labels)], labels, training.temperature))

    def tables(self, values):
        """Every network's γ and accuracy."""
        first = self.curves(self.seeds[0])
        teacher, student = first[TEACHER][0][1], first[ALONE][0][1]
        splits = data.load(self.dataset)
        tests = len(splits.test[1])
        rows = tuple(
            (curve, point, estimate(entry["gamma"]).format(3), estimate(entry["accuracy"]).format(3))
            for curve, points in values.items()
            for point, entry in points.items()
        )
        return (
            Table(
                title=f"Distillation on {splits.source}",
                columns=("network", "setting", "γ", "accuracy"),
                rows=rows,
                note=(
                    f"Mean ± 95 % interval over {len(self.seeds)} seeds. The test split is the same for all of them: "
                    f"its {tests:,} examples alone leave an accuracy of 0.7 uncertain by ± "
                    f"{1.96 * np.sqrt(0.21 / tests):.3f}. Teacher: {teacher.about_network()}, {teacher.epochs} epochs; "
                    f"student: {student.about_network()}, {student.epochs} epochs; "
                    f"{len(student.part('train')[1]):,} training images. γ is measured on them (of crops, on the "
                    "middle one); for smoothing itself it is α. The paper gives figure 5 (CIFAR-10) as curves without "
                    "numbers: the directions below are what it says of them."
                ),
            ),
            self._grid(values),
        )

    def _grid(self, values):
        columns = tuple(f"T={t:g}" for t in self.grid_temperatures)
        rows = tuple(
            (f"α={a:g}", *(estimate(curve[column]["accuracy"]).format(3) for column in columns))
            for a, curve in self._sweeps(values).items()
        )
        return Table(
            title=f"Students' accuracy on {data.load(self.dataset).source}: the teacher's smoothing × its temperature",
            columns=("teacher", *columns),
            rows=rows,
            note=(
                f"Mean ± 95 % interval over {len(self.seeds)} seeds. Chandrasegaran et al. (2022), ImageNet, ResNet-50 "
                "→ ResNet-18: T=1 71.49 (α=0) and 71.67 (α=0.1), T=2 71.36 and 68.86, T=3 69.67 and 67.75, "
                "T=64 66.19 and 64.36."
            ),
        )

    def _sweeps(self, values):
        """α of a teacher → its students by temperature."""
        return {0.0: values[HARD], **{a: values[_of(a)] for a in self.grid_smoothings}}

    def directions(self, values):
        """The paper's claims, seed by seed."""
        hard, last = values[HARD], f"T={self.grid_temperatures[-1]:g}"

        def losses(curve):
            return np.subtract(curve["T=1"]["accuracy"], curve[last]["accuracy"])

        return (
            direction_at_points(
                "At equal γ, the student of the hard teacher beats the student trained with smoothing",
                at_equal_gamma(values[ALONE], hard),
                "figure 5: at every γ",
            ),
            direction_at_points(
                "At equal γ, the student trained with smoothing beats the student of a smoothed teacher",
                _swapped(at_equal_gamma(values[ALONE], values[SMOOTHED])),
                "figure 5: no better, or worse",
            ),
            direction_at_points(
                "At equal γ, the hard teacher teaches better than a smoothed teacher",
                _swapped(at_equal_gamma(hard, values[SMOOTHED])),
                "MNIST, student's error: 0.74 % against 0.91 %",
            ),
            direction_at_points(
                f"From T=1 to {last}, students of a smoothed teacher lose more than students of the hard teacher",
                {f"α={a:g}": (losses(hard), losses(values[_of(a)])) for a in self.grid_smoothings},
                "Chandrasegaran 2022, ImageNet, T=1 to 64: 7.31 against 5.30 points",
            ),
        )

    def figures(self, values):
        """Figure 5, and the grid."""
        source = data.load(self.dataset).source
        curves = [self._curve(name, values[name]) for name in (TEACHER, ALONE, HARD, SMOOTHED)]
        sweeps = []
        for a, points in self._sweeps(values).items():
            kept = {name: points[name] for name in (f"T={t:g}" for t in self.grid_temperatures)}
            curve = self._curve(f"students of α={a:g} teacher", kept)
            sweeps.append({**curve, "gamma": list(self.grid_temperatures), "points": None})
        return (
            Figure(
                name="distillation",
                kind="SmoothingSweepDisplay",
                panels=((SmoothingSweepDisplay(curves).to_dict(),),),
                reading=(
                    f"{source}: test accuracy against effective smoothing γ: how much probability the targets leave to "
                    "the wrong classes. At equal γ, the height of a student's curve over the student trained alone is "
                    "what its teacher tells about the classes. Bars are 95 % intervals over seeds."
                ),
            ),
            Figure(
                name="distillation-temperatures",
                kind="SmoothingSweepDisplay",
                panels=((SmoothingSweepDisplay(sweeps, xlabel="temperature T of the teacher").to_dict(),),),
                reading=(
                    f"{source}: test accuracy of the students of a hard and of smoothed teachers as the teacher's "
                    "temperature rises. Bars are 95 % intervals over seeds."
                ),
            ),
        )

    def _curve(self, label, points):
        gammas = [estimate(entry["gamma"]) for entry in points.values()]
        accuracies = [estimate(entry["accuracy"]) for entry in points.values()]
        return {
            "label": label,
            "gamma": [gamma.mean for gamma in gammas],
            "accuracy": [accuracy.mean for accuracy in accuracies],
            "interval": [accuracy.interval for accuracy in accuracies] if len(self.seeds) > 1 else None,
            "points": list(points),
        }


def at_equal_gamma(reference, points):
    """A reference curve's accuracy, interpolated at the γ of other points, beside the accuracy of these points.

    Args:
        reference: point name → {"gamma": one a seed, "accuracy": one a seed}.
        points: likewise; those beyond the ends of the reference curve, for any seed, are left out.

    Returns:
        Point name → `(reference accuracy, accuracy)`, one value a seed.

    Examples:
        Half-way between (0, 0.8) and (1, 0.6) the reference is at 0.7.

        >>> from keras_ls.studies.smoothing_curves import at_equal_gamma
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


def _swapped(pairs):
    return {name: pair[::-1] for name, pair in pairs.items()}


def _of(alpha):
    return f"student of α={alpha:g} teacher"
