"""Distillation that changes from epoch to epoch."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_ls.callbacks.smoothing_schedule import SmoothingSchedule
from keras_ls.distillation import Distiller

_WEIGHTS = ("student_loss_weight", "distillation_loss_weights")


class DistillationSchedule(SmoothingSchedule):
    """Sets a weight of a `Distiller`, or a number of its losses, before every epoch, without a new trace.

    The value goes to the logs under `attribute`; with several such losses under `{loss}_{attribute}`. A training that
    is resumed goes on as for `SmoothingSchedule`.

    Args:
        schedule: function of `(epoch, value)`, the epoch from 0 and the present value, that returns the next one; or a
            list, one value an epoch, of which the last stays.
        attribute: what to set: "student_loss_weight" (the w of the distiller, the default), "distillation_loss_weights"
            (λ: the values are lists), or what a loss has as a variable, such as "temperature".
        loss: the distillation loss to set it on; None for every one that has it. Not for the weights.

    Raises:
        ValueError: for a model that is no Distiller, one without such a loss, and values that it does not take.

    Examples:
        The teacher speaks first, the labels later:

        >>> import keras, numpy as np, keras_ls as kls
        >>> def network():
        ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        >>> distiller = kls.Distiller(network(), network(), kls.distillation.LogitsDistillation())
        >>> distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0))
        >>> schedules = [
        ...     kls.callbacks.DistillationSchedule([0.0, 0.5, 1.0]),
        ...     kls.callbacks.DistillationSchedule(lambda epoch, t: 8.0 / 2**epoch, "temperature"),
        ... ]
        >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
        >>> history = distiller.fit(x, y, epochs=3, verbose=0, callbacks=schedules).history
        >>> history["student_loss_weight"], history["temperature"]
        ([0.0, 0.5, 1.0], [8.0, 4.0, 2.0])

    Reference:
        A temperature that falls while training: Jafari et al., "Annealing Knowledge Distillation", 2021.
    """

    def __init__(
        self,
        schedule: Callable[[int, Any], Any] | Sequence[Any],
        attribute: str = "student_loss_weight",
        loss: keras.losses.Loss | None = None,
    ):
        super().__init__(schedule, attribute, loss)
        if attribute in _WEIGHTS and loss is not None:
            raise ValueError(f"Expected no `loss` with `{attribute}`, which is the distiller's. Received: {loss!r}.")

    def _retrace(self):
        if self.attribute not in _WEIGHTS:  # which are variables of the model
            super()._retrace()

    def _value(self, owner):
        return getattr(owner, self.attribute) if self.attribute in _WEIGHTS else super()._value(owner)

    def _owners(self):
        """What has the number: the distiller or losses of its."""
        if not isinstance(self.model, Distiller):
            raise ValueError(f"Expected a model that is a Distiller. Received: {type(self.model).__name__}.")
        if self.attribute in _WEIGHTS:
            return [self.model]
        losses = self.model.distillation_losses if self.loss is None else self.loss
        found = self._having(losses)
        if not found:
            raise ValueError(
                f"Expected a distillation loss with `{self.attribute}`, such as "
                f"keras_ls.distillation.LogitsDistillation(). Received: {losses!r}."
            )
        return found

    def _prefixes(self):
        losses = self._owners()
        return {id(loss): f"{loss.name}_" for loss in losses} if len(losses) > 1 else {}
