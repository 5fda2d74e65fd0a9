"""The base of every loss here: one replica equals many, also for ragged batches, masks and weights."""

import keras
from keras import ops as K

from keras_ls.losses.coefficient import load_coefficients, save_coefficients
from keras_ls.losses.reduction import reduce_over_replicas
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_choice
from keras_ls.ops._inputs import LABELS_ADVICE
from keras_ls.ops._repr import constructor_call
from keras_ls.ops._tensors import as_tensor, as_weight
from keras_ls.ops._weights import align_leading, get_keras_mask, zero_where_dropped


class ReplicaExactLoss(keras.losses.Loss):
    """A `keras.losses.Loss` whose update does not depend on how a batch is split over replicas.

    Subclasses implement `call(y_true, y_pred)` (per-example losses, at least float32) and may implement
    `valid(y_true, y_pred)`, a boolean mask of the examples that count, of the shape of the losses. Dropped examples
    reach `call` as zeros.

    Args:
        name: name of the loss.
        reduction: as in Keras.
        dtype: "float64" to compute in it; else float32, or what float64 predictions ask for. Half precision would lose
            sums over a few thousand examples.
    """

    axis = -1  # of the classes, in y_pred

    def __init__(self, name=None, reduction="sum_over_batch_size", dtype=None):
        dtype = checked_choice("dtype", dtype or "float32", ["float32", "float64"])
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def valid(self, y_true, y_pred):
        """Boolean mask of the examples that count, or None for all."""
        return None

    def without_dropped(self, y_true, y_pred, keep=None):
        """`(y_true, y_pred, keep)`: in the dtype of the computation, zeros for what does not count.

        That is what the mask of `y_pred` drops, and `keep`, or `valid` where that is None. `keep` is False there; None
        where every example counts.
        """
        mask = get_keras_mask(y_pred)
        y_true, y_pred = as_tensor("y_true", y_true, LABELS_ADVICE), at_least_float32(as_tensor("y_pred", y_pred))
        if self.dtype == "float64":
            y_pred = K.cast(y_pred, "float64")
        keep = self.valid(y_true, y_pred) if keep is None else keep
        if mask is not None:
            mask = K.cast(mask, "bool")
            keep = mask if keep is None else K.logical_and(keep, align_leading(mask, keep))
        if keep is not None:
            y_true = zero_where_dropped(y_true, keep, self.axis)
            y_pred = zero_where_dropped(y_pred, keep, self.axis)
        return y_true, y_pred, keep

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Reduces `call`, with weights and masks, over the batch of all replicas."""
        with keras.name_scope(self.name):
            y_true, y_pred, keep = self.without_dropped(y_true, y_pred)
            weight = as_weight(sample_weight)
            values = self.checked_call(y_true, y_pred, keep, weight)
            return reduce_over_replicas(values, weight, keep, self.reduction)

    def checked_call(self, y_true, y_pred, keep, weight):
        """`call`, after an error for targets of examples that count which are none; here, any will do."""
        return self.call(y_true, y_pred)

    def save_own_variables(self, store):
        """Keeps the coefficients in a model's weights file, so that a resumed schedule continues."""
        save_coefficients(self, store)

    def load_own_variables(self, store):
        """Reads what `save_own_variables` kept."""
        load_coefficients(self, store)

    def __repr__(self):
        return constructor_call(self)

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "dtype": self.dtype}
