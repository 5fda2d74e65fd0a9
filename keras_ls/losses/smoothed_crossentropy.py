"""Cross-entropy with label smoothing, from integer or dense labels."""

import keras
from keras import ops as K

from keras_ls import ops
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops.checks import checked_class, checked_fraction, checked_prior
from keras_ls.ops.smoothing import probabilities_to_logits


@keras.saving.register_keras_serializable(package="keras_ls")
class SmoothedCrossentropy(ReplicaExactLoss):
    """Cross-entropy against smoothed targets, from integer or dense labels.

    `ℓ = -(1 - α) log p_y - α Σ_k u_k log p_k`, with `p = softmax(z)` and `u` uniform (`1/K`) or `prior`. Integer labels
    never become one-hot. `SmoothedCrossentropy(0.0)` is the plain cross-entropy.

    Weights and masks follow Keras: "sum_over_batch_size" divides by the number of examples (of kept ones under a mask
    or `ignore_class`), "mean_with_sample_weight" by the sum of their weights. A batch split over replicas gives the
    same update as on one.

    Args:
        label_smoothing: α in [0, 1). The tensor2tensor convention (α/(K-1) on the wrong classes) is α·K/(K-1) here.
        prior: class distribution `[K]` to smooth towards; None for the uniform one.
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss.
        dtype: "float32" or "float64".

    Call arguments:
        - `y_true`: integers of the shape of `y_pred` without `axis` (or with 1 there), or dense targets of its
          whole shape.
        - `y_pred`: logits `[..., K]`, any float dtype; half precision is widened first.
        - `sample_weight`: weights of the examples.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for α outside [0, 1), a prior that is no distribution over K classes, labels of another shape, and
            labels out of range (in a TensorFlow graph an `InvalidArgumentError` when it runs; NaN where XLA compiles).

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> loss = kls.losses.SmoothedCrossentropy(0.1)
        >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]], "float32")
        >>> round(float(loss([0, 2], logits)), 4)
        0.3339
        >>> round(float(loss([[1, 0, 0], [0, 0, 1]], logits)), 4)
        0.3339

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016; Müller, Kornblith and Hinton,
        "When Does Label Smoothing Help?", 2019. A prior other than uniform: Pereyra et al., 2017.
    """

    def __init__(
        self,
        label_smoothing=0.1,
        prior=None,
        from_logits=True,
        ignore_class=None,
        axis=-1,
        reduction="sum_over_batch_size",
        name="smoothed_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = checked_fraction("label_smoothing", label_smoothing)
        self.prior = None if prior is None else checked_prior(prior).tolist()
        self.from_logits = bool(from_logits)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        self.axis = axis

    def valid(self, y_true, y_pred):
        """Drops the examples of `ignore_class`; dense targets have none."""
        if self.ignore_class is None:
            return None
        if len(y_true.shape) == len(y_pred.shape):
            if y_true.shape[self.axis] != 1:
                return None
            y_true = K.squeeze(y_true, self.axis)
        return y_true != K.cast(self.ignore_class, y_true.dtype)

    def call(self, y_true, y_pred):
        """Per-example losses."""
        logits = y_pred if self.from_logits else probabilities_to_logits(y_pred)
        return ops.smoothed_crossentropy(y_true, logits, self.label_smoothing, self.prior, self.axis)

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "prior": self.prior,
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
        }
