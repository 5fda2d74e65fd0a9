"""Brier score, streamed."""

import keras

from keras_ls.metrics.streaming import StreamingMean
from keras_ls.ops._types import Tensor
from keras_ls.ops.calibration import squared_distance


@keras.saving.register_keras_serializable(package="keras_ls")
class BrierScore(StreamingMean):
    """Brier score: mean squared distance of the predicted probabilities from the target, a proper score.

    `BS = 1/n Σ_i Σ_k (p_ik - y_ik)²` for K classes, in [0, 2]; `1/n Σ_i (p_i - y_i)²` for P(y=1), in [0, 1].
    The mean is weighted by the sample weights, whose scale says nothing.

    Args:
        from_logits: whether predictions are logits (default) or probabilities. Never guessed.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar; 0 is perfect.

    Raises:
        ValueError: for shapes or labels that do not fit, and NaN predictions. Inside a traced function NaN predictions
            make the result NaN; labels out of range raise when a TensorFlow graph runs, and give NaN under XLA.

    Examples:
        `(0.14 + 0.24 + 0.86) / 3`:

        >>> import keras_ls as kls
        >>> metric = kls.metrics.BrierScore(from_logits=False)
        >>> metric.update_state([1, 0, 2], [[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]])
        >>> round(float(metric.result()), 6)
        0.413333

    Reference:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """

    def __init__(
        self,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "brier_score",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, name, dtype)

    def values(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """Squared distance of each example."""
        return squared_distance(labels, self.probabilities(predictions))
