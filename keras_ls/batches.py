"""Datasets of `(x, y)` or `(x, y, sample_weight)`: checked before they are read, then read batch after batch."""

import collections.abc
import itertools
import math
import operator
import sys
import warnings
from typing import Any

import keras
import numpy as np

from keras_ls.ops._checks import checked_count
from keras_ls.ops._types import Data

UNKNOWN_LENGTH = 10_000  # batches that are read of a dataset that tells no length, before a warning


class Batches:
    """Batches `(x, y, sample_weight or None)` of a dataset, each reading from its start.

    What cannot be read is refused here, before anything is read, as far as the dataset tells.

    Args:
        data: batches of `(x, y)`, `(x, y, None)` or `(x, y, sample_weight)`: a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a PyTorch `DataLoader`, a list of batches, a generator; or one tuple of arrays.
        name: of the argument, for messages.
        batch_size: for a tuple of arrays; None for one batch.
        steps: how many batches to read; None for all, of data that come to an end.

    Attributes:
        number: how many batches there are, or None where that is not known.
        kind: what they are read from, the name of its class.
        ends_with_reading: whether the data are gone after one reading, as those of a generator.

    Raises:
        ValueError: for what is no such dataset, data without labels or batch axis, x and y of different lengths, and
            data without an end where `steps` is None.

    Examples:
        >>> from keras_ls.batches import Batches
        >>> [y.tolist() for x, y, _ in Batches(([1.0, 2.0, 3.0], [0, 1, 0]), batch_size=2)]
        [[0, 1], [0]]
    """

    def __init__(self, data: Data, name: str = "dataset", batch_size: int | None = 256, steps: int | None = None):
        self.steps = None if steps is None else checked_count("steps", steps)
        self._name, self.kind = name, type(data).__name__
        if isinstance(data, tuple):
            data = _arrays(data, name)
            batch_size = batch_size or max(1, _length(data))
            starts = range(0, _length(data), batch_size)
            self._read = lambda: (_rows(data, slice(start, start + batch_size)) for start in starts)
            number = len(starts)
        else:
            _check_kind(data, name)
            number = _number(data)
            self._read = lambda: map(data.__getitem__, range(sys.maxsize if number is None else number))
            if not isinstance(data, keras.utils.PyDataset) and hasattr(data, "__iter__"):
                self._read = lambda: data
        if number == math.inf:
            if self.steps is None:
                raise endless(name, type(data).__name__, " or pass `steps`, the number of batches to read")
            number = None
        self.number = min((n for n in (number, self.steps) if n is not None), default=None)
        self.ends_with_reading = isinstance(data, collections.abc.Iterator)

    def __iter__(self):
        """Yields the batches."""
        count = 0
        for batch in itertools.islice(self._read(), self.steps):
            count += 1
            if count == UNKNOWN_LENGTH and self.number is None:
                warnings.warn(
                    f"Expected `{self._name}` to come to an end. Received: {count:,} batches so far, of data that tell "
                    "no length. If they repeat for ever, pass `steps`, the number of batches to read.",
                    stacklevel=2,
                )
            yield checked_parts(_from_torch(batch))
        if count and count < (self.steps or 0):
            warnings.warn(
                f"Expected {self.steps} batches, as `steps` says. Received: {count}, all that `{self._name}` has.",
                stacklevel=2,
            )

    def nothing(self) -> ValueError:
        """The error for data that hold no example."""
        spent = ""
        if self.ends_with_reading:
            spent = (
                " A generator is empty after its first reading: pass what can be read again, such as a "
                "tf.data.Dataset, a PyDataset or a list of batches."
            )
        return ValueError(f"Expected at least one example. Received: an empty dataset.{spent}")


def endless(name: str, kind: str, advice: str = "") -> ValueError:
    """The error for a dataset that has no end."""
    return ValueError(
        f"Expected `{name}` to come to an end. Received: a {kind} that repeats for ever. Leave `repeat` out"
        f"{',' if advice else ''}{advice}."
    )


def is_endless(dataset: Any) -> bool:
    """Whether a `tf.data.Dataset` says that it has no end."""
    return int(dataset.cardinality()) == -1  # tf.data.INFINITE_CARDINALITY


