"""What every study has: settings, trainings, and a summary of their predictions."""

import dataclasses
from collections.abc import Callable, Iterator

from keras_ls import data
from keras_ls.ops._checks import checked_choice, checked_count
from keras_ls.reports.result import StudyResult, provenance
from keras_ls.studies.engine.store import Store
from keras_ls.studies.engine.training import Training

SIZES = {
    "tiny": "embedded data, no network, minutes on two cores",
    "small": "real data through TensorFlow Datasets, stated subsets, within two hours on two cores",
    "paper": "the paper's own configuration, for GPU and TPU",
}


# beyond which a setting is a slip of the hand: it would take days, or no picture could show it
MOST_SEEDS, MOST_BINS, MOST_FOLDS, MOST_RESAMPLES, LARGEST_SEED = 1000, 1000, 1000, 100_000, 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Study:
    """A study's settings; subclasses give `trainings()` and `summarise(store)`.

    Attributes:
        dataset: name of the dataset.
        seeds: one run of everything for each.
        size: one of `sizes`.
    """

    dataset: str
    seeds: tuple = (0, 1, 2, 3, 4)
    size: str = "tiny"

    name = None
    about = None
    sizes = ("tiny",)

    def __post_init__(self):
        # a wrong setting is an error here, not after an hour
        self.check_size()
        for dataset in self.datasets:
            data.load(dataset).check_in_memory()
        if not 1 <= len(self.seeds) <= MOST_SEEDS:
            raise ValueError(f"Expected 1 to {MOST_SEEDS:,} seeds. Received: {len(self.seeds) or 'none'}.")
        for seed in self.seeds:
            checked_count("seed", seed, 0, LARGEST_SEED)
        self.trainings()  # each checks its own settings

    def check_size(self) -> None:
        """Raises `ValueError` for a size that this study does not have."""
        checked_choice("size", self.size, SIZES)
        if self.size not in self.sizes:
            raise ValueError(
                f"Expected `size` {' or '.join(map(repr, self.sizes))} for the study {self.name}. "
                f"Received: {self.size!r}, which it does not have yet."
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return (self.dataset,)

    def run(self, store: Store, progress: Callable[[float], None] | None = None) -> Iterator[tuple[Training, bool]]:
        """Does every training that the store lacks, yielding `(training, done before)` ahead of each.

        A run that was killed goes on where it stopped and ends with the same numbers.

        Args:
            store: a `Store`.
            progress: called now and then with the share of the present training that is done, or None.
        """
        for training in dict.fromkeys(self.trainings()):
            yield training, store.has(training)
            store.predictions(training, progress)

    def trainings(self) -> list[Training]:
        """The `Training`s, teachers before their students."""
        raise NotImplementedError(f"{type(self).__name__} must implement trainings().")

    def summarise(self, store: Store) -> StudyResult:
        """The `StudyResult` of the stored predictions."""
        raise NotImplementedError(f"{type(self).__name__} must implement summarise().")

    @property
    def splits(self) -> data.Splits:
        """The data."""
        return data.load(self.dataset)

    def provenance(self) -> dict:
        """Command, versions, seeds, data fingerprint."""
        return provenance({name: data.load(name).fingerprint for name in self.datasets}, self.seeds)
