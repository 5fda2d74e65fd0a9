"""The base of the calibration metrics: weighted sums that stay exact past 2²⁴ examples, on every backend."""

from typing import Any

import keras
from keras import ops as K

from keras_ls.ops._backend import accumulation_dtype, divide_no_nan, to_accumulation_dtype
from keras_ls.ops._checks import check_no_nan, checked_axis, checked_class
from keras_ls.ops._inputs import dropped, flatten_batch
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._predictions import to_probabilities
from keras_ls.ops._tensors import NAN_ADVICE
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import get_keras_mask


class StreamingMetric(keras.metrics.Metric):
    """A metric whose state is a small table of sums, added to batch by batch.

    A float32 counter sticks at 2²⁴ = 16,777,216; float64 does not exist on every accelerator. So each sum is kept as
    two float32 numbers, the sum and the rounding error of it so far (Knuth's two-sum), good for 48 bits. They add over
    replicas like any other sum.

    Subclasses give `statistics(labels, predictions, weight)`, the batch's sums of shape `state_shape`, and
    `from_statistics(sums)`, the result.

    Args:
        state_shape: shape of the sums; None where the first batch tells it, by `build_state`.
        from_logits: whether predictions are logits or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result; the state does not depend on it.
    """

    dense = "labels"  # what dense targets are: class distributions

    def __init__(
        self,
        state_shape: tuple[int, ...] | None,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.from_logits = bool(from_logits)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        self.axis = checked_axis(axis)
        self.logits_check = LogitsCheck(type(self).__name__)
        self._sums = None
        if state_shape is not None:
            self.build_state(state_shape)

    def build_state(self, shape: tuple[int, ...]) -> None:
        """Makes the sums, unless they are there; within `fit` and `evaluate` that is before anything is traced."""
        if self._sums is None:
            self._sums = self.add_variable((2, *shape), "zeros", dtype="float32", name="sums")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            y_true: integers, or dense (soft) targets; in [0, 1] for P(y=1) predictions.
            y_pred: `[..., K]` (or K along `axis`), or `[N]` or `[..., 1]` for P(y=1). A Keras mask that it carries is
                honoured.
            sample_weight: one weight an example, or None.
        """
        if self.from_logits:
            self.logits_check.see(y_pred, self.axis)
        mask = get_keras_mask(y_pred)
        if 0 in getattr(y_pred, "shape", ()):
            return  # a replica's share of a short last batch
        labels, predictions, weight = flatten_batch(
            y_true, y_pred, sample_weight, mask, self.ignore_class, self.axis, self.from_logits, self.dense
        )
        self.add_examples(labels, predictions, weight)

    def add_examples(self, labels: Tensor, predictions: Tensor, weight: Tensor | None) -> None:
        """Adds a batch that `ops._inputs.flatten_batch` has checked and flattened."""
        self._add(self.statistics(labels, predictions, weight))

    def _add(self, batch):
        self._add_to(self._sums, batch)

    def _add_to(self, variable, batch):
        if accumulation_dtype() == "float64":
            total = K.sum(to_accumulation_dtype(variable), axis=0) + batch
            high = K.cast(total, "float32")
            low = K.cast(total - to_accumulation_dtype(high), "float32")
        else:
            before, error = variable[0], variable[1]
            new = before + batch
            added = new - before
            lost = (before - (new - added)) + (batch - added)
            error = K.where(K.isfinite(new), error + lost, K.zeros_like(new))
            high = new + error  # carried over, or the errors would stick at 2²⁴ times their unit in turn
            low = error - (high - new)
        # an infinite sum stays infinite: its rounding error would be inf - inf
        finite = K.isfinite(high)
        variable.assign(K.stack([high, K.where(finite, low, K.zeros_like(high))]))

    def result(self) -> Tensor:
        """The metric over all examples since the last `reset_state`; 0 before the first."""
        if self._sums is None:
            return K.zeros((), self.dtype)
        return K.cast(self.from_statistics(self.sums()), self.dtype)

    def sums(self) -> Tensor:
        """The sums over all examples so far, of shape `state_shape`; float64 (float32 on JAX)."""
        return self._read(self._sums)

    def _read(self, variable):
        sums = to_accumulation_dtype(variable.value)
        return sums[0] + sums[1]

    def probabilities(self, predictions: Tensor) -> Tensor:
        """Predictions as probabilities."""
        return to_probabilities(predictions, self.from_logits)

    def checked(self, values: Tensor, weight: Tensor | None) -> Tensor:
        """Per-example values, after an error for a NaN in one that counts; when traced, the result becomes NaN."""
        check_no_nan("y_pred", dropped(values, weight), NAN_ADVICE)
        return values

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
        }


class StreamingMean(StreamingMetric):
    """The weighted mean of one value an example; subclasses give `values(labels, predictions)`."""

    def __init__(
        self,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__((2,), from_logits, ignore_class, axis, name, dtype)

    def statistics(self, labels: Tensor, predictions: Tensor, weight: Tensor | None) -> Tensor:
        """Sums of weight and of weight · value."""
        values = self.checked(self.values(labels, predictions), weight)
        values = to_accumulation_dtype(dropped(values, weight))
        if weight is None:
            return K.stack([to_accumulation_dtype(K.size(values)), K.sum(values)])
        weight = to_accumulation_dtype(weight)
        return K.stack([K.sum(weight), K.sum(weight * values)])

    def from_statistics(self, sums: Tensor) -> Tensor:
        """The mean."""
        return divide_no_nan(sums[1], sums[0])
