"""What schedules start from in an epoch, for a training that is resumed within it."""

import copy
import json

import numpy as np

KEY = "epoch_starts"  # of the entry in a weights file


class EpochStarts:
    """The numbers of one object as its schedules found them at the beginning of the epoch.

    A checkpoint written within an epoch holds numbers that schedules have changed already. Keras resumes at the
    beginning of that epoch, where they are changed again: from what they were before, which is kept beside them. Only
    what comes from a file counts, so that another `fit` of the same model goes on from the present numbers.

    Examples:
        A schedule that halves, killed in epoch 2 and resumed:

        >>> killed, resumed, file = EpochStarts(), EpochStarts(), {}
        >>> killed.begin("label_smoothing", 2, 0.4)  # and sets 0.2
        0.4
        >>> killed.save(file)
        >>> resumed.load(file)
        >>> resumed.begin("label_smoothing", 2, 0.2)  # and sets 0.2 again, not 0.1
        0.4
        >>> resumed.begin("label_smoothing", 3, 0.2)
        0.2
    """

    def __init__(self):
        self._found = {}  # name → (epoch, number), of the epoch that runs
        self._loaded = {}  # the same, from a file

    def begin(self, name, epoch, present):
        """The number that a schedule starts from in `epoch`: the `present` one, or what a file of this epoch says."""
        loaded_epoch, loaded = self._loaded.pop(name, (None, None))
        start = loaded if loaded_epoch == epoch else present
        # the first counts, of several schedules of one number; a copy, as a schedule may write into a list
        self._found.setdefault(name, (int(epoch), copy.copy(start)))
        return start

    def end(self, name):
        """Forgets the epoch."""
        self._found.pop(name, None)

    def save(self, store):
        """Writes an entry into the `store` of `save_own_variables`, if an epoch runs."""
        if self._found:
            store[KEY] = np.frombuffer(json.dumps(self._found).encode(), "uint8")

    def load(self, store):
        """Reads what `save` wrote; nothing from a file without it."""
        self._loaded = json.loads(np.asarray(store[KEY]).tobytes()) if KEY in store else {}


def epoch_starts(owner):
    """The `EpochStarts` of a loss or a model."""
    return vars(owner).setdefault("_epoch_starts", EpochStarts())
