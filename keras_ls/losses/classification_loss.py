"""The base of the losses of labels: what a call does, from its arguments to the reduced loss."""

from typing import Any

import keras
from keras import ops as K

from keras_ls.losses.reduction import reduce_over_replicas
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops._checks import checked_axis, checked_class
from keras_ls.ops._inputs import (
    LABELS_ADVICE,
    align_labels,
    checked_labels,
    checked_probabilities,
    counted,
    dropped,
)
from keras_ls.ops._logits import LogitsCheck, as_logits
from keras_ls.ops._tensors import as_tensor, as_weight, classes_last
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import is_not_ignored


class ClassificationLoss(ReplicaExactLoss):
    """A loss of labels and class predictions. Subclasses implement `losses(labels, logits)`, the formula.

    `__call__` says in which order a call goes through the methods: `valid`, `without_dropped`, `labels_and_logits`,
    `losses`, and the reduction.

    Args:
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none", as in Keras.
        name: name of the loss.
        dtype: "float32" or "float64".

    Call arguments:
        - `y_true`: labels, whose kinds each loss names.
        - `y_pred`: logits, or probabilities, `[..., K]`, with the classes along `axis`; half precision is widened
          first.
        - `sample_weight`: weights of the examples.

    Returns:
        A scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for labels that do not fit the predictions or are out of range (in a TensorFlow graph an
            `InvalidArgumentError` when it runs; NaN where XLA compiles), and probabilities that are none.
    """

    multi_label = False  # whether each logit is of a label of its own

    def __init__(
        self,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits = bool(from_logits)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        self.axis = checked_axis(axis)
        self.logits_check = LogitsCheck(type(self).__name__, multi_label=self.multi_label)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The reduced loss; warns where what it takes for logits are probabilities."""
        with keras.name_scope(self.name):
            if self.from_logits:
                self.logits_check.see(y_pred, self.axis)
            keep = None if self.ignore_class is None else self.valid(y_true, y_pred)
            y_true, y_pred, keep = self.without_dropped(y_true, y_pred, keep)
            weight = as_weight(sample_weight)
            labels, logits = self.labels_and_logits(y_true, y_pred, keep, weight)
            return reduce_over_replicas(self.losses(labels, logits), weight, keep, self.reduction)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Per-example losses, before weights and masks; those of what the mask of `y_pred` drops are of zeros."""
        return self.losses(*self.labels_and_logits(*self.without_dropped(y_true, y_pred)))

    def valid(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """Where labels are others than `ignore_class`, `[...]`; None for dense targets, which all are."""
        y_true, y_pred = as_tensor("y_true", y_true, LABELS_ADVICE), as_tensor("y_pred", y_pred)
        if len(y_true.shape) == len(y_pred.shape):
            if y_true.shape[self.axis] != 1:
                return None
            y_true = K.squeeze(y_true, self.axis)
        return is_not_ignored(y_true, self.ignore_class)

    def labels_and_logits(
        self, y_true: Tensor, y_pred: Tensor, keep: Tensor | None = None, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Integer labels `[...]` or dense ones `[..., K]`, and logits `[..., K]`.

        An error for labels, or probabilities, that are none: of the examples that count, of weight and in `keep`.
        """
        predictions = classes_last(y_pred, self.axis)
        labels = align_labels(y_true, predictions, self.axis)
        counts = counted(predictions[..., 0], keep, weight)
        if not self.from_logits:
            predictions = checked_probabilities(predictions, counts, nan_passes=True)
        logits = as_logits(predictions, self.from_logits)
        labels = checked_labels(labels, logits, counts)
        if weight is not None and len(labels.shape) < len(logits.shape):
            labels = dropped(labels, counts)
        return labels, logits

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses of what `labels_and_logits` returns."""
        raise NotImplementedError(f"{type(self).__name__} must implement losses(labels, logits).")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
        }
