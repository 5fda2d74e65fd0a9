"""The base of every loss here: one replica equals many, also for ragged batches, masks and weights."""

from typing import Any

import keras
from keras import ops as K

from keras_ls.losses.coefficient import coefficients, load_coefficients, save_coefficients
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_choice
from keras_ls.ops._inputs import LABELS_ADVICE
from keras_ls.ops._repr import constructor_call
from keras_ls.ops._tensors import as_tensor
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import align_leading, get_keras_mask, zero_where_dropped


class ReplicaExactLoss(keras.losses.Loss):
    """A `keras.losses.Loss` whose update does not depend on how a batch is split over replicas.

    What all losses share: dtypes, masks, coefficients and their saving. The bases over it have the flow of a call:
    `ClassificationLoss` for labels, `DistillationLoss` for a teacher. Either begins with `without_dropped` and ends
    with `reduction.reduce_over_replicas`.

    Args:
        name: name of the loss.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none", as in Keras.
        dtype: "float64" to compute in it; else float32, or what float64 predictions ask for. Half precision would lose
            sums over a few thousand examples.
    """

    axis = -1  # of the classes, in y_pred

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: str | None = None
    ):
        dtype = checked_choice("dtype", dtype or "float32", ["float32", "float64"])
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def without_dropped(
        self, y_true: Tensor, y_pred: Tensor, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """`(y_true, y_pred, keep)`: in the dtype of the computation, zeros for what does not count.

        That is what the mask of `y_pred` drops, and `keep`, a boolean mask of the shape of the losses. `keep` is False
        there; None where every example counts.
        """
        mask = get_keras_mask(y_pred)
        y_true, y_pred = as_tensor("y_true", y_true, LABELS_ADVICE), at_least_float32(as_tensor("y_pred", y_pred))
        if self.dtype == "float64":
            y_pred = K.cast(y_pred, "float64")
        if mask is not None:
            mask = K.cast(mask, "bool")
            keep = mask if keep is None else K.logical_and(keep, align_leading(mask, keep))
        if keep is not None:
            y_true = zero_where_dropped(y_true, keep, self.axis)
            y_pred = zero_where_dropped(y_pred, keep, self.axis)
        return y_true, y_pred, keep

    def save_own_variables(self, store: Any) -> None:
        """Keeps the coefficients in a model's weights file, so that a resumed schedule continues."""
        save_coefficients(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` kept."""
        load_coefficients(self, store)

    def __repr__(self):
        return constructor_call(self)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation; the coefficients are among them."""
        return {**super().get_config(), "dtype": self.dtype, **coefficients(self)}
