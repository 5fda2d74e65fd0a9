"""The confidence penalty: cross-entropy less the entropy of the prediction."""

import keras

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core, weighted
from keras_ls.ops.penalties import entropy_core


@keras.saving.register_keras_serializable(package="keras_ls")
class ConfidencePenalty(ClassificationLoss):
    """Cross-entropy less the entropy of the prediction.

    `ℓ = -log p_y - β H(p)`, with `H(p) = -Σ_k p_k log p_k`. Up to a constant this adds `β KL(p ‖ uniform)`; label
    smoothing adds the divergence in the other direction, `KL(uniform ‖ p)`. It can be negative.

    When: where small probabilities must stay free, as over a large vocabulary. Label smoothing pulls up the logits of
    all classes, this one only those of classes that have some probability.

    Args:
        weight: β >= 0.
        from_logits, ignore_class, axis, reduction, name, dtype: as of every `ClassificationLoss`.

    Attributes:
        weight: β, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: integers, or dense targets, as for `SmoothedCrossentropy`.
        - `y_pred`: logits `[..., K]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a negative weight, and for labels as every `ClassificationLoss`.

    Examples:
        `log 2 - 0.1 log 2`:

        >>> import keras_ls as kls
        >>> round(float(kls.losses.ConfidencePenalty(0.1)([0], [[0.0, 0.0]])), 4)
        0.6238

    Reference:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017.
    """

    weight = Coefficient(checked_non_negative)

    def __init__(
        self,
        weight: float = 0.1,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "confidence_penalty",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, reduction, name, dtype)
        self.weight = weight

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        return crossentropy_core(labels, logits) + weighted(self.weight.value, -entropy_core(logits))
