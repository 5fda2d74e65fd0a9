"""MNIST: the better teacher's worse student, the paper's table of section 4."""

import dataclasses

import numpy as np

from keras_ls import data
from keras_ls.plots import ComparisonDisplay
from keras_ls.reports.intervals import NOT_REPORTED, direction, estimate
from keras_ls.reports.result import Figure, Table
from keras_ls.studies.engine.training import Training

ALONE = "student alone"
# the networks, in the order of the table, with the paper's error in %
PAPER = {
    "teacher, hard labels": "0.67",
    "teacher, smoothed": "0.59",
    ALONE: NOT_REPORTED,
    "student of hard teacher": "0.74",
    "student of smoothed teacher": "0.91",
}


@dataclasses.dataclass(frozen=True)
class TeacherPairs:
    """A hard and a smoothed teacher, a student of each, and a student without a teacher.

    Teachers see shifted images, students the images as they are. Students learn `(1-β) · CE + β · ½‖z_s - z_t‖²`, the
    limit of distillation at a high temperature, with β = 0.6.

    Attributes:
        dataset: name of the dataset.
        seeds: one run of everything for each.
        epochs: passes over the data, for teachers and students.
        examples: how many of the training split, the first ones; None for all.
        with_calibration: whether the calibration split is trained on, too: MNIST's 60,000 images.
        label_smoothing: α of the smoothed teacher.
        teacher_widths: hidden layers of the teachers.
        dropout: of the teachers.
        shift: pixels by which the teachers' images move.
        student_widths: hidden layers of the students.
        label_share: 1 - β.
    """

    dataset: str
    seeds: tuple
    epochs: int
    examples: int | None = None
    with_calibration: bool = False
    label_smoothing: float = 0.1
    teacher_widths: tuple = (1200, 1200)
    dropout: float = 0.5
    shift: int = 2
    student_widths: tuple = (800, 800)
    label_share: float = 0.4

    def trainings(self):
        """Teachers before their students."""
        return [training for seed in self.seeds for training in self.networks(seed).values()]

    def networks(self, seed):
        """Name → training, one a line of the table."""
        shared = Training(
            self.dataset,
            examples=self.examples,
            with_calibration=self.with_calibration,
            epochs=self.epochs,
            batch_size=128,
            optimizer="adam",
            learning_rate=0.001,
            decay="linear",
            seed=seed,
        )
        hard = dataclasses.replace(shared, widths=self.teacher_widths, dropout=self.dropout, shift=self.shift)
        smoothed = dataclasses.replace(hard, label_smoothing=self.label_smoothing)
        alone = dataclasses.replace(shared, widths=self.student_widths)

        def student(teacher):
            return dataclasses.replace(alone, teacher=teacher, matching="squared", label_share=self.label_share)

        return dict(zip(PAPER, (hard, smoothed, alone, student(hard), student(smoothed))))

    def evaluate(self, store):
        """Name → test errors in %, one a seed."""
        labels = data.load(self.dataset).test[1]
        errors = {name: [] for name in PAPER}
        for seed in self.seeds:
            for name, training in self.networks(seed).items():
                wrong = store.predictions(training).logits["test"].argmax(axis=1) != labels
                errors[name].append(float(100 * wrong.mean()))
        return {"error": errors}

    def tables(self, values):
        """The paper's errors beside ours."""
        networks = self.networks(self.seeds[0])
        rows = tuple(
            (name, networks[name].about_network(), estimate(values["error"][name]).format(2), PAPER[name])
            for name in PAPER
        )
        splits = data.load(self.dataset)
        count, tests = networks[ALONE].num_examples, len(splits.test[1])
        return (
            Table(
                title=f"Students of hard and smoothed teachers on {splits.source}",
                columns=("network", "size", "test error %", "paper"),
                rows=rows,
                note=(
                    f"Mean ± 95 % interval over {len(self.seeds)} seeds, on the {tests:,} test examples: with an error "
                    f"of 0.7 % they alone leave ± {196 * np.sqrt(0.007 * 0.993 / tests):.2f}, for all networks alike. "
                    f"{count:,} training images, {self.epochs} epochs, Adam with a rate from 0.001 linearly to 0, "
                    f"nothing tuned. Teachers: shifts of up to ± {self.shift} pixels; smoothed: α = "
                    f"{self.label_smoothing:g}. Students: no augmentation, {self.label_share:g}·CE + "
                    f"{1 - self.label_share:g}·½‖z_s − z_t‖². The paper: 60,000 images, 100 epochs."
                ),
            ),
        )

    def directions(self, values):
        """The paper's claims, seed by seed."""
        errors = values["error"]
        return (
            direction(
                "The smoothed teacher errs less than the hard one",
                errors["teacher, smoothed"],
                errors["teacher, hard labels"],
                "0.59 % against 0.67 %",
            ),
            direction(
                "The student of the smoothed teacher errs more than the student of the hard teacher",
                errors["student of hard teacher"],
                errors["student of smoothed teacher"],
                "0.91 % against 0.74 %",
            ),
            direction(
                "The student of the hard teacher errs less than the student alone",
                errors["student of hard teacher"],
                errors["student alone"],
                NOT_REPORTED,
            ),
            direction(
                "The student of the smoothed teacher errs less than the student alone",
                errors["student of smoothed teacher"],
                errors["student alone"],
                NOT_REPORTED,
            ),
        )

    def figures(self, values):
        """The errors, a row a network."""
        errors = [estimate(values["error"][name]) for name in PAPER]
        series = {
            "label": "here",
            "mean": [error.mean for error in errors],
            "interval": [error.interval for error in errors] if len(self.seeds) > 1 else None,
        }
        rows = [name + (f" (paper: {error})" if name != ALONE else "") for name, error in PAPER.items()]
        source = data.load(self.dataset).source
        return (
            Figure(
                name="distillation-mnist",
                kind="ComparisonDisplay",
                panels=((ComparisonDisplay(rows, [series], "test error %", source).to_dict(),),),
                reading=(
                    "Dots are means over seeds, bars 95 % intervals, the dotted line is the hard teacher. In the paper "
                    "the smoothed teacher errs less than the hard one, and its student more than the hard one's."
                ),
            ),
        )
