"""The confidence penalty: cross-entropy less the entropy of the prediction."""

import keras

from keras_ls.losses.penalised_crossentropy import PenalisedCrossentropy
from keras_ls.ops.penalties import entropy_core


@keras.saving.register_keras_serializable(package="keras_ls")
class ConfidencePenalty(PenalisedCrossentropy):
    """Cross-entropy less the entropy of the prediction.

    `ℓ = -log p_y - β H(p)`, with `H(p) = -Σ_k p_k log p_k`. Up to a constant this adds `β KL(p ‖ uniform)`; label
    smoothing adds the divergence in the other direction, `KL(uniform ‖ p)`. It can be negative.

    When: where small probabilities must stay free, as over a large vocabulary. Label smoothing pulls up the logits of
    all classes, this one only those of classes that have some probability.

    Args:
        weight: β >= 0.
        from_logits: whether predictions are logits (default) or probabilities.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss.
        dtype: "float32" or "float64".

    Attributes:
        weight: β, a `keras.Variable`, to assign to while training.

    Call arguments:
        - `y_true`: integers, or dense targets, as for `SmoothedCrossentropy`.
        - `y_pred`: logits `[..., K]`.
        - `sample_weight`: weights of the examples.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a negative weight, labels that do not fit or are out of range (in a traced step
            as for `SmoothedCrossentropy`).

    Examples:
        `log 2 - 0.1 log 2`:

        >>> import keras_ls as kls
        >>> round(float(kls.losses.ConfidencePenalty(0.1)([0], [[0.0, 0.0]])), 4)
        0.6238

    Reference:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017.
    """

    def __init__(
        self,
        weight=0.1,
        from_logits=True,
        ignore_class=None,
        axis=-1,
        reduction="sum_over_batch_size",
        name="confidence_penalty",
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
        return -entropy_core(logits)
