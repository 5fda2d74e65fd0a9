"""What every study has: settings, trainings, and a summary of their predictions."""

import dataclasses

from keras_ls import data
from keras_ls.studies.result import provenance


@dataclasses.dataclass(frozen=True)
class Study:
    """A study's settings; subclasses give `trainings()` and `summarise(store)`.

    Attributes:
        dataset: name of the dataset.
        seeds: one run of everything for each.
        size: "tiny".
    """

    dataset: str
    seeds: tuple = (0, 1, 2, 3, 4)
    size: str = "tiny"

    name = None
    about = None

    def __post_init__(self):
        data.load(self.dataset)  # an unknown name is an error here, not after an hour

    def run(self, store):
        """Does every training that the store lacks, yielding `(training, done before)` ahead of each.

        A run that was killed goes on where it stopped and ends with the same numbers.
        """
        for training in dict.fromkeys(self.trainings()):
            yield training, store.has(training)
            store.predictions(training)

    def trainings(self):
        """The `Training`s, teachers before their students."""
        raise NotImplementedError(f"{type(self).__name__} must implement trainings().")

    def summarise(self, store):
        """The `StudyResult` of the stored predictions."""
        raise NotImplementedError(f"{type(self).__name__} must implement summarise().")

    @property
    def splits(self):
        """The data."""
        return data.load(self.dataset)

    def provenance(self):
        """Command, versions, seeds, data fingerprint."""
        return provenance({self.dataset: self.splits.fingerprint}, self.seeds)
