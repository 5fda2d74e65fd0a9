"""Max suppression (MaxSup)."""

import keras

from keras_ls.losses.penalised_crossentropy import PenalisedCrossentropy
from keras_ls.ops.penalties import top_logit_excess_core


@keras.saving.register_keras_serializable(package="keras_ls")
class MaxSuppression(PenalisedCrossentropy):
    """Cross-entropy plus a penalty on the largest logit (MaxSup).

    `ℓ = -log p_y + α (max_k z_k - 1/K Σ_k z_k)`. Label smoothing is the same with `z_y` in the place of the largest
    logit: `α (z_y - mean z)`, which rewards a network that is wrong for being wrong with more confidence.

    When: instead of label smoothing where representations are used further (transfer, retrieval, distillation):
    classes keep more of their inner variety. The paper raises α from 0.1 to 0.2 while training:
    `SmoothingSchedule(lambda epoch, _: 0.1 + 0.1 * epoch / epochs, attribute="weight")`.

    Args:
        weight: α >= 0.
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss.
        dtype: "float32" or "float64".

    Attributes:
        weight: α, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: integers, or dense targets, as for `SmoothedCrossentropy`.
        - `y_pred`: logits `[..., K]`.
        - `sample_weight`: weights of the examples.

    Returns:
        Nats plus α times units of logits; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a negative weight, labels that do not fit or are out of range (in a traced step
            as for `SmoothedCrossentropy`).

    Examples:
        `log 2 + 0.1 · 0`, and for the wrong class `log(1 + e^3) + 0.1 · 1.5`:

        >>> import keras_ls as kls
        >>> loss = kls.losses.MaxSuppression(0.1)
        >>> round(float(loss([0], [[0.0, 0.0]])), 4), round(float(loss([0], [[0.0, 3.0]])), 4)
        (0.6931, 3.1986)

    Reference:
        Zhou et al., "MaxSup: Overcoming Representation Collapse in Label Smoothing", 2025.
    """

    def __init__(
        self,
        weight=0.1,
        from_logits=True,
        ignore_class=None,
        axis=-1,
        reduction="sum_over_batch_size",
        name="max_suppression",
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

    def penalty(self, logits):
        """Per-example penalties."""
        return top_logit_excess_core(logits)
