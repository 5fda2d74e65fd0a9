"""Distillation of the teacher's decisions."""

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss, check_classes
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._backend import argmax
from keras_ls.ops._checks import check_same_shape, checked_fraction
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core


@keras.saving.register_keras_serializable(package="keras_ls")
class HardLabelDistillation(DistillationLoss):
    """Cross-entropy of the student with the class that the teacher finds likeliest.

    `ℓ = -(1 - α) log p_c - α/K Σ_k log p_k`, with `c = argmax_k z_teacher` and p the student's softmax. No temperature:
    the teacher only decides.

    Args:
        label_smoothing: α in [0, 1), of the decision.
        reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        label_smoothing: α, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`.
        - `y_pred`: the student's logits `[..., K]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`. NaN where the teacher's logits hold NaN.

    Raises:
        ValueError: for α out of range, logits of different shapes, and logits of a single class.

    Examples:
        The teacher says class 1, to which the student gives ¾: `log 4/3`.

        >>> import math, keras_ls as kls
        >>> loss = kls.distillation.HardLabelDistillation()
        >>> round(float(loss([[0.0, 0.1]], [[0.0, math.log(3.0)]])), 4)
        0.2877

    Reference:
        Touvron et al., "Training Data-Efficient Image Transformers & Distillation through Attention", 2021.
    """

    label_smoothing = Coefficient(checked_fraction)

    def __init__(
        self,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "hard_label_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Per-example cross-entropies."""
        check_same_shape(y_true, y_pred)
        check_classes(repr(self.name), y_pred, "the largest decides nothing")
        losses = crossentropy_core(argmax(y_true), y_pred, self.label_smoothing.value)
        # NaN is neither likelier nor less likely than a number
        undecided = K.any(K.isnan(y_true), axis=-1)
        return K.where(undecided, K.full_like(losses, float("nan")), losses)

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "label_smoothing": number(self.label_smoothing)}
