"""A smoothing that changes from epoch to epoch."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.losses.epoch_starts import epoch_starts


class SmoothingSchedule(keras.callbacks.Callback):
    """Sets the smoothing of the model's losses before every epoch, without a new trace.

    The value goes to the logs under `attribute`; with several such losses under `{output}_{attribute}`.
    (JAX keeps the values of variables outside the model in its traces:
    there the training step is traced again when the value changes.)

    The value is part of weights files and backups. A training that is resumed within an epoch applies the schedule to
    what the value was at the beginning of that epoch, not twice; another `fit` goes on from the present value.

    Args:
        schedule: function of `(epoch, value)`, the epoch from 0 and the present value, that returns the next one; or a
            list, one value an epoch, of which the last stays.
        attribute: what to set: "label_smoothing", or "weight" of `MaxSuppression`, `ConfidencePenalty` and
            `MarginSmoothing`.
        loss: the loss to set it on; None for every loss of the model that has it, which then all get the same value.

    Raises:
        ValueError: for a model without such a loss, and for values that the loss does not take.

    Examples:
        From 0.2 down to 0, while a network grows sure of itself:

        >>> import keras, numpy as np, keras_ls as kls
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", kls.losses.SmoothedCrossentropy(0.2))
        >>> schedule = kls.callbacks.SmoothingSchedule(lambda epoch, alpha: 0.2 - 0.1 * epoch)
        >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
        >>> history = model.fit(x, y, epochs=3, verbose=0, callbacks=[schedule]).history
        >>> history["label_smoothing"]
        [0.2, 0.1, 0.0]

    Reference:
        A weight that grows while training: Zhou et al., "MaxSup", 2025.
    """

    def __init__(
        self,
        schedule: Callable[[int, float], float] | Sequence[float],
        attribute: str = "label_smoothing",
        loss: keras.losses.Loss | None = None,
    ):
        super().__init__()
        self.schedule = schedule if callable(schedule) else _steps(schedule)
        self.attribute = attribute
        self.loss = loss

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets the epoch in which a training before this one may have been cut short."""
        for owner in self._owners():
            epoch_starts(owner).end(self.attribute)
        self._changed = True  # perhaps, as by a backup, since the last trace

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the value."""
        for owner in self._owners():
            before = self._value(owner)
            start = epoch_starts(owner).begin(self.attribute, epoch, before)
            setattr(owner, self.attribute, self.schedule(epoch, start))
            self._changed |= self._value(owner) != before
        if self._changed:
            self._retrace()
        self._changed = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the values to `logs`."""
        prefixes = self._prefixes()
        for owner in self._owners():
            epoch_starts(owner).end(self.attribute)
            if logs is not None:
                logs[prefixes.get(id(owner), "") + self.attribute] = self._value(owner)

    def _retrace(self):
        if keras.backend.backend() == "jax":
            self.model.make_train_function(force=True)
            self.model.make_test_function(force=True)

    def _value(self, owner):
        return number(getattr(owner, self.attribute))

    def _owners(self):
        """What has the number: losses."""
        found = self._having(self.model.loss if self.loss is None else self.loss)
        if not found:
            raise ValueError(
                f"Expected a loss with `{self.attribute}`, such as keras_ls.losses.SmoothedCrossentropy(0.1) in "
                f"compile(). Received: {self.model.loss if self.loss is None else self.loss!r}."
            )
        return found

    def _prefixes(self):
        """What sets several losses apart in the logs: the names of their outputs, as for Keras's own logs of losses."""
        losses = self.model.loss
        if len(self._having(losses)) < 2:
            return {}
        if not isinstance(losses, dict):  # a list, of a model whose outputs may have no names
            losses = dict(zip(getattr(self.model, "output_names", range(len(losses))), losses))
        return {id(loss): f"{name}_" for name, loss in losses.items()}

    def _having(self, losses):
        return [
            x for x in keras.tree.flatten(losses) if isinstance(getattr(type(x), self.attribute, None), Coefficient)
        ]


def _steps(values):
    values = list(values) if np.iterable(values) and not isinstance(values, str) else values
    if not isinstance(values, list) or not values:
        raise ValueError(f"Expected `schedule` to be a function or at least one value in a list. Received: {values!r}.")
    return lambda epoch, _: values[min(epoch, len(values) - 1)]
