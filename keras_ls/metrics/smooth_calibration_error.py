"""Smooth calibration error, streamed."""

from typing import Any

import keras

from keras_ls.metrics.streaming import StreamingMetric
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Tensor
from keras_ls.ops.smooth_calibration import NODES, checked_bandwidth, node_statistics, smooth_calibration_error_of_nodes


@keras.saving.register_keras_serializable(package="keras_ls")
class SmoothCalibrationError(StreamingMetric):
    """Smooth calibration error (smECE) of the top label, or of P(y=1) for single-column predictions: no bins.

    `smECE_σ = ∫_0^1 |1/n Σ_i w_i (y_i - f_i) K_σ(t, f_i)| dt` for the Gaussian kernel of standard deviation σ reflected
    at 0 and 1, and by default the σ that is its own error. The state is the residuals shared out over 16,384 nodes of
    confidence, as in `ops.smooth_calibration_error`, which says how exact they are: the results are the same.
    The scale of the sample weights says nothing.

    A predictor that always gives the base rate has an error of 0: look at a proper score (`BrierScore`,
    `NegativeLogLikelihood`) beside it.

    Args:
        bandwidth: σ of at least 2/16384, or None for the one that is its own error.
        from_logits: whether predictions are logits (default) or probabilities. Never guessed.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar in [0, 1]: a difference of probabilities.

    Raises:
        ValueError: for a bandwidth too small, shapes or labels that do not fit, and NaN predictions. Inside a traced
            function NaN predictions make the result NaN; labels out of range raise when a TensorFlow graph runs, and
            give NaN under XLA.

    Examples:
        One confidence, 0.7, and one in two right: whatever the kernel, `∫ |0.5 - 0.7| K = 0.2`.

        >>> import keras_ls as kls
        >>> metric = kls.metrics.SmoothCalibrationError(from_logits=False)
        >>> metric.update_state([0], [0.7])
        >>> metric.update_state([1], [0.7])
        >>> round(float(metric.result()), 6)
        0.2

    Reference:
        Błasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing", 2024.
    """

    def __init__(
        self,
        bandwidth: float | None = None,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "smooth_calibration_error",
        dtype: str | None = None,
    ):
        self.bandwidth = checked_bandwidth(bandwidth)
        super().__init__((NODES + 1,), from_logits, ignore_class, axis, name, dtype)

    def statistics(self, labels: Tensor, predictions: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The residuals at the nodes, and the weight."""
        confidence, accuracy = confidence_and_accuracy(labels, self.probabilities(predictions))
        self.checked(confidence, weight)
        return node_statistics(confidence, accuracy, weight)

    def from_statistics(self, sums: Tensor) -> Tensor:
        """The smooth calibration error of the residuals."""
        return smooth_calibration_error_of_nodes(sums, self.bandwidth)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "bandwidth": self.bandwidth}
