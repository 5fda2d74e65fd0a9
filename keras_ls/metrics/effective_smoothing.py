"""Effective smoothing of predictions, streamed."""

from typing import Any

import keras

from keras_ls.metrics.streaming import StreamingMean
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_positive
from keras_ls.ops._logits import as_logits
from keras_ls.ops._predictions import as_two_classes
from keras_ls.ops._types import Tensor
from keras_ls.ops.smoothing import smoothing_of_examples


@keras.saving.register_keras_serializable(package="keras_ls")
class EffectiveSmoothing(StreamingMean):
    """The label smoothing γ that predictions amount to: of a teacher, what its students are told.

    `γ = mean_x Σ_k (1 - y_k) p_k(T) · K/(K-1)`, with `p(T) = softmax(z / T)`. Predictions that equal targets smoothed
    with α have γ = α. On the training data γ tells of the targets; on others the errors add to it. The mean is
    weighted by the sample weights, whose scale says nothing.

    Args:
        temperature: T > 0.
        from_logits: whether predictions are logits (default) or probabilities. Never guessed. Probabilities are clipped
            to at least Keras's ε (1e-7) and renormalised; logits are not clipped.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar in [0, K/(K-1)].

    Raises:
        ValueError: for T, shapes or labels that do not fit, and NaN predictions. Inside a traced function NaN
            predictions make the result NaN; labels out of range raise when a TensorFlow graph runs, and give NaN under
            XLA.

    Examples:
        `(0.3 + 0.1) / 2` of two classes, times 2:

        >>> import keras_ls as kls
        >>> metric = kls.metrics.EffectiveSmoothing(from_logits=False)
        >>> metric.update_state([0, 1], [[0.7, 0.3], [0.1, 0.9]])
        >>> round(float(metric.result()), 6)
        0.4

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 4, 2019.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "effective_smoothing",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, name, dtype)
        self.temperature = checked_positive("temperature", temperature)

    def values(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """γ of each example."""
        labels, predictions = as_two_classes(labels, predictions, self.from_logits)
        logits = as_logits(at_least_float32(predictions), self.from_logits)
        return smoothing_of_examples(logits, labels, self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "temperature": self.temperature}
