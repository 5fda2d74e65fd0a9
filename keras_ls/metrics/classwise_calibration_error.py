"""Class-wise calibration error, streamed."""

from typing import Any, Literal

import keras
from keras import ops as K

from keras_ls.metrics.counting_metric import CountingMetric
from keras_ls.ops._backend import mean
from keras_ls.ops._checks import checked_count, checked_fraction
from keras_ls.ops._types import Tensor
from keras_ls.ops.binning import fine_cell_index, uniform_bin_index
from keras_ls.ops.calibration import checked_calibration_options
from keras_ls.ops.classwise import classwise_bin_statistics, classwise_targets, classwise_weight

# a class: 4096 would be 50 MB of state for 1000 classes
CLASS_CELLS = 512


@keras.saving.register_keras_serializable(package="keras_ls")
class ClasswiseCalibrationError(CountingMetric):
    """Calibration error of each class's probability against whether that class is the label; the mean over classes.

    `1/K Σ_k Σ_m n_km/n_k |freq_km - conf_km|` over bins of the probability of class k. With uniform bins this is the
    static calibration error (SCE), also called class-wise ECE; with `binning="quantile"` the adaptive one (ACE), and
    with a threshold besides the thresholded adaptive one (TACE). `ops.classwise_calibration_error` says the details.

    `binning="quantile"` merges equal-mass bins from 512 cells a class (those of `fine_cell_index`). With ε_k the
    fraction of the examples whose probability of class k shares the cell of an edge but is another, the result differs
    from that of `ops.classwise_calibration_error` by at most `2 mean_k ε_k` with norm "l1", by at most
    `2 mean_k sqrt(ε_k)` with "l2"; nothing is promised of "max" or with `debiased=True`.

    Whole-number weights are counts of examples. Where any weight of any batch is no whole number, the scale of the
    weights says nothing, as in `ops.classwise_calibration_error`.

    Args:
        num_bins: B, for each class.
        binning: "uniform" (equal width) or "quantile" (equal mass).
        norm: "l1", "l2" or "max", within each class.
        closed: the side on which a bin includes its edge, "left" or "right".
        debiased: subtracts the variance that finite bins add; needs `norm="l2"`.
        threshold: in [0, 1): only probabilities above it count; 0 counts all.
        num_classes: K; 2 for P(y=1) predictions, which count as the two classes `(1 - p, p)`. None for that of the
            first batch, which `fit` and `evaluate` know in time; a `tf.function` of your own needs the number.
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
        Class 1 has 0.1 and 0.4 in one of two bins and 0.7 in the other: `2/3 |1/2 - 0.25| + 1/3 |1 - 0.7|`;
        class 0 mirrors.

        >>> import keras_ls as kls
        >>> metric = kls.metrics.ClasswiseCalibrationError(num_bins=2, from_logits=False)
        >>> metric.update_state([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
        >>> round(float(metric.result()), 6)
        0.266667

    Reference:
        Nixon et al., "Measuring Calibration in Deep Learning", 2019; Kull et al., "Beyond Temperature Scaling", 2019.
    """

    def __init__(
        self,
        num_bins: int = 15,
        binning: Literal["uniform", "quantile"] = "uniform",
        norm: Literal["l1", "l2", "max"] = "l1",
        closed: Literal["left", "right"] = "left",
        debiased: bool = False,
        threshold: float = 0.0,
        num_classes: int | None = None,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        name: str = "classwise_calibration_error",
        dtype: str | None = None,
    ):
        checked_calibration_options(num_bins, binning, norm, closed, debiased)
        self.num_classes = None if num_classes is None else checked_count("num_classes", num_classes, minimum=2)
        self.threshold = checked_fraction("threshold", threshold)
        self._cells = num_bins if binning == "uniform" else CLASS_CELLS
        shape = None if num_classes is None else (4 if debiased else 3, num_classes, self._cells)
        super().__init__(shape, from_logits, ignore_class, axis, name, dtype)
        self.num_bins = num_bins
        self.binning = binning
        self.norm = norm
        self.closed = closed
        self.debiased = bool(debiased)

    def statistics(self, labels: Tensor, predictions: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Each class's and bin's sums of weight, target and probability."""
        targets, probabilities = classwise_targets(labels, self.probabilities(predictions))
        if self.num_classes is None:
            self.num_classes = probabilities.shape[-1]
            self.build_state((4 if self.debiased else 3, self.num_classes, self._cells))
        if probabilities.shape[-1] != self.num_classes:
            raise ValueError(
                f"Expected predictions over `num_classes`: {self.num_classes}. Received: {probabilities.shape[-1]} "
                "classes (P(y=1) counts as 2)."
            )
        self.checked(K.sum(probabilities, axis=-1), weight)
        weights = classwise_weight(probabilities, weight, self.threshold)
        if self.binning == "uniform":
            index = uniform_bin_index(probabilities, self._cells, self.closed)
        else:
            index = fine_cell_index(probabilities, self._cells)
        sums = classwise_bin_statistics(index, probabilities, targets, weights, self._cells, squares=self.debiased)
        return sums, None if weight is None else weights

    def from_statistics(self, sums: Tensor) -> Tensor:
        """The mean of the classes' calibration errors."""
        return mean(self.error_of_sums(sums))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_bins": self.num_bins,
            "binning": self.binning,
            "norm": self.norm,
            "closed": self.closed,
            "debiased": self.debiased,
            "threshold": self.threshold,
        }
