"""Histogram binning: a probability becomes the share of hits among those like it."""

from typing import Any, Literal

import keras
import numpy as np

from keras_ls.calibrators.per_class_calibrator import PerClassCalibrator
from keras_ls.calibrators.piecewise import at_index, piece_index
from keras_ls.ops._checks import checked_choice, checked_count
from keras_ls.ops._types import Tensor
from keras_ls.ops.binning import bin_statistics, quantile_bin_index, uniform_bin_index

_UNREACHABLE = 2.0  # above every probability


@keras.saving.register_keras_serializable(package="keras_ls")
class HistogramBinning(PerClassCalibrator):
    """Replaces each probability by the mean outcome of its bin: `f(p) = Σ_{i in bin} w_i y_i / Σ_{i in bin} w_i`.

    - `method="one_vs_rest"`: each class k has its bins, of p_k against [y = k], and `p' = f_k(p_k) / Σ_j f_j(p_j)`; a
      row in which all are 0 keeps the probabilities that came.
    - `method="top_label"`: bins of the confidence against whether it was right; the other classes share `1 - f` in
      proportion. No decision changes: where f would put the predicted class behind another, it stays ahead by a factor
      of 1 + 1e-5.
    - binary logits have one set of bins, of P(y=1); both methods are the same.

    A probability in a bin that held no example stays as it is. A bin may say exactly 0, and a class that it rules out
    costs infinitely many nats when it comes: no probability is below `floor`, so that logits are finite.

    Args:
        num_bins: B ≥ 1.
        binning: "uniform" (equal width) or "quantile" (equal mass: as `quantile_bin_index` bins the fitted
            examples, the edges half-way between neighbours; weights that are no whole numbers have no scale there).
        method: "one_vs_rest" or "top_label".
        closed: the side on which a bin includes its edge, "left" or "right".
        floor: the least probability, in (0, 1).
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        bin_starts: lower edges of the bins, NumPy `[K, B]`; `[1, B]` for "top_label" and binary logits.
        bin_probabilities: the mean outcomes, likewise; 0 for empty bins.
        bin_weights: the sums of the weights as given, likewise.
        fit_report: what the last `fit` found, None before: `nll_before` and `nll_after` in nats, `weight` (the sum of
            the weights), `iterations`, `converged`, `advice`.

    Call arguments:
        - `inputs`: logits, `[..., K]`, or `[N]` or `[..., 1]` for binary ones.

    Returns:
        The logarithm of the calibrated probabilities, or their logit for binary ones; float32, of the same shape.
        Before `fit` the probabilities are those that came, but for the floor.

    Raises:
        ValueError: for unknown options, and logits of another number of classes than the first.

    Examples:
        Four examples at P(y=1) = 0.9 with three hits:

        >>> import keras, numpy as np, keras_ls as kls
        >>> logits = np.log([9.0, 9.0, 9.0, 9.0])
        >>> binning = kls.calibrators.HistogramBinning(num_bins=5).fit(logits, [1, 1, 1, 0])
        >>> [round(float(p), 6) for p in keras.ops.sigmoid(binning(np.array([np.log(9.0), 0.0])))]
        [0.75, 0.5]

    Reference:
        Zadrozny and Elkan, "Obtaining Calibrated Probability Estimates from Decision Trees and Naive Bayesian
        Classifiers", 2001; Guo et al., "On Calibration of Modern Neural Networks", 2017. Top-label: Gupta and Ramdas,
        "Top-label Calibration and Multiclass-to-binary Reductions", 2022, who bin each predicted class on its own.
    """

    def __init__(
        self,
        num_bins: int = 15,
        binning: Literal["uniform", "quantile"] = "uniform",
        method: Literal["one_vs_rest", "top_label"] = "one_vs_rest",
        closed: Literal["left", "right"] = "left",
        floor: float = 1e-7,
        from_logits: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(method, floor, from_logits, name, **kwargs)
        self.num_bins = checked_count("num_bins", num_bins)
        self.binning = checked_choice("binning", binning, ["uniform", "quantile"])
        self.closed = checked_choice("closed", closed, ["left", "right"])

    @property
    def bin_starts(self) -> np.ndarray:
        """Lower edges of the bins."""
        return keras.ops.convert_to_numpy(self._starts)

    @property
    def bin_probabilities(self) -> np.ndarray:
        """Mean outcomes of the bins."""
        return keras.ops.convert_to_numpy(self._means)

    @property
    def bin_weights(self) -> np.ndarray:
        """Sums of the weights in the bins."""
        return keras.ops.convert_to_numpy(self._totals)

    def add_rows(self, rows: int) -> tuple[keras.Variable, ...]:
        """Bins of equal width that hold nothing."""
        shape = (rows, self.num_bins)
        self._starts, self._means, self._totals = (
            self.add_weight(shape=shape, initializer=initializer, trainable=False, name=name)
            for name, initializer in (("starts", self._uniform), ("means", "zeros"), ("totals", "zeros"))
        )
        return self._starts, self._means, self._totals

    def fit_row(
        self, log_odds: np.ndarray, outcome: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray | str | None, ...]:
        """Lower edges, mean outcomes and weights of one function's bins."""
        p = keras.ops.convert_to_numpy(keras.ops.sigmoid(log_odds))
        if self.binning == "uniform":
            starts = np.arange(self.num_bins) / self.num_bins
            index = uniform_bin_index(p, self.num_bins, self.closed)
        else:
            index = quantile_bin_index(p, weight, self.num_bins, self.closed)
            starts = self._between(p, keras.ops.convert_to_numpy(index))
        total, hits, _ = keras.ops.convert_to_numpy(bin_statistics(index, p, outcome, weight, self.num_bins))
        means = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        return starts, means, total, None

    def calibrated(self, log_odds: Tensor) -> Tensor:
        """The function f of each."""
        p = keras.ops.sigmoid(log_odds)
        index = piece_index(p, self._starts, self.closed)
        held = at_index(self._totals, index) > 0
        # a NaN compares with nothing and would be in the first bin
        return keras.ops.where(held, at_index(self._means, index) + 0 * p, p)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation; what was fitted is in the weights."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "binning": self.binning,
            "closed": self.closed,
        }

    def _uniform(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.broadcast_to(np.arange(self.num_bins) / self.num_bins, shape), dtype)

    def _between(self, p, index):
        """Starts of bins that hold the examples as `index` says, half-way between those on the two sides."""
        order = np.argsort(p, kind="stable")
        p, first = p[order], np.searchsorted(index[order], np.arange(1, self.num_bins))
        below, above = p[np.maximum(first - 1, 0)], np.append(p, np.float32(_UNREACHABLE))[first]
        middle = (below + above) / 2
        # between neighbours in floating point there is nothing: the edge belongs to the closed side
        if self.closed == "left":
            middle = np.where(middle > below, middle, above)
        else:
            middle = np.where(middle < above, middle, below)
        middle = np.where(first == 0, 0.0, middle)  # no example lies below
        return np.concatenate([[0.0], np.where(first == len(order), _UNREACHABLE, middle)])
