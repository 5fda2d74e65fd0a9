"""Batches in an order that is a function of seed and epoch, so that any place in it is found at once."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ls.ops._checks import checked_count
from keras_ls.ops._types import Data


class ShuffledBatches(keras.utils.PyDataset):
    """Arrays in shuffled batches for `fit`, whose order depends on `(seed, epoch)` and on nothing else.

    Two processes, or a process and the one that resumes it, get the same batches; to begin in the middle costs no more
    than to begin at the start. Each example is in one batch of every epoch. Give `fit` `shuffle=False`: Keras shuffles
    the batches of any `PyDataset` once more, by Python's own random numbers (`callbacks.ExactResume` switches it off).

    Args:
        x: inputs: an array `[N, ...]`, or a list, tuple or dictionary of them; a memmap is read batch by batch.
        y: labels, likewise, or None.
        sample_weight: weights, likewise, or None.
        batch_size: examples a batch; the last one of an epoch may have fewer.
        seed: of the order, and of `augment`.
        shuffle: whether to shuffle; False for the order of the arrays.
        augment: function of `(x, y, generator)` of a batch that returns the same two, or None. All its randomness comes
            from the generator, a `numpy.random.Generator` that is a function of `(seed, epoch, batch)`.
        drop_remainder: whether to leave out a last batch that is not full.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size`, as of `keras.utils.PyDataset`.

    Attributes:
        epoch: the epoch under way, from 0; `callbacks.ExactResume` sets it.

    Raises:
        ValueError: for arrays of different lengths, no examples, and settings out of range.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> batches = kls.data.ShuffledBatches(np.arange(5), batch_size=2, seed=0)
        >>> len(batches), sorted(np.concatenate([x for (x,) in batches]).tolist())
        (3, [0, 1, 2, 3, 4])
        >>> third = kls.data.ShuffledBatches(np.arange(5), batch_size=2, seed=0)
        >>> third.seek(epoch=0, batch=2)
        >>> bool(third[0][0] == batches[2][0])
        True

    Reference:
        Counter-based random numbers: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
    """

    def __init__(
        self,
        x: Data,
        y: Data | None = None,
        sample_weight: Data | None = None,
        batch_size: int = 32,
        seed: int = 0,
        *,
        shuffle: bool = True,
        augment: Callable | None = None,
        drop_remainder: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._arrays = tuple(
            keras.tree.map_structure(_as_array, part) for part in (x, y, sample_weight) if part is not None
        )
        if y is None and sample_weight is not None:
            raise ValueError("Expected `y` beside `sample_weight`. Received: weights alone, which Keras would not use.")
        if y is None and augment is not None:
            raise ValueError("Expected `y` beside `augment`, a function of (x, y, generator). Received: no `y`.")
        self._size = _common_length(self._arrays)
        self.batch_size = checked_count("batch_size", batch_size)
        self.seed = checked_count("seed", seed, minimum=0)
        self.shuffle = bool(shuffle)
        self.augment = augment
        self.drop_remainder = bool(drop_remainder)
        if len(self) == 0:
            raise ValueError(f"Expected at least {batch_size} examples, a full batch. Received: {self._size}.")
        self.epoch, self._first, self._sought, self._order = 0, 0, True, None

    def __len__(self):
        whole, rest = divmod(self._size, self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Begins, at the next reading, with this batch of this epoch.

        Args:
            epoch: from 0.
            batch: from 0.
        """
        epoch, batch = checked_count("epoch", epoch, minimum=0), checked_count("batch", batch, minimum=0)
        if batch >= len(self):
            raise ValueError(f"Expected `batch` below {len(self)}. Received: {batch}.")
        self.epoch, self._first, self._sought = epoch, batch, True

    def on_epoch_begin(self) -> None:
        """Goes on to the next epoch, but for the first and for one that was sought; Keras calls it."""
        if not self._sought:
            self.epoch, self._first = self.epoch + 1, 0
        self._sought = False

    def __getitem__(self, index):
        index = (index + self._first) % len(self)
        rows = self._epoch_order(self.epoch)[index * self.batch_size :][: self.batch_size]
        batch = tuple(keras.tree.map_structure(lambda array: array[rows], part) for part in self._arrays)
        if self.augment is None:
            return batch
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, self.epoch, index + 1]))
        x, y = self.augment(*batch[:2], generator)
        return (x, y, *batch[2:])

    def _epoch_order(self, epoch):
        order = self._order
        if order is None or order[0] != epoch:
            self._order = order = (epoch, epoch_order(self._size, self.seed, epoch) if self.shuffle else None)
        return np.arange(self._size) if order[1] is None else order[1]


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `size` examples in an epoch: a permutation `[size]`, int64, a function of its arguments alone.

    Args:
        size: how many examples.
        seed: of the training.
        epoch: from 0.

    Examples:
        >>> from keras_ls.data.shuffled_batches import epoch_order
        >>> sorted(epoch_order(4, seed=0, epoch=7).tolist())
        [0, 1, 2, 3]
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, 0])).permutation(size)


def _as_array(part):
    return part if hasattr(part, "shape") and hasattr(part, "__getitem__") else np.asarray(part)


def _common_length(arrays):
    lengths = {len(array) for array in keras.tree.flatten(arrays)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "Expected arrays with the same number of examples, at least one. "
            f"Received: {', '.join(map(str, sorted(lengths))) or 'none'} examples."
        )
    return lengths.pop()
