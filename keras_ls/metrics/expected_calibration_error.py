"""Expected calibration error, streamed in O(bins) memory."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops as K
from keras.ops import convert_to_numpy

from keras_ls.metrics.counting_metric import CountingMetric
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import effective_size
from keras_ls.ops.binning import FINE_CELLS, bin_statistics, fine_cell_index, uniform_bin_index
from keras_ls.ops.calibration import checked_calibration_options


@keras.saving.register_keras_serializable(package="keras_ls")
class ExpectedCalibrationError(CountingMetric):
    """Expected calibration error of the top label, or of P(y=1) for single-column predictions.

    `ECE = Σ_m n_m/n |acc_m - conf_m|` over bins of confidence; `ops.calibration_error` says the other norms. The state
    holds three sums a bin (four of a debiased one), whatever the number of examples, and counts right past 2²⁴ of them.

    `binning="quantile"` merges equal-mass bins from a histogram of the 4096 cells of `fine_cell_index`. The result
    equals that of `ops.calibration_error` whenever no cell holds examples from both sides of an edge. Otherwise, with ε
    the fraction of the examples that share the cell of an edge but not its confidence, the two differ by at most `2 ε`
    with norm "l1", their squares by at most `4 ε` with "l2"; nothing is promised of "max" or with `debiased=True`.

    Whole-number weights are counts of examples. Where any weight of any batch is no whole number, the scale of the
    weights says nothing, as in `ops.calibration_error`.

    A predictor that always gives the base rate has an ECE of 0: look at a proper score (`BrierScore`,
    `NegativeLogLikelihood`) beside it.

    Args:
        num_bins: B.
        binning: "uniform" (equal width) or "quantile" (equal mass).
        norm: "l1" (ECE), "l2" or "max" (MCE).
        closed: the side on which a bin includes its edge, "left" or "right". A confidence of 1.0 is in the last bin.
        debiased: subtracts the variance that finite bins add; needs `norm="l2"`.
        from_logits: whether predictions are logits (default) or probabilities. Never guessed.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense targets.
        name: name of the metric.
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar in [0, 1]: a difference of probabilities.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, and NaN predictions. Inside a traced function
            NaN predictions make the result NaN; labels out of range raise when a TensorFlow graph runs, and give NaN
            under XLA.

    Examples:
        >>> import keras_ls as kls
        >>> metric = kls.metrics.ExpectedCalibrationError(from_logits=False)
        >>> metric.update_state([0, 1, 0, 1, 0], [0.5, 0.5, 0.5, 0.6, 0.5])
        >>> metric.update_state([1, 1, 1, 0], [0.6, 0.6, 0.6, 0.6])
        >>> round(float(metric.result()), 6)
        0.222222

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017; Kumar, Liang and Ma, 2019 (debiased).
    """

    def __init__(
        self,
        num_bins: int = 15,
        binning: Literal["uniform", "quantile"] = "uniform",
        norm: Literal["l1", "l2", "max"] = "l1",
        closed: Literal["left", "right"] = "left",
        debiased: bool = False,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "expected_calibration_error",
        dtype: str | None = None,
    ):
        checked_calibration_options(num_bins, binning, norm, closed, debiased)
        self._cells = num_bins if binning == "uniform" else FINE_CELLS
        super().__init__((4 if debiased else 3, self._cells), from_logits, ignore_class, axis, name, dtype)
        self.num_bins = num_bins
        self.binning = binning
        self.norm = norm
        self.closed = closed
        self.debiased = bool(debiased)

    def statistics(self, labels: Tensor, predictions: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Each bin's sums of weight, accuracy and confidence."""
        confidence, accuracy = confidence_and_accuracy(labels, predictions, self.from_logits)
        self.checked(confidence, weight)
        if self.binning == "uniform":
            index = uniform_bin_index(confidence, self._cells, self.closed)
        else:
            index = fine_cell_index(confidence, self._cells)
        sums = bin_statistics(index, confidence, accuracy, weight, self._cells, squares=self.debiased)
        return sums, weight

    def from_statistics(self, sums: Tensor) -> Tensor:
        """The calibration error of the bins."""
        return self.error_of_sums(sums)

    def bins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What has been counted so far, for `plots.ReliabilityDisplay(*metric.bins())`: no predictions are needed.

        Returns:
            `(weight, accuracy, confidence, edges)`: NumPy, `[B]` and edges `[B + 1]`; the means NaN where a bin is
            empty. Weights of which one is no whole number are scaled so as to sum to Kish's effective sample size,
            `(Σ w)² / Σ w²`: the display takes them for counts.

        Raises:
            ValueError: for equal-mass bins, whose edges the sums do not tell.
        """
        if self.binning != "uniform":
            raise ValueError(
                f"Expected `binning='uniform'`: the sums do not tell the edges of others. Received: {self.binning!r}. "
                "Draw predictions, with `ReliabilityDisplay.from_predictions`."
            )
        sums = self.sums()
        weight, accuracy, confidence = convert_to_numpy(sums[:3])
        some = np.where(weight > 0, weight, np.nan)
        if not self.examples(sums)[1]:
            weight = weight / weight.sum() * convert_to_numpy(effective_size(K.sum(sums[0]), self.totals()[2]))
        return weight, accuracy / some, confidence / some, np.arange(self.num_bins + 1) / self.num_bins

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "binning": self.binning,
            "norm": self.norm,
            "closed": self.closed,
            "debiased": self.debiased,
        }
