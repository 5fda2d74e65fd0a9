"""Negative log-likelihood, streamed."""

import keras

from keras_ls.metrics.streaming import StreamingMean
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._logits import as_logits
from keras_ls.ops._predictions import as_two_classes
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core


@keras.saving.register_keras_serializable(package="keras_ls")
class NegativeLogLikelihood(StreamingMean):
    """Negative log-likelihood of the labels (log-loss), a proper score.

    `NLL = -1/n Σ_i log p_i,y_i`; a dense target counts each class with its probability. Unlike the loss in the logs it
    holds neither smoothing nor regularisation, so that models trained with different α can be compared. The mean is
    weighted by the sample weights, whose scale says nothing.

    Args:
        from_logits: whether predictions are logits (default) or probabilities. Never guessed. Probabilities are clipped
            to at least Keras's ε (1e-7) and renormalised; logits are not clipped.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar in nats.

    Raises:
        ValueError: for shapes or labels that do not fit, and NaN predictions. Inside a traced function NaN predictions
            make the result NaN; labels out of range raise when a TensorFlow graph runs, and give NaN under XLA.

    Examples:
        `-(log 0.7 + log 0.6 + log 0.3) / 3`:

        >>> import keras_ls as kls
        >>> metric = kls.metrics.NegativeLogLikelihood(from_logits=False)
        >>> metric.update_state([1, 0, 2], [[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]])
        >>> round(float(metric.result()), 6)
        0.690491

    Reference:
        Good, "Rational Decisions", 1952.
    """

    def __init__(
        self,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "negative_log_likelihood",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, name, dtype)

    def values(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """Negative log-likelihood of each example."""
        labels, predictions = as_two_classes(labels, predictions, self.from_logits)
        return crossentropy_core(labels, at_least_float32(as_logits(predictions, self.from_logits)))
