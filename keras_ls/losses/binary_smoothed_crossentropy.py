"""Cross-entropy with label smoothing for several labels an example."""

import keras
from keras import ops as K

from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops._backend import divide_no_nan, mean
from keras_ls.ops._checks import checked_class, checked_fraction, checked_rates
from keras_ls.ops._inputs import check_binary_labels, checked_probabilities, counted, same_shape
from keras_ls.ops._logits import LogitsCheck, as_logits
from keras_ls.ops._weights import is_not_ignored
from keras_ls.ops.crossentropy import binary_core


@keras.saving.register_keras_serializable(package="keras_ls")
class BinarySmoothedCrossentropy(ReplicaExactLoss):
    """Binary cross-entropy against smoothed targets, for one or several labels an example.

    `ℓ = 1/L Σ_l [-t_l log σ(z_l) - (1 - t_l) log(1 - σ(z_l))]`, with `t = (1 - α) y + α u` and u = ½ or `prior`: the
    mean over the labels of an example, as in Keras, and over those that are known with `ignore_class`.

    When: labels do not exclude one another (tags, findings). Rare labels need `prior`, their rates: ½ would teach the
    network to expect each of them in at least α/2 of the examples.

    Args:
        label_smoothing: α in [0, 1).
        prior: rate of each label `[L]`, or one number for all; None for ½.
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: value of labels that are not known and do not count, such as -1, or None.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss.
        dtype: "float32" or "float64".

    Attributes:
        label_smoothing: α, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: `[..., L]` in [0, 1]; for one label an example `[...]` too.
        - `y_pred`: logits `[..., L]`, any float dtype; half precision is widened first.
        - `sample_weight`: weights of the examples, `[...]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for α outside [0, 1), rates outside [0, 1], labels outside [0, 1] (in a traced step as for
            `SmoothedCrossentropy`) or of another shape.

    Examples:
        Targets 0.95 and 0.05 at p = ½: `log 2`, whatever the labels.

        >>> import keras_ls as kls
        >>> loss = kls.losses.BinarySmoothedCrossentropy(0.1)
        >>> round(float(loss([[1, 0]], [[0.0, 0.0]])), 4), round(float(loss([[1, 0]], [[2.0, -2.0]])), 4)
        (0.6931, 0.2269)

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.
    """

    label_smoothing = Coefficient(checked_fraction)

    def __init__(
        self,
        label_smoothing=0.1,
        prior=None,
        from_logits=True,
        ignore_class=None,
        reduction="sum_over_batch_size",
        name="binary_smoothed_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing
        self.prior = None if prior is None else checked_rates(prior).tolist()
        self.from_logits = bool(from_logits)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        self.logits_check = LogitsCheck(type(self).__name__, multi_label=True)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The reduced loss; warns where what it takes for logits are probabilities."""
        if self.from_logits:
            self.logits_check.see(y_pred)
        return super().__call__(y_true, y_pred, sample_weight)

    def valid(self, y_true, y_pred):
        """Drops the examples of which no label is known."""
        if self.ignore_class is None:
            return None
        return K.any(is_not_ignored(_one_a_label(y_true, y_pred)[0], self.ignore_class), axis=-1)

    def call(self, y_true, y_pred):
        """Per-example losses of targets and predictions that are what they should be."""
        return self._losses(*_one_a_label(y_true, y_pred))

    def checked_call(self, y_true, y_pred, keep, weight):
        """`call`, after an error for labels of examples that count which lie outside [0, 1]."""
        labels, logits = _one_a_label(y_true, y_pred)
        if len(labels.shape) != len(logits.shape) or not same_shape(labels, logits):
            raise ValueError(
                f"Expected one label a logit. Received: labels of shape {tuple(labels.shape)}, logits of shape "
                f"{tuple(logits.shape)}. For one class out of several use SmoothedCrossentropy."
            )
        counts = counted(logits[..., 0], keep, weight)
        counts = None if counts is None else K.expand_dims(counts, -1)
        if self.ignore_class is not None:
            known = is_not_ignored(labels, self.ignore_class)
            counts = known if counts is None else K.logical_and(counts, known)
        check_binary_labels(labels, counts)
        if not self.from_logits:
            logits = checked_probabilities(logits, counts, binary=True, nan_passes=True)
        return self._losses(labels, logits)

    def _losses(self, labels, logits):
        logits = as_logits(logits, self.from_logits, binary=True)
        if self.ignore_class is None:
            losses = binary_core(labels, logits, self.label_smoothing.value, self.prior)
            return mean(losses, axis=-1)
        known = is_not_ignored(labels, self.ignore_class)
        labels, logits = (K.where(known, x, K.zeros_like(x)) for x in (labels, logits))
        losses = binary_core(labels, logits, self.label_smoothing.value, self.prior)
        known = K.cast(known, losses.dtype)
        return divide_no_nan(K.sum(losses * known, axis=-1), K.sum(known, axis=-1))

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "label_smoothing": number(self.label_smoothing),
            "prior": self.prior,
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
        }


def _one_a_label(labels, predictions):
    """Both as `[..., L]`: one label an example may come without its trailing axis of 1."""
    if len(predictions.shape) == 1:
        predictions = K.expand_dims(predictions, -1)
    if len(labels.shape) == len(predictions.shape) - 1 and predictions.shape[-1] == 1:
        labels = K.expand_dims(labels, -1)
    return labels, predictions
