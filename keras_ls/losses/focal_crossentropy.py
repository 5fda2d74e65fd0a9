"""Focal cross-entropy, with a constant or a sample-dependent γ."""

import keras

from keras_ls.losses.classification_loss import ClassificationLoss
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
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss.
        dtype: "float32" or "float64".

    Call arguments:
        - `y_true`: integers of the shape of `y_pred` without `axis` (or with 1 there).
        - `y_pred`: logits `[..., K]`.
        - `sample_weight`: weights of the examples.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for another γ, dense labels, labels out of range (in a traced step
            as for `SmoothedCrossentropy`).

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
        gamma=3.0,
        from_logits=True,
        ignore_class=None,
        axis=-1,
        reduction="sum_over_batch_size",
        name="focal_crossentropy",
        dtype=None,
    ):
        super().__init__(from_logits, ignore_class, axis, name=name, reduction=reduction, dtype=dtype)
        self.gamma = checked_gamma(gamma)

    def losses(self, labels, logits):
        """Per-example losses."""
        return focal_core(labels, logits, self.gamma)

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "gamma": self.gamma}
