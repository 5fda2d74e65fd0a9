"""Calibration on held-out data after every epoch, in the logs and in TensorBoard."""

import contextlib
import tempfile
import warnings
from typing import Any

import keras
import numpy as np

from keras_ls.batches import Batches
from keras_ls.calibrators.predictions import PredictionReader
from keras_ls.calibrators.temperature_solver import solve_temperature
from keras_ls.callbacks.calibration_log import CalibrationLog, checked_log_dir
from keras_ls.evaluation import Evaluator, blocks_of_rows
from keras_ls.ops._checks import checked_axis, checked_count
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Data, PathLike

SCORES = ("accuracy", "nll", "brier", "ece")
SEEN = 1000  # examples that are looked at for probabilities which are taken for logits


class CalibrationCallback(keras.callbacks.Callback):
    """Writes accuracy, proper scores, ECE and the temperature of held-out data into `logs` after every epoch.

    Keys: `val_accuracy`, `val_nll`, `val_brier`, `val_ece`, `val_temperature` (the T of least NLL on these data) and
    `val_calibrated_nll` (the NLL at that T). A key that `fit` has already, of a metric of that name, keeps its
    value. One pass over the data gives all. Callbacks that come after this one, such as
    `EarlyStopping("val_calibrated_nll", mode="min")`, see them, and so does `History`. T is fitted on the data it is
    scored on, one number from all examples: use it to steer, not to report.

    Args:
        validation_data: batches of `(x, y)` or `(x, y, sample_weight)` that can be read every epoch (a
            `tf.data.Dataset`, a `PyDataset`), or one tuple of arrays.
        log_dir: directory for TensorBoard (TensorFlow backend), or None. To `log_dir/calibration` go the values, each
            epoch's histogram of the confidence, and its reliability diagram.
        num_bins: bins of the ECE and of the diagram.
        from_logits: whether the model returns logits (default) or probabilities.
        batch_size: for data given as arrays.
        ignore_class: integer label of examples that do not count, or None.
        image_every: draw the diagram after the first epoch and every so many from there, 0 for never. One takes about
            0.15 s.
        steps: how many batches of `validation_data` to read every epoch, as data that repeat for ever need; None for
            all.
        axis: the class axis of the model's outputs, and of dense labels.

    Raises:
        ValueError: when it is made, for data without labels or batch axis, x and y of different lengths, data that
            repeat for ever without `steps`, and a `log_dir` that is no path; when it runs, for no examples, NaN
            predictions, and a `log_dir` that cannot be written.

    Examples:
        >>> import keras, numpy as np, keras_ls as kls
        >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, kernel_initializer="identity")])
        >>> model.compile("sgd", kls.losses.SmoothedCrossentropy(0.1))
        >>> callback = kls.callbacks.CalibrationCallback((x, y[::-1]))
        >>> history = model.fit(x, y, epochs=1, verbose=0, callbacks=[callback]).history
        >>> history["val_accuracy"], history["val_temperature"]
        ([0.0], [100.0])

    Reference:
        Guo et al., 2017. Early stopping on the post-temperature NLL: Berta et al., "Rethinking Early Stopping: Refine,
        Then Calibrate", 2025.
    """

    def __init__(
        self,
        validation_data: Data,
        log_dir: PathLike | None = None,
        num_bins: int = 15,
        from_logits: bool = True,
        batch_size: int = 256,
        ignore_class: int | None = None,
        image_every: int = 1,
        steps: int | None = None,
        axis: int = -1,
    ):
        super().__init__()
        self.validation_data = validation_data
        self.steps = steps
        self.axis = checked_axis(axis)
        self._batches = Batches(validation_data, "validation_data", batch_size, steps)
        self.log_dir = checked_log_dir(log_dir)
        self.num_bins = checked_count("num_bins", num_bins)
        self.from_logits = from_logits
        self.logits_check = LogitsCheck("CalibrationCallback")
        self.batch_size = batch_size
        self.ignore_class = ignore_class
        self.image_every = checked_count("image_every", image_every, minimum=0)
        self._reader = self._log = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the TensorBoard log."""
        self._reader = None  # the model may have changed since the last `fit`
        self.logits_check.done |= not self.from_logits
        if not self.logits_check.done:
            self.logits_check.see_model(self.model)
        if self.log_dir is not None:
            self._log = CalibrationLog(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the values to `logs`."""
        with self._predictions() as examples:
            values = self._values(*examples)
            if self._log is not None:
                confidence, accuracy = self._confidence_and_accuracy(*examples[:2])
                weight, binary = examples[2], examples[1].ndim == 1
        if logs is not None:
            logs.update({key: value for key, value in values.items() if key not in logs})
        if self._log is not None:
            self._log.write_scalars(epoch, {key.removeprefix("val_"): value for key, value in values.items()})
            self._log.write_confidence(epoch, confidence, accuracy, weight)
            if self.image_every and epoch % self.image_every == 0:
                self._log.write_diagram(epoch, confidence, accuracy, weight, self.num_bins, binary)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the TensorBoard log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def evaluate(self) -> dict[str, float]:
        """One pass over the data: a dict of the values described above, floats."""
        with self._predictions() as examples:
            return self._values(*examples)

    @contextlib.contextmanager
    def _predictions(self):
        """Yields `(labels, predictions, weight)` of one pass: many predictions are a file, which is removed then."""
        if self._reader is None or self._reader.model is not self.model:
            self._reader = PredictionReader(self.model, self.batch_size, self.ignore_class, axis=self.axis)
        with tempfile.TemporaryDirectory(prefix="keras_ls_", ignore_cleanup_errors=True) as folder:
            yield self._reader.read(self._batches, folder)

    def _values(self, labels, predictions, weight):
        if self.from_logits:
            self.logits_check.see(predictions[:SEEN])
        evaluator = Evaluator(self.from_logits, self.num_bins, scores=SCORES)
        evaluator.logits_check.done = True  # of what is said already
        for rows in blocks_of_rows(predictions):
            evaluator.update(labels[rows], predictions[rows], weight[rows])
        with warnings.catch_warnings():  # its advice is for a final fit; early epochs are often at a bound
            warnings.simplefilter("ignore")
            report = solve_temperature(predictions, labels, weight, (0.01, 100.0), self.from_logits)
        found = {f"val_{name}": value for name, value in evaluator.result().items()}
        return {**found, "val_temperature": report.temperature, "val_calibrated_nll": report.nll_after}

    def _confidence_and_accuracy(self, labels, predictions):
        """Two numbers an example: P(y=1) and y of single-column predictions, else the confidence and the hit."""
        parts = [
            map(keras.ops.convert_to_numpy, confidence_and_accuracy(labels[rows], predictions[rows], self.from_logits))
            for rows in blocks_of_rows(predictions)
        ]
        return tuple(map(np.concatenate, zip(*parts)))
