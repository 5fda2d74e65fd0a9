"""Training that goes on where it was killed, to the same weights."""

import contextlib
import os
import re
import time
import warnings

import keras

from keras_ls.callbacks.checkpoints import Checkpoint, Checkpoints
from keras_ls.callbacks.data_position import DataPosition, running_fit
from keras_ls.callbacks.training_state import TrainingState, facts_of, random_states, set_random_states
from keras_ls.files import local_path, one_writer
from keras_ls.ops._types import PathLike

_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_HOLDERS = {}  # directory → what this process holds it by; a `fit` that an error ended cannot let go of it
_PROCESS = f"{os.getpid()}-{time.time_ns()}"


class ExactResume(keras.callbacks.Callback):
    """Makes any `fit` go on where it was killed: the same command ends with the weights of an undisturbed run.

    On one device they are equal to the last bit, as are metrics, logs and history, wherever the process died: between
    two steps, within a step, while a checkpoint was being written. A checkpoint holds the weights and the optimizer,
    what losses and metrics have observed, the states of random numbers (dropout, Keras, Python, NumPy), the history,
    the position in the data, and what other callbacks remember, such as `EarlyStopping` and `ReduceLROnPlateau`: their
    numbers, text, lists and arrays (one above 16 MB counts as data unless it is replaced).

    How the position is found again depends on the data. `data.ShuffledBatches` go there at once. Arrays, a
    `tf.data.Dataset` and a `PyDataset` are read again up to it without training, and their first batch is compared with
    the one of before: their order must be a function of seeds, as after `keras.utils.set_random_seed(0)`. Where it is
    another one, a warning says so, and the epoch under way begins again.

    The two latest checkpoints are kept, and the latest from the beginning of an epoch. One that is damaged is passed
    over with a warning. After the last epoch the state stays: the same command returns the model and the history
    without training, more `epochs` go on from there, and another directory trains anew. One `fit` at a time can use a
    directory.

    Args:
        directory: where the checkpoints are; made if it does not exist. One training each.
        every: how often: "epoch" (default), a number of epochs, or text such as "500 steps" or "10 minutes". The
            beginning of an epoch is always kept, too, where steps or minutes are given.

    Raises:
        ValueError: for an `every` that is none of these, and in `fit`, where the directory holds the training of
            another model, loss or optimizer.
        BlockingIOError: where another process trains in the directory.
        OSError: where the directory cannot be written, or the disk is full: the checkpoints of before stay whole.

    Warns:
        UserWarning: where a checkpoint is damaged, and where the data come in another order than before.

    Examples:
        A training that dies in its third epoch, and the same command once more:

        >>> import tempfile
        >>> import keras, numpy as np, keras_ls as kls
        >>> directory = tempfile.mkdtemp()
        >>> def train(*callbacks):
        ...     keras.utils.set_random_seed(0)
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        ...     model.compile("adam", kls.losses.SmoothedCrossentropy(0.1))
        ...     resume = kls.callbacks.ExactResume(directory)
        ...     x, y = np.eye(4, dtype="float32"), np.arange(4)
        ...     return model.fit(x, y, epochs=4, verbose=0, callbacks=[resume, *callbacks]).history["loss"]
        >>> def die(epoch, logs):
        ...     if epoch == 2:
        ...         raise KeyboardInterrupt
        >>> try:
        ...     losses = train(keras.callbacks.LambdaCallback(on_epoch_begin=die))
        ... except KeyboardInterrupt:
        ...     losses = train()
        >>> len(losses)
        4
    """

    def __init__(self, directory: PathLike, every: int | str = "epoch"):
        super().__init__()
        self.directory = local_path("directory", directory)
        self.every = every
        self._count, self._unit = _checked_every(every)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks for a checkpoint; where there is one, `fit` begins with its epoch."""
        self._hold_directory()
        iterator, callbacks = running_fit(self.model)
        self._state = TrainingState(self.model, [callback for callback in callbacks if callback is not self])
        self._position = DataPosition(iterator)
        self._state.build(self._position.batch_spec)
        self._facts = {**facts_of(self.model), "steps an epoch": self.params.get("steps")}
        self._initial_epoch = self.model._initial_epoch
        self._epoch = self._saved_epoch = self._nothing_left = None
        self._saved_at, self._steps_since = time.monotonic(), 0
        self._found = self._checkpoints.latest()
        if self._found is not None:
            self._begin_with(self._found)
        iterator._enumerate_iterator = self._steps_of_epoch

    def _begin_with(self, found):
        self._check_is_same(found.facts)
        last = self.params["epochs"]
        if found.finished and (found.stopped_early or found.epoch >= last):
            self._nothing_left, self._found = found, None
            self._state.restore(found)  # now, as no epoch will begin
            self._say(f"The training in {self.directory} is complete: its model and history are restored.")
        else:
            self._position.first_epoch = found.first_epoch
            self._say(f"Resuming {self.directory} in epoch {found.epoch + 1} of {last}, after {found.step} steps.")
        self.model._initial_epoch = last if self._nothing_left else found.epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch
        if self._position.first_epoch is None:
            self._position.first_epoch = epoch

    def _steps_of_epoch(self):
        """The steps of Keras's epoch iterator: restores before the first that is left to do, saves between two.

        There every callback is done with the step before, or with the end of the epoch before and the beginning of
        this one, wherever it stands in the list of callbacks.
        """
        found, self._found = self._found, None
        self._order = random_states()
        steps = self._position.steps(self._epoch) if found is None else self._steps_after(found)
        for begin, end, iterator in steps:
            if self._is_due(begin):
                self._save(self._epoch, begin)
            yield begin, end, iterator
            self._steps_since += end + 1 - begin

    def _steps_after(self, found):
        def restore_order():
            set_random_states(found.order)
            self._order = found.order

        steps = self._position.steps_after(found.epoch, found.step, found.first_batch, restore_order, self._say)
        if steps is None:
            warnings.warn(
                "Expected the data in the order in which they came before. Received: other first examples, so that "
                f"epoch {found.epoch + 1} begins again, in a new order. Call keras.utils.set_random_seed(0) first of "
                "all, give `shuffle` of tf.data a seed, or take keras_ls.data.ShuffledBatches.",
                stacklevel=2,
            )
            found = self._checkpoints.latest_epoch_start(found.epoch) or found
            steps = self._position.steps(self._epoch)
        self._state.restore(found)
        self._saved_epoch = self._epoch
        return steps

    def _is_due(self, step):
        if self._unit == "epoch":
            return step == 0 and (self._saved_epoch is None or self._epoch - self._saved_epoch >= self._count)
        if step == 0 and self._saved_epoch != self._epoch:
            return True
        if self._unit == "step":
            return self._steps_since >= self._count
        return time.monotonic() - self._saved_at >= self._count * _SECONDS[self._unit]

    def _save(self, epoch, step, **ending):
        self._saved_epoch, self._saved_at, self._steps_since = epoch, time.monotonic(), 0
        checkpoint = Checkpoint(
            epoch=epoch,
            step=step,
            first_epoch=self._position.first_epoch,
            first_batch=self._position.first_batch,
            order=self._order,
            facts={**self._facts, "process": _PROCESS},
            state=self._state.collect(),
            **ending,
        )
        self._checkpoints.write(checkpoint, self._state.save_weights)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Keeps the state of the whole training."""
        if self._nothing_left is not None:
            self._state.restore_history(self._nothing_left)  # Keras has begun it anew
        elif self._epoch is not None:
            self._save(self._epoch + 1, 0, finished=True, stopped_early=bool(self.model.stop_training))
        self.model._initial_epoch = self._initial_epoch
        _HOLDERS.pop(self.directory.resolve()).close()

    def _check_is_same(self, facts):
        if facts["process"] == _PROCESS:
            return  # another `fit` of the same process, in which callbacks may have moved a rate or an α
        for name, present in self._facts.items():
            if facts[name] != present:
                raise ValueError(
                    f"Expected the training that {self.directory} holds, with the {name} {facts[name]!s:.300}. "
                    f"Received: {present!s:.300}. Give each training a directory of its own, or remove this one."
                )

    def _hold_directory(self):
        key = self.directory.resolve()
        if key in _HOLDERS:
            with contextlib.suppress(OSError):  # which has been said
                _HOLDERS.pop(key).close()
        holder = contextlib.ExitStack()
        holder.enter_context(one_writer(self.directory))
        self._checkpoints = Checkpoints(self.directory)
        holder.callback(self._checkpoints.wait)
        _HOLDERS[key] = holder

    def _say(self, text):
        if self.params.get("verbose"):
            print(text)


def _checked_every(every):
    """`(count, unit)`."""
    text = f"{every} epochs" if isinstance(every, int) and not isinstance(every, bool) else every
    match = re.fullmatch(r"(?:(\d+) *)?(epoch|step|second|minute|hour)s?", text) if isinstance(text, str) else None
    count = int(match[1] or 1) if match else 0
    if count < 1:
        raise ValueError(
            'Expected `every` to be "epoch", a number of epochs, or text such as "500 steps" or "10 minutes". '
            f"Received: {every!r}."
        )
    return count, match[2]
