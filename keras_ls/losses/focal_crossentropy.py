"""Focal cross-entropy, with a constant or a sample-dependent γ."""

from typing import Any

import keras

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.ops._types import Tensor
from keras_ls.ops.focal import checked_gamma, focal_core


@keras.saving.register_keras_serializable(package="keras_ls")
class FocalCrossentropy(ClassificationLoss):
    """Focal cross-entropy of integer labels.

    `ℓ = -(1 - p_y)^γ log p_y`. With `gamma="flsd-53"` (sample-dependent, FLSD-53) γ is 5 where `p_y < 0.2` and 3
    elsewhere.

    When: for calibration without smoothed targets: for γ >= 1 it is at least `KL(q ‖ p) - γ H(p)`, so that confident
    predictions earn less. γ = 3 and FLSD-53 are what Mukhoti et al. recommend. Its minimiser is not the true
    distribution, so that networks can end under-confident: check a fitted temperature below 1.

    Args:
        gamma: γ >= 0, or "flsd-53".
        from_logits, ignore_class, axis, reduction, name, dtype: as of every `ClassificationLoss`.

    Call arguments:
        - `y_true`: integers of the shape of `y_pred` without `axis` (or with 1 there).
        - `y_pred`: logits `[..., K]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for another γ, dense labels, and for labels as every `ClassificationLoss`.

    Examples:
        p_y = ½ and ⅒: `(½)³ log 2` and `(9/10)⁵ log 10`.

        >>> import math, keras_ls as kls
        >>> loss = kls.losses.FocalCrossentropy("flsd-53", reduction="none")
        >>> [round(float(v), 4) for v in loss([0, 0], [[0.0, 0.0], [0.0, math.log(9.0)]])]
        [0.0866, 1.3597]

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", 2017; Mukhoti et al., "Calibrating Deep Neural Networks
        using Focal Loss", 2020.
    """

    def __init__(
        self,
        gamma: float | str = 3.0,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal_crossentropy",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, reduction, name, dtype)
        self.gamma = checked_gamma(gamma)

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        return focal_core(labels, logits, self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "gamma": self.gamma}
