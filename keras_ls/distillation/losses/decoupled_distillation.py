"""Decoupled distillation: the target class and the others, each with a weight of its own."""

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss, check_classes
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._backend import argmax
from keras_ls.ops._checks import (
    check_same_shape,
    checked_choice,
    checked_class,
    checked_non_negative,
    checked_positive,
)
from keras_ls.ops._inputs import align_labels, checked_labels
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import is_not_ignored
from keras_ls.ops.decoupling import decoupled_core


@keras.saving.register_keras_serializable(package="keras_ls")
class DecoupledDistillation(DistillationLoss):
    """Divergence about the target class plus the divergence about the others, with weights that are free of each other.

    `ℓ = T² (α TCKD + β NCKD)`. TCKD is the KL divergence between (p_y, 1 - p_y) of teacher and student, NCKD that
    between their softmax over the classes other than y, both at temperature T. `LogitsDistillation` is α = 1 with β the
    teacher's 1 - p_y: where the teacher is sure, it hardly teaches about the other classes.

    Args:
        alpha: α >= 0.
        beta: β >= 0. The authors take 8 for most pairs on CIFAR-100 and ½ to 2 on ImageNet, and raise both weights from
            0 over the first 20 epochs.
        temperature: T > 0, of both.
        target: "label" (default, the paper's): y is the true label, which a `Distiller` hands over; "teacher": the
            class that the teacher finds likeliest, where there are no labels.
        standardize: whether each logit vector first gets mean 0 and standard deviation 1.
        ignore_class: integer label of examples that do not count, or None; for `target="label"`. The other losses
            compare teacher and student there all the same: give them a weight of 0.
        reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        alpha: α, a `keras.Variable`, to assign to while training.
        beta: β, likewise.
        temperature: T, likewise.

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`.
        - `y_pred`: the student's logits `[..., K]`.
        - `labels`: integers `[...]`, or one-hot `[..., K]`; for `target="label"`.

    Returns:
        Nats times T²; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for numbers out of range, logits of different shapes or of a single class, labels that are missing
            or out of range, and `ignore_class` with `target="teacher"`.

    Examples:
        They agree on class 0 (½), not on the others (½, ½ and ¾, ¼): `8 · (½ log ⅔ + ½ log 2)`.

        >>> import numpy as np, keras_ls as kls
        >>> loss = kls.distillation.DecoupledDistillation(temperature=1.0)
        >>> teacher, student = np.log([[4.0, 2.0, 2.0]]), np.log([[4.0, 3.0, 1.0]])
        >>> round(float(loss(teacher, student, labels=[0])), 4)
        1.1507

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation", 2022.
    """

    takes_logits = True
    alpha = Coefficient(checked_non_negative)
    beta = Coefficient(checked_non_negative)
    temperature = Coefficient(checked_positive)

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        target: str = "label",
        standardize: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "decoupled_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.target = checked_choice("target", target, ["label", "teacher"])
        self.needs_labels = self.target == "label"
        self.standardize = bool(standardize)
        self.ignore_class = checked_class("ignore_class", ignore_class)
        if ignore_class is not None and target == "teacher":
            raise ValueError(
                "Expected `ignore_class` with target='label', as it is a label. Received: "
                f"ignore_class={ignore_class}, target='teacher'. Give examples that do not count a weight of 0."
            )

    def known(self, labels: Tensor, y_pred: Tensor) -> Tensor:
        """Where labels are others than `ignore_class`; dense ones are everywhere."""
        if self.ignore_class is None or labels is None:
            return None
        labels = align_labels(labels, y_pred)
        return is_not_ignored(labels, self.ignore_class) if len(labels.shape) < len(y_pred.shape) else None

    def call(self, y_true: Tensor, y_pred: Tensor, labels: Tensor = None) -> Tensor:
        """Per-example weighted sums of the two divergences."""
        check_same_shape(y_true, y_pred)
        check_classes(repr(self.name), y_pred, "there are no other classes to decouple")
        y_true = K.cast(y_true, y_pred.dtype)
        classes = argmax(y_true) if labels is None else _classes(labels, y_pred)
        alpha, beta, t = (K.cast(v.value, y_pred.dtype) for v in (self.alpha, self.beta, self.temperature))
        target, others = decoupled_core(classes, y_true, y_pred, t, self.standardize)
        return t * t * (alpha * target + beta * others)

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "alpha": number(self.alpha),
            "beta": number(self.beta),
            "temperature": number(self.temperature),
            "target": self.target,
            "standardize": self.standardize,
            "ignore_class": self.ignore_class,
        }


def _classes(labels, logits):
    labels = checked_labels(align_labels(labels, logits), logits)
    return argmax(labels) if len(labels.shape) == len(logits.shape) else labels
