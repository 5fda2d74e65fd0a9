"""The base of the losses over classes: which examples count, where the classes are, logits or probabilities."""

from keras import ops as K

from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops._checks import checked_axis, checked_class
from keras_ls.ops._inputs import align_labels, checked_labels, checked_probabilities, counted, dropped
from keras_ls.ops._logits import LogitsCheck, as_logits
from keras_ls.ops._tensors import classes_last
from keras_ls.ops._weights import is_not_ignored


class ClassificationLoss(ReplicaExactLoss):
    """A loss of class predictions. Subclasses implement `losses(labels, logits)`, both with the classes last.

    Args:
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        name: name of the loss.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        dtype: "float32" or "float64".
    """

    def __init__(self, from_logits=True, ignore_class=None, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.from_logits = bool(from_logits)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        self.axis = checked_axis(axis)
        self.logits_check = LogitsCheck(type(self).__name__)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The reduced loss; warns where what it takes for logits are probabilities."""
        if self.from_logits:
            self.logits_check.see(y_pred, self.axis)
        return super().__call__(y_true, y_pred, sample_weight)

    def valid(self, y_true, y_pred):
        """Drops the examples of `ignore_class`; dense targets have none."""
        if self.ignore_class is None:
            return None
        if len(y_true.shape) == len(y_pred.shape):
            if y_true.shape[self.axis] != 1:
                return None
            y_true = K.squeeze(y_true, self.axis)
        return is_not_ignored(y_true, self.ignore_class)

    def call(self, y_true, y_pred):
        """Per-example losses of targets and predictions that are what they should be."""
        logits = classes_last(as_logits(y_pred, self.from_logits), self.axis)
        return self.losses(align_labels(y_true, logits, self.axis), logits)

    def checked_call(self, y_true, y_pred, keep, weight):
        """`call`, after an error for targets or probabilities of examples that count which are none."""
        predictions = classes_last(y_pred, self.axis)
        labels = align_labels(y_true, predictions, self.axis)
        counts = counted(predictions[..., 0], keep, weight)
        if not self.from_logits:
            predictions = checked_probabilities(predictions, counts, nan_passes=True)
        logits = as_logits(predictions, self.from_logits)
        labels = checked_labels(labels, logits, counts)
        if weight is not None and len(labels.shape) < len(logits.shape):
            labels = dropped(labels, counts)
        return self.losses(labels, logits)

    def losses(self, labels, logits):
        """Per-example losses of integer `[...]` or dense `[..., K]` labels and logits `[..., K]`."""
        raise NotImplementedError(f"{type(self).__name__} must implement losses(labels, logits).")

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
        }
