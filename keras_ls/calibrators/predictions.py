"""One pass of a model over a dataset, with labels, weights and masks kept together, as NumPy arrays."""

import math
import pathlib
import time

import keras
import numpy as np

from keras_ls.batches import Batches
from keras_ls.calibrators.example_blocks import BUDGET
from keras_ls.ops._checks import checked_axis, checked_choice, checked_class, checked_count
from keras_ls.ops._inputs import flatten_examples
from keras_ls.ops._logits import logits_of_array
from keras_ls.ops._weights import get_keras_mask


class PredictionReader:
    """Reads `(labels, predictions, weight)` of a model from a dataset; made once, used every epoch.

    Args:
        model: a `keras.Model`.
        batch_size: for data given as arrays.
        ignore_class: integer label of examples that do not count, or None.
        verbose: whether a pass shows its progress: 1, 0, or "auto" once it has taken ten seconds.
        from_logits: whether the model returns logits (default), or probabilities, which are read as their logits.
        logits_check: a `LogitsCheck` that looks at the model, or None.
        axis: the class axis of the model's outputs, and of dense labels.
    """

    def __init__(
        self, model, batch_size=256, ignore_class=None, verbose=0, from_logits=True, logits_check=None, axis=-1
    ):
        self.model, self.axis = model, checked_axis(axis)
        self.from_logits, self.logits_check = from_logits, logits_check
        if logits_check is not None and not logits_check.done:
            logits_check.see_model(model)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        self.batch_size = checked_count("batch_size", batch_size)
        self.verbose = checked_choice("verbose", verbose, ("auto", 0, 1))
        self._forward = self._predict
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # a function of its own: TensorFlow counts the traces of one method over all readers, and would warn
            self._forward = tf.function(lambda x: self._predict(x), reduce_retracing=True)

    def batches(self, data):
        """Yields flat `(labels, predictions, weight)` arrays: labels `[M]` or `[M, K]`, predictions `[M, K]` or `[M]`.

        Args:
            data: `Batches`, or what they are made of.

        Raises:
            ValueError: as `Batches` does; for no examples, and for inputs without a batch axis.
        """
        empty = True
        batches = data if isinstance(data, Batches) else Batches(data, batch_size=self.batch_size)
        for x, labels, weight in self._shown(batches, batches.number):
            _check_batched(self.model, x)
            predictions, mask = self._forward(x)
            if isinstance(predictions, (tuple, list, dict)):
                raise ValueError("Expected a model with one output. Received: several. Wrap the one to calibrate.")
            if 0 in predictions.shape:
                continue
            flat = flatten_examples(labels, predictions, weight, mask, self.ignore_class, self.axis)
            labels, predictions, weight = (keras.ops.convert_to_numpy(array) for array in flat)
            if self.logits_check is not None:
                self.logits_check.see(predictions)
            yield labels, logits_of_array(predictions, weight, self.from_logits), weight
            empty = False
        if empty:
            raise batches.nothing()

    def read(self, data, folder=None):
        """All batches in three arrays; with a folder, those of more than 2²² numbers are files in it, mapped."""
        names = ("labels", "predictions", "weight")
        spools = [_Spool(folder and pathlib.Path(folder) / name) for name in names]
        for batch in self.batches(data):
            for spool, array in zip(spools, batch):
                spool.append(array)
        return tuple(spool.array() for spool in spools)

    def _predict(self, x):
        predictions = self.model(x, training=False)
        return predictions, None if isinstance(predictions, (tuple, list, dict)) else get_keras_mask(predictions)

    def _shown(self, batches, number):
        bar, patience = None, {"auto": 10.0, 1: 0.0, 0: float("inf")}[self.verbose]
        start = time.monotonic()
        for i, batch in enumerate(batches, 1):
            yield batch
            if bar is None and time.monotonic() - start >= patience:
                bar = keras.utils.Progbar(number, unit_name="batch")
            if bar is not None:
                bar.update(i)
        if bar is not None:
            bar.update(i, finalize=True)


def _check_batched(model, x):
    """Raises `ValueError` for one example where the model takes batches of them."""
    wanted = getattr(model, "input_shape", None)
    shape = getattr(x, "shape", None)
    if not isinstance(wanted, tuple) or shape is None or wanted[-1:] == (1,):  # Keras adds an axis of 1
        return
    if len(shape) == len(wanted) - 1:
        raise ValueError(
            f"Expected batches of (x, y), x of shape {wanted}. Received: x of shape {tuple(shape)}, without a batch "
            "axis. Batch the examples first, as `dataset.batch(32)` does."
        )


class _Spool:
    """Arrays one after another: in memory, or from `BUDGET` numbers on in a file."""

    def __init__(self, path):
        self._path, self._parts, self._rows = path, [], 0

    def append(self, array):
        self._parts.append(array)
        self._rows += len(array)
        self._row = array[:0]
        if self._path is not None and self._rows * math.prod(array.shape[1:]) > BUDGET:
            try:
                with self._path.open("ab") as file:
                    for part in self._parts:
                        file.write(part.tobytes())
            except OSError as error:
                raise OSError(
                    f"Expected room for the predictions in {self._path.parent.parent}. Received: {error.strerror}. Set "
                    "the environment variable TMPDIR to a directory with more."
                ) from error
            self._parts.clear()

    def array(self):
        if self._path is None or not self._path.exists():
            return np.concatenate(self._parts)
        return np.memmap(self._path, self._row.dtype, "r", shape=(self._rows, *self._row.shape[1:]))
