"""Margin-based label smoothing (MbLS)."""

from typing import Any

import keras

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core, weighted
from keras_ls.ops.penalties import excess_margin_core


@keras.saving.register_keras_serializable(package="keras_ls")
class MarginSmoothing(ClassificationLoss):
    """Cross-entropy plus a penalty on logits that fall more than a margin behind the largest one (MbLS).

    `ℓ = -log p_y + λ · 1/K Σ_k max(0, max_j z_j - z_k - m)`. The paper writes a sum over the classes; its code, with
    which the defaults m=10 and λ=0.1 were found, takes their mean, and so does this class: for the sum, give λ·K.

    When: label smoothing pulls every logit distance to one value, also where the network is right to be less sure.
    This one leaves distances within the margin alone, which keeps more of the accuracy and of what the logits say of
    similar classes. The margin needs to be chosen on held-out data.

    Args:
        margin: m >= 0, in units of logits.
        weight: λ >= 0.
        from_logits, ignore_class, axis, reduction, name, dtype: as of every `ClassificationLoss`.

    Attributes:
        weight: λ, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: integers, or dense targets, as for `SmoothedCrossentropy`.
        - `y_pred`: logits `[..., K]`.

    Returns:
        Nats plus λ times units of logits; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a negative margin or weight, and for labels as every `ClassificationLoss`.

    Examples:
        `log(1 + e^-12) + 0.1 · (12 - 10) / 2`:

        >>> import keras_ls as kls
        >>> round(float(kls.losses.MarginSmoothing(10.0, 0.1)([0], [[12.0, 0.0]])), 4)
        0.1

    Reference:
        Liu et al., "The Devil is in the Margin: Margin-based Label Smoothing for Network Calibration", 2022.
    """

    weight = Coefficient(checked_non_negative)

    def __init__(
        self,
        margin: float = 10.0,
        weight: float = 0.1,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "margin_smoothing",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, reduction, name, dtype)
        self.weight = weight
        self.margin = checked_non_negative("margin", margin)

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        return crossentropy_core(labels, logits) + weighted(self.weight.value, excess_margin_core(logits, self.margin))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "margin": self.margin}