def checked_parts(batch: Any) -> tuple[Any, Any, Any]:
    """`(x, y, sample_weight or None)` of a batch, or of the shapes that a dataset promises; else `ValueError`."""
    expected = "Expected batches of (x, y) or (x, y, sample_weight)."
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        if isinstance(batch, dict):
            keys = ", ".join(map(str, batch))
            raise ValueError(
                f"{expected} Received: dictionaries of {keys}. Map them to tuples: (batch[input], batch[label])."
            )
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise ValueError(f"{expected} Received: {type(batch).__name__.removesuffix('Spec')}{size}.")
    x, y, weight = (*batch, None)[:3]
    weight = None if _is_none(weight) else weight
    if _is_none(y):
        raise ValueError(f"{expected} Received: no labels, (x, None).")
    if isinstance(y, (list, tuple)):
        y = _as_array(y, "labels")
    if isinstance(y, (dict, str)):
        raise ValueError(f"{expected} Received: labels that are {_described(y)}. Give one array, for one output.")
    shape = _shape(y)
    if shape == ():
        raise ValueError(
            f"{expected} Received: single examples, without a batch axis (labels of shape ()). Batch them first, as "
            "`dataset.batch(32)` does."
        )
    for leaf in _arrays_of(x):
        inputs = _shape(leaf)
        known = inputs is not None and shape is not None
        if inputs == () or (known and None not in (inputs[0], shape[0]) and inputs[0] != shape[0]):
            raise ValueError(
                f"{expected} Received: x of shape {inputs} with y of shape {shape}. Examples lie along the first axis "
                "of both, one label each; call `batch` on a dataset of single examples."
            )
    return x, y, weight


def _check_kind(data, name):
    """Raises `ValueError` for what is no dataset, or one of other parts, as far as it tells unread."""
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(data, tf.data.Dataset):
        checked_parts(data.element_spec)
        return
    iterable = hasattr(data, "__iter__") or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))
    other = isinstance(data, (str, bytes, dict, set, keras.Model, keras.layers.Layer)) or _is_array(data)
    several = isinstance(data, list) and data and not isinstance(data[0], (tuple, list))
    if isinstance(data, keras.utils.PyDataset) or (iterable and not other and not several):
        return
    raise ValueError(
        f"Expected `{name}` as batches of (x, y) or (x, y, sample_weight): a tf.data.Dataset, a PyDataset, a list of "
        f"tuples; or one tuple of arrays. Received: {_described(data)}. Put arrays into one tuple, (x, y)."
    )


def _number(data):
    """How many batches: a count, infinity, or None where that is not known."""
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(data, tf.data.Dataset):
        size = int(data.cardinality())
        return size if size >= 0 else math.inf if is_endless(data) else None
    if isinstance(data, keras.utils.PyDataset):
        size = data.num_batches
        return math.inf if size is None else size if size == math.inf else int(size)
    if isinstance(data, (itertools.cycle, itertools.count)):
        return math.inf
    if isinstance(data, itertools.repeat):
        return operator.length_hint(data, -1) if operator.length_hint(data, -1) >= 0 else math.inf
    try:
        return len(data)
    except TypeError:
        return None


def _arrays(data, name):
    """`(x, y, sample_weight or None)` of a tuple of arrays, all with examples along their first axis."""
    if len(data) in (2, 3):
        x, *rest = data
        if isinstance(x, (list, tuple)) and not any(map(_is_array, keras.tree.flatten(x))):
            x = _as_array(x, "x")
        data = (keras.tree.map_structure(_from_frame, x), *(_as_array(part, "labels") for part in rest))
    x, y, weight = checked_parts(data)
    shapes = [_shape(part) for part in _arrays_of((x, y, weight))]
    if any(not shape or shape[0] != _length((x, y)) for shape in shapes):
        raise ValueError(
            f"Expected `{name}` as arrays of one length, an example a row. Received: shapes "
            f"{', '.join(map(str, shapes))}. A list of arrays counts as several inputs."
        )
    return x, y, weight


def _length(data):
    return _shape(data[1])[0]


def _rows(data, part):
    return keras.tree.map_structure(lambda a: None if a is None else a[part], data)


def _arrays_of(structure):
    """The arrays of nested inputs, of which optional ones may be None."""
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def _as_array(values, what):
    if values is None or isinstance(values, dict):
        return values
    try:
        return np.asarray(values) if isinstance(values, (list, tuple)) else _from_frame(values)
    except ValueError as error:
        raise ValueError(f"Expected {what} as an array. Received: a list of unequal rows.") from error


def _from_frame(values):
    return values.to_numpy() if hasattr(values, "iloc") else values


def _from_torch(batch):
    """A batch of a PyTorch DataLoader as NumPy arrays, where Keras runs on another backend."""
    if "torch" not in sys.modules or keras.backend.backend() == "torch":
        return batch
    tensor = sys.modules["torch"].Tensor
    return keras.tree.map_structure(lambda a: a.detach().cpu().numpy() if isinstance(a, tensor) else a, batch)


def _is_none(part):
    return part is None or type(part).__name__ == "NoneTensorSpec"  # what tf.data says of None


def _is_array(value):
    return hasattr(value, "shape") or hasattr(value, "__array__") or hasattr(value, "iloc")


def _shape(value):
    """A tuple with None for sizes that are not known, or None where even the rank is not."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return np.shape(value) if np.isscalar(value) else None
    if getattr(shape, "rank", 0) is None:
        return None
    return tuple(shape)


def _described(value):
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return repr(value)
    if isinstance(value, list):
        return f"a list of {type(value[0]).__name__}"
    if isinstance(value, dict):
        return f"a dictionary of {', '.join(map(str, value))}"
    shape = _shape(value)
    return type(value).__name__ + (f" of shape {shape}" if shape is not None else "")
