"""Area under the risk-coverage curve, streamed."""

import keras
from keras import ops as K

from keras_ls.metrics.counting_metric import CountingMetric
from keras_ls.ops._backend import to_accumulation_dtype
from keras_ls.ops._types import Tensor
from keras_ls.ops.binning import FINE_CELLS, bin_statistics, fine_cell_index
from keras_ls.ops.selective import predicted_confidence_and_accuracy, risk_coverage_area_of_groups


@keras.saving.register_keras_serializable(package="keras_ls")
class RiskCoverageArea(CountingMetric):
    """Area under the risk-coverage curve (AURC): the mean risk over all coverages, lower is better.

    `AURC = 1/n Σ_{i=1}^{n} (errors among the i most confident) / i`: how well confidence tells right from wrong, where
    a calibration error says how well it measures. Label smoothing may improve the one and harm the other.

    Confidences are told apart as far as the 4096 cells of `fine_cell_index` do; examples in one cell count as
    equally confident. With s examples, e of them wrong, in a cell, and b in the cells above it, the result differs from
    `ops.risk_coverage_area` by at most `1/n Σ_cells e (s - e)/s (1/(b+1) + ... + 1/(b+s))`: cells that are all right or
    all wrong add nothing.

    Whole-number weights are counts of examples. Where any weight of any batch is no whole number, the scale of the
    weights says nothing, as in `ops.risk_coverage_area`.

    Args:
        from_logits: whether predictions are logits (default) or probabilities. Never guessed. Confidences that float32
            rounds to 1 count as equal.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar in [0, 1]: 0 without errors, the error rate where confidence says nothing.

    Raises:
        ValueError: for shapes or labels that do not fit, and NaN predictions. Inside a traced function NaN predictions
            make the result NaN; labels out of range raise when a TensorFlow graph runs, and give NaN under XLA.

    Examples:
        Right at 0.9, wrong at 0.8, right at 0.7: `(0/1 + 1/2 + 1/3) / 3`.

        >>> import keras_ls as kls
        >>> metric = kls.metrics.RiskCoverageArea(from_logits=False)
        >>> metric.update_state([0, 1, 0], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> round(float(metric.result()), 6)
        0.277778

    Reference:
        Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", 2019.
    """

    def __init__(
        self,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "risk_coverage_area",
        dtype: str | None = None,
    ):
        super().__init__((2, FINE_CELLS), from_logits, ignore_class, axis, name, dtype)

    def statistics(self, labels: Tensor, predictions: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Each cell's sums of weight and errors."""
        probabilities = self.probabilities(predictions)
        confidence, accuracy = predicted_confidence_and_accuracy(labels, probabilities)
        self.checked(confidence, weight)
        # a NaN confidence must show in the errors, which comparing classes has made plain numbers
        error = 1 - to_accumulation_dtype(accuracy) + 0 * to_accumulation_dtype(confidence)
        sums = bin_statistics(fine_cell_index(confidence), confidence, error, weight, FINE_CELLS)
        return sums[:2], weight

    def from_statistics(self, sums: Tensor) -> Tensor:
        """The area over the cells, of the highest confidence first."""
        return risk_coverage_area_of_groups(K.flip(sums, axis=1), self.examples(sums)[0])
