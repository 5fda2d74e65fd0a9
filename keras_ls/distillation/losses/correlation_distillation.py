"""Distillation by correlation (DIST)."""

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import check_classes
from keras_ls.distillation.losses.relation_loss import RelationLoss
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._backend import mean, to_accumulation_dtype
from keras_ls.ops._checks import check_same_shape, checked_non_negative, checked_positive
from keras_ls.ops._types import Tensor
from keras_ls.ops.divergences import softened
from keras_ls.ops.relations import correlation_core


@keras.saving.register_keras_serializable(package="keras_ls")
class CorrelationDistillation(RelationLoss):
    """Correlations of the student's with the teacher's probabilities, within examples and within classes (DIST).

    `L = T² (β · mean_i (1 - ρ(p_s[i, :], p_t[i, :])) + γ · mean_k (1 - ρ(p_s[:, k], p_t[:, k])))`, with p the softmax
    at temperature T and ρ Pearson's correlation. A correlation asks less than equality: a student may be less sure than
    a strong teacher. What does not vary has correlation 0; the authors' code instead adds 1e-8 to the denominator of ρ.

    The correlations within classes are over the whole batch, gathered over the replicas, and weighted by the examples'
    weights; each example carries their mean.

    Args:
        beta: β >= 0, of the relations between classes, within an example.
        gamma: γ >= 0, of the relations within a class, between examples.
        temperature: T > 0, of both.
        scale_by_temperature: whether to multiply by T², as the authors' code does.
        standardize: whether each logit vector first gets mean 0 and standard deviation 1.
        reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        beta: β, a `keras.Variable`, to assign to while training.
        gamma: γ, likewise.
        temperature: T, likewise.

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`.
        - `y_pred`: the student's logits `[..., K]`.

    Returns:
        In [0, 2 T² (β + γ)]; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for numbers out of range, and logits of different shapes or of a single class.

    Examples:
        The student is less sure of the same: its probabilities (⅗, ⅖) and (⅖, ⅗) vary as the teacher's do.

        >>> import numpy as np, keras_ls as kls
        >>> teacher, student = np.log([[0.9, 0.1], [0.1, 0.9]]), np.log([[0.6, 0.4], [0.4, 0.6]])
        >>> round(float(kls.distillation.CorrelationDistillation()(teacher, student)), 6)
        0.0

    Reference:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022.
    """

    examples_are_vectors = True
    takes_logits = True
    beta = Coefficient(checked_non_negative)
    gamma = Coefficient(checked_non_negative)
    temperature = Coefficient(checked_positive)

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        scale_by_temperature: bool = True,
        standardize: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "correlation_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature
        self.scale_by_temperature = bool(scale_by_temperature)
        self.standardize = bool(standardize)

    def without_dropped(self, y_true: Tensor, y_pred: Tensor, keep: Tensor = None) -> tuple:
        """As in every loss, for logits of one shape."""
        check_same_shape(K.convert_to_tensor(y_true), K.convert_to_tensor(y_pred))
        check_classes(repr(self.name), K.convert_to_tensor(y_pred), "the correlation within an example is 1 or -1")
        return super().without_dropped(y_true, y_pred, keep)

    def call(self, teacher: Tensor, student: Tensor, weight: Tensor) -> Tensor:
        """Values of the examples of the whole batch."""
        t, beta, gamma = (K.cast(v.value, weight.dtype) for v in (self.temperature, self.beta, self.gamma))
        p_t, p_s = (
            K.softmax(softened(to_accumulation_dtype(z), t, self.standardize), axis=-1) for z in (teacher, student)
        )
        between_classes = correlation_core(p_t, p_s)
        within_classes = mean(correlation_core(K.transpose(p_t), K.transpose(p_s), weight))
        losses = beta * between_classes + gamma * within_classes
        return t * t * losses if self.scale_by_temperature else losses

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "beta": number(self.beta),
            "gamma": number(self.gamma),
            "temperature": number(self.temperature),
            "scale_by_temperature": self.scale_by_temperature,
            "standardize": self.standardize,
        }
