"""What a model predicts for a dataset, block after block, without all of it in memory."""

import numpy as np

from keras_ls.batches import as_batches
from keras_ls.calibrators.example_blocks import BUDGET, ExampleBlocks, prepared, some, total


class PredictedBlocks:
    """Examples of a model and a dataset: kept in memory up to `BUDGET` logits, else predicted again at every pass.

    Args:
        reader: a `PredictionReader`.
        data: what it reads; beyond the budget it must be readable again, with the same examples in any order.
        transform: function of the logits of a batch, float64 `[n, K]`, that every pass needs; or None.
    """

    def __init__(self, reader, data, transform=None):
        self._reader, self._data, self._transform = reader, as_batches(data), transform
        self._kept = self._examples = None

    def sum(self, function):
        """`Σ function(logits, labels, weight)` over the batches; see `ExampleBlocks.sum`."""
        if self._kept is not None:
            return self._kept.sum(function)
        batches = self._first_reading() if self._examples is None else self._later_reading()
        blocks = (prepared(*batch, self._transform) for batch in batches)
        return some(total(function(*block) for block in blocks if block is not None))

    def _first_reading(self):
        kept, numbers, examples = [], 0, 0
        for batch in self._reader.batches(self._data):
            examples += len(batch[0])
            numbers += batch[1].size
            if numbers <= BUDGET:
                kept.append(batch)
            elif self._data.ends_with_reading:
                raise ValueError(
                    "Expected a dataset that can be read more than once, as it has more predictions than are kept in "
                    f"memory ({BUDGET:,} numbers). Received: {self._data.kind}, which ends with its first "
                    "reading. Pass a tf.data.Dataset, a PyDataset, a list of batches, or fewer examples."
                )
            else:
                kept.clear()
            yield batch
        self._examples = examples
        if kept:
            self._kept = ExampleBlocks(*(np.concatenate(arrays) for arrays in zip(*kept)), self._transform)

    def _later_reading(self):
        examples = 0
        try:
            for batch in self._reader.batches(self._data):
                examples += len(batch[0])
                yield batch
        except ValueError:
            if examples:
                raise  # else it came to an end before: see below
        if examples != self._examples:
            raise ValueError(
                "Expected a dataset that gives the same examples at every reading. Received: "
                f"{self._examples:,} examples, then {examples:,}. Fix the sample with `cache()`, or pass arrays."
            )
