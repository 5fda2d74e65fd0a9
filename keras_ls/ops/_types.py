"""Names of types in signatures."""

import os
from typing import Any

Tensor = Any  # of the Keras backend, or what it converts: arrays, lists, pandas
Data = Any  # what `fit` reads: arrays, a tuple of them, a tf.data.Dataset, a PyDataset, any iterable of batches
PathLike = str | os.PathLike
