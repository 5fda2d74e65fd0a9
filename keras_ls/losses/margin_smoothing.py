"""Margin-based label smoothing (MbLS)."""

import keras

from keras_ls.losses.penalised_crossentropy import PenalisedCrossentropy
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops.penalties import excess_margin_core


@keras.saving.register_keras_serializable(package="keras_ls")
class MarginSmoothing(PenalisedCrossentropy):
    """Cross-entropy plus a penalty on logits that fall more than a margin behind the largest one (MbLS).

    `ℓ = -log p_y + λ · 1/K Σ_k max(0, max_j z_j - z_k - m)`. The paper writes a sum over the classes; its code, with
    which the defaults m=10 and λ=0.1 were found, takes their mean, and so does this class: for the sum, give λ·K.

    When: label smoothing pulls every logit distance to one value, also where the network is right to be less sure.
    This one leaves distances within the margin alone, which keeps more of the accuracy and of what the logits say of
    similar classes. The margin needs to be chosen on held-out data.

    Args:
        margin: m >= 0, in units of logits.
        weight: λ >= 0.
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss.
        dtype: "float32" or "float64".

    Attributes:
        weight: λ, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: integers, or dense targets, as for `SmoothedCrossentropy`.
        - `y_pred`: logits `[..., K]`.
        - `sample_weight`: weights of the examples.

    Returns:
        Nats plus λ times units of logits; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a negative margin or weight, labels that do not fit or are out of range (in a traced step
            as for `SmoothedCrossentropy`).

    Examples:
        `log(1 + e^-12) + 0.1 · (12 - 10) / 2`:

        >>> import keras_ls as kls
        >>> round(float(kls.losses.MarginSmoothing(10.0, 0.1)([0], [[12.0, 0.0]])), 4)
        0.1

    Reference:
        Liu et al., "The Devil is in the Margin: Margin-based Label Smoothing for Network Calibration", 2022.
    """

    def __init__(
        self,
        margin=10.0,
        weight=0.1,
        from_logits=True,
        ignore_class=None,
        axis=-1,
        reduction="sum_over_batch_size",
        name="margin_smoothing",
        dtype=None,
    ):
        super().__init__(
            weight,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.margin = checked_non_negative("margin", margin)

    def penalty(self, logits):
        """Per-example penalties."""
        return excess_margin_core(logits, self.margin)

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "margin": self.margin}
