"""Penultimate activations on the plane through three templates: figure 1 of the paper."""

import dataclasses

import numpy as np

from keras_ls import ops
from keras_ls.ops._checks import checked_choice
from keras_ls.plots import ProjectionDisplay
from keras_ls.reports.intervals import direction, estimate
from keras_ls.reports.result import Figure, StudyResult, Table
from keras_ls.studies.engine.store import Store
from keras_ls.studies.engine.study import Study
from keras_ls.studies.engine.training import Training

PARTS = {"train": "train", "test": "validation"}
EXAMPLES = 100  # a class and panel, as in the paper


@dataclasses.dataclass(frozen=True)
class ProjectionStudy(Study):
    """Hard and smoothed networks seen in the plane of three classes, and their class separation.

    Attributes:
        label_smoothing: α of the smoothed network.
        classes: triples of class names, one row of the figure each.
        widths: hidden layers.
        epochs: passes over the data; clusters tighten late.
    """

    dataset: str = "digits"
    label_smoothing: float = 0.1
    classes: tuple = (("0", "1", "2"), ("3", "8", "9"))
    widths: tuple = (256, 256)
    epochs: int = 100

    name = "projection"
    about = "penultimate activations of three classes in the plane of their templates, and class separation (figure 1)"

    def __post_init__(self):
        super().__post_init__()
        for triple in self.classes:
            for name in triple:
                checked_choice("class name", name, self.splits.class_names)
            if len(triple) != 3 or len(set(triple)) != 3:
                raise ValueError(f"Expected three different class names. Received: {', '.join(triple)}.")

    def trainings(self) -> list[Training]:
        """A hard and a smoothed network a seed."""
        return [self._training(alpha, seed) for seed in self.seeds for alpha in self._alphas]

    def summarise(self, store: Store) -> StudyResult:
        """R² of every seed, and the figure of the first."""
        values = {}
        for alpha, kind in self._alphas.items():
            networks = [store.predictions(self._training(alpha, seed)) for seed in self.seeds]
            test_labels = self.splits.test[1]
            spreads = {
                f"spread {name}": [
                    np.mean([self._spread(network, part, row) for row in self.classes]) for network in networks
                ]
                for part, name in PARTS.items()
            }
            values[kind] = spreads | {
                f"separation {name}": [
                    float(ops.class_separation(network.features[part], getattr(self.splits, part)[1]))
                    for network in networks
                ]
                for part, name in PARTS.items()
            }
            values[kind]["accuracy"] = [
                float((network.logits["test"].argmax(axis=1) == test_labels).mean()) for network in networks
            ]
        return StudyResult(
            study=self.name,
            config=dataclasses.asdict(self),
            tables=(self._table(values),),
            directions=tuple(
                direction(
                    f"Smoothing tightens the clusters in the plane ({name}: smaller spread)",
                    values["smoothed"][f"spread {name}"],
                    values["hard"][f"spread {name}"],
                    "seen in figure 1",
                )
                for name in PARTS.values()
            )
            + tuple(
                direction(
                    f"Smoothing raises R² over all classes and dimensions ({name})",
                    values["hard"][f"separation {name}"],
                    values["smoothed"][f"separation {name}"],
                    "not the paper's: Kornblith 2021",
                )
                for name in PARTS.values()
            ),
            figures=(self._figure(store),),
            values=values,
            provenance=self.provenance(),
        )

    @property
    def _alphas(self):
        return {0.0: "hard", self.label_smoothing: "smoothed"}

    def _training(self, alpha, seed):
        return Training(self.dataset, self.widths, label_smoothing=alpha, epochs=self.epochs, seed=seed)

    def _table(self, values):
        rows = tuple(
            (
                kind,
                estimate(values[kind]["spread train"]).format(3),
                estimate(values[kind]["spread validation"]).format(3),
                estimate(values[kind]["separation train"]).format(3),
                estimate(values[kind]["separation validation"]).format(3),
                estimate(values[kind]["accuracy"]).format(3),
                "broad clusters" if kind == "hard" else "tight, equidistant clusters",
            )
            for kind in self._alphas.values()
        )
        return Table(
            title=f"Clusters on {self.splits.source}: hard against smoothed (α={self.label_smoothing:g})",
            columns=(
                "labels",
                "spread train",
                "spread validation",
                "R² train",
                "R² validation",
                "accuracy (validation)",
                "paper: figure 1 shows",
            ),
            rows=rows,
            note=(
                f"Mean ± 95 % interval over {len(self.seeds)} seeds. Spread is what figure 1 shows: in the plane, the "
                "mean squared distance to the class's mean over that of the class means to theirs, averaged over the "
                "rows of the figure. R² (Kornblith et al. 2021) is over all classes and dimensions; 1 means that every "
                "class is one direction. The paper gives no number for figure 1."
            ),
        )

    def _spread(self, network, part, names):
        """Variance within the three classes over variance between their means, in the plane of their templates."""
        triple = [self.splits.class_names.index(name) for name in names]
        labels = getattr(self.splits, part)[1]
        plane = ops.class_plane(network.templates[triple])
        clouds = [np.asarray(ops.project(network.features[part][labels == c], *plane)) for c in triple]
        means = np.array([cloud.mean(axis=0) for cloud in clouds])
        within = np.mean([((cloud - mean) ** 2).sum(axis=1).mean() for cloud, mean in zip(clouds, means)])
        return float(within / ((means - means.mean(axis=0)) ** 2).sum(axis=1).mean())

    def _figure(self, store):
        seed = self.seeds[0]
        rows = []
        for names in self.classes:
            triple = [self.splits.class_names.index(name) for name in names]
            row = []
            for alpha, kind in self._alphas.items():
                network = store.predictions(self._training(alpha, seed))
                templates = network.templates[triple]
                plane = ops.class_plane(templates)
                for part, name in PARTS.items():
                    labels = getattr(self.splits, part)[1]
                    chosen = np.concatenate([np.flatnonzero(labels == c)[:EXAMPLES] for c in triple])
                    points = ops.project(network.features[part][chosen], *plane)
                    display = ProjectionDisplay(
                        np.asarray(points),
                        [triple.index(label) for label in labels[chosen]],
                        names,
                        np.asarray(ops.project(templates, *plane)),
                        title=f"{kind}, {name}",
                    )
                    row.append(display.to_dict())
            rows.append(tuple(row))
        return Figure(
            name="projection",
            kind="ProjectionDisplay",
            panels=tuple(rows),
            reading=(
                f"Each point is an example's penultimate activation (seed {seed}), projected onto the plane through "
                "the three templates (crosses). In the paper the clusters are broad after hard labels; after smoothing "
                "they draw together and lie equally far from each other. The two networks have planes of their own: "
                "compare shapes, not positions."
            ),
        )
