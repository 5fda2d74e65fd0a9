"""Cross-entropy with label smoothing for several labels an example."""

from typing import Any

import keras
from keras import ops as K

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient
from keras_ls.ops._backend import divide_no_nan, mean
from keras_ls.ops._checks import checked_fraction, checked_rates
from keras_ls.ops._inputs import LABELS_ADVICE, check_binary_labels, checked_probabilities, counted, same_shape
from keras_ls.ops._logits import as_logits
from keras_ls.ops._tensors import as_tensor
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import is_not_ignored
from keras_ls.ops.crossentropy import binary_core


@keras.saving.register_keras_serializable(package="keras_ls")
class BinarySmoothedCrossentropy(ClassificationLoss):
    """Binary cross-entropy against smoothed targets, for one or several labels an example.

    `ℓ = 1/L Σ_l [-t_l log σ(z_l) - (1 - t_l) log(1 - σ(z_l))]`, with `t = (1 - α) y + α u` and u = ½ or `prior`: the
    mean over the labels of an example, as in Keras, and over those that are known with `ignore_class`.

    When: labels do not exclude one another (tags, findings). Rare labels need `prior`, their rates: ½ would teach the
    network to expect each of them in at least α/2 of the examples.

    Args:
        label_smoothing: α in [0, 1).
        prior: rate of each label `[L]`, or one number for all; None for ½.
        ignore_class: value of labels that are not known and do not count, such as -1, or None.
        from_logits, reduction, name, dtype: as of every `ClassificationLoss`.

    Attributes:
        label_smoothing: α, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: `[..., L]` in [0, 1]; for one label an example `[...]` too.
        - `y_pred`: logits `[..., L]`.
        - `sample_weight`: weights of the examples, `[...]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for α outside [0, 1), rates outside [0, 1], labels outside [0, 1] (in a traced step as for every
            `ClassificationLoss`) or of another shape.

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
    multi_label = True

    def __init__(
        self,
        label_smoothing: float = 0.1,
        prior: Tensor | None = None,
        from_logits: bool = True,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_smoothed_crossentropy",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, -1, reduction, name, dtype)
        self.label_smoothing = label_smoothing
        self.prior = None if prior is None else checked_rates(prior).tolist()

    def valid(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Where an example has a label that is known, `[...]`."""
        y_true, y_pred = as_tensor("y_true", y_true, LABELS_ADVICE), as_tensor("y_pred", y_pred)
        return K.any(is_not_ignored(_one_a_label(y_true, y_pred)[0], self.ignore_class), axis=-1)

    def labels_and_logits(
        self, y_true: Tensor, y_pred: Tensor, keep: Tensor | None = None, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Labels and logits, both `[..., L]`; an error for labels, of those that count, outside [0, 1]."""
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
        return labels, as_logits(logits, self.from_logits, binary=True)

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        if self.ignore_class is None:
            return mean(binary_core(labels, logits, self.label_smoothing.value, self.prior), axis=-1)
        known = is_not_ignored(labels, self.ignore_class)
        labels, logits = (K.where(known, x, K.zeros_like(x)) for x in (labels, logits))
        losses = binary_core(labels, logits, self.label_smoothing.value, self.prior)
        known = K.cast(known, losses.dtype)
        return divide_no_nan(K.sum(losses * known, axis=-1), K.sum(known, axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        config = {**super().get_config(), "prior": self.prior}
        del config["axis"]
        return config


def _one_a_label(labels, predictions):
    """Both as `[..., L]`: one label an example may come without its trailing axis of 1."""
    if len(predictions.shape) == 1:
        predictions = K.expand_dims(predictions, -1)
    if len(labels.shape) == len(predictions.shape) - 1 and predictions.shape[-1] == 1:
        labels = K.expand_dims(labels, -1)
    return labels, predictions
