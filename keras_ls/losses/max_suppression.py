"""Max suppression (MaxSup)."""

import keras

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core, weighted
from keras_ls.ops.penalties import top_logit_excess_core


@keras.saving.register_keras_serializable(package="keras_ls")
class MaxSuppression(ClassificationLoss):
    """Cross-entropy plus a penalty on the largest logit (MaxSup).

    `ℓ = -log p_y + α (max_k z_k - 1/K Σ_k z_k)`. Label smoothing is the same with `z_y` in the place of the largest
    logit: `α (z_y - mean z)`, which rewards a network that is wrong for being wrong with more confidence.

    When: instead of label smoothing where representations are used further (transfer, retrieval, distillation):
    classes keep more of their inner variety. The paper raises α from 0.1 to 0.2 while training:
    `SmoothingSchedule(lambda epoch, _: 0.1 + 0.1 * epoch / epochs, attribute="weight")`.

    Args:
        weight: α >= 0.
        from_logits, ignore_class, axis, reduction, name, dtype: as of every `ClassificationLoss`.

    Attributes:
        weight: α, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: integers, or dense targets, as for `SmoothedCrossentropy`.
        - `y_pred`: logits `[..., K]`.

    Returns:
        Nats plus α times units of logits; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a negative weight, and for labels as every `ClassificationLoss`.

    Examples:
        `log 2 + 0.1 · 0`, and for the wrong class `log(1 + e^3) + 0.1 · 1.5`:

        >>> import keras_ls as kls
        >>> loss = kls.losses.MaxSuppression(0.1)
        >>> round(float(loss([0], [[0.0, 0.0]])), 4), round(float(loss([0], [[0.0, 3.0]])), 4)
        (0.6931, 3.1986)

    Reference:
        Zhou et al., "MaxSup: Overcoming Representation Collapse in Label Smoothing", 2025.
    """

    weight = Coefficient(checked_non_negative)

    def __init__(
        self,
        weight: float = 0.1,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "max_suppression",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, reduction, name, dtype)
        self.weight = weight

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        return crossentropy_core(labels, logits) + weighted(self.weight.value, top_logit_excess_core(logits))
