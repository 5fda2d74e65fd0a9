"""Isotonic calibration: the best probabilities that keep the order of the given ones."""

from typing import Any, Literal

import keras
import numpy as np

from keras_ls.calibrators.per_class_calibrator import PerClassCalibrator
from keras_ls.calibrators.piecewise import interpolate_probability
from keras_ls.ops._checks import checked_count
from keras_ls.ops._types import Tensor

_FARTHEST = 1e30  # log-odds beyond any probability


@keras.saving.register_keras_serializable(package="keras_ls")
class IsotonicCalibration(PerClassCalibrator):
    """Isotonic regression of outcomes on probabilities: a non-decreasing function of no other form.

    `f = argmin Σ_i w_i (f(p_i) - y_i)²` over the non-decreasing functions; linear in p between the
    fitted examples and constant beyond them. The scale of the weights says nothing.

    - `method="one_vs_rest"`: each class k has its f_k, of p_k against [y = k], and `p' = f_k(p_k) / Σ_j f_j(p_j)`; a
      row in which all are 0 keeps the probabilities that came.
    - `method="top_label"`: f is of the confidence against whether it was right; the other classes share `1 - f` in
      proportion. No decision changes: where f would put the predicted class behind another, it stays ahead by a factor
      of 1 + 1e-5.
    - binary logits have one f, of P(y=1); both methods are the same.

    f may be exactly 0, and a class that it rules out costs infinitely many nats when it comes: no probability is below
    `floor`, so that logits are finite and an example costs at most `-log floor` (and what the other floors add to the
    sum). With few examples a larger floor, such as 1/N, has a lower NLL on new data.

    Args:
        method: "one_vs_rest" or "top_label".
        num_knots: the number of knots, at least 4, that hold each f; the variables are `[K, num_knots]`. Up to
            num_knots / 2 steps are kept exactly; a function of more is thinned and differs by at most
            `2 / (num_knots - 3)`, in general by less: the advice of the report says by how much, from 0.01 on.
        floor: the least probability, in (0, 1).
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        knots: log-odds where the functions bend, NumPy `[K, num_knots]`, ascending, the last repeated; `[1, num_knots]`
            for "top_label" and binary logits.
        values: the functions at the knots, likewise.
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
        Of the logits -1, 0, 1 the first two have the outcomes 1 and 0, out of order: both become 1/2.

        >>> import keras, numpy as np, keras_ls as kls
        >>> logits = np.array([-1.0, 0.0, 1.0, 2.0])
        >>> isotonic = kls.calibrators.IsotonicCalibration(floor=0.01).fit(logits, [1, 0, 1, 1])
        >>> [round(float(p), 2) for p in keras.ops.sigmoid(isotonic(logits))]
        [0.5, 0.5, 0.99, 0.99]

    Reference:
        Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", 2002.
    """

    def __init__(
        self,
        method: Literal["one_vs_rest", "top_label"] = "one_vs_rest",
        num_knots: int = 256,
        floor: float = 1e-7,
        from_logits: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(method, floor, from_logits, name, **kwargs)
        self.num_knots = checked_count("num_knots", num_knots, minimum=4)

    @property
    def knots(self) -> np.ndarray:
        """Log-odds where the functions bend."""
        return keras.ops.convert_to_numpy(self._knots)

    @property
    def values(self) -> np.ndarray:
        """The functions at the knots."""
        return keras.ops.convert_to_numpy(self._values)

    def add_rows(self, rows: int) -> tuple[keras.Variable, ...]:
        """Knots and values of the identity."""
        self._knots, self._values = (
            self.add_weight(
                shape=(rows, self.num_knots), initializer=_first_then(first, rest), trainable=False, name=name
            )
            for name, first, rest in (("knots", -_FARTHEST, _FARTHEST), ("values", 0.0, 1.0))
        )
        return self._knots, self._values

    def fit_row(
        self, log_odds: np.ndarray, outcome: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray | str | None, ...]:
        """Knots and values of one function."""
        from scipy.optimize import isotonic_regression

        order = np.argsort(log_odds)
        knots = log_odds[order]
        first = np.flatnonzero(np.append(True, knots[1:] != knots[:-1]))  # of equal ones
        total = np.add.reduceat(weight[order].astype("float64"), first)
        mean = np.add.reduceat((weight * outcome.astype("float64"))[order], first) / total
        knots, values = knots[first], np.clip(isotonic_regression(mean, weights=total).x, 0, 1)
        # within a constant piece only the ends say something
        bends = np.append(values[1:] != values[:-1], True) | np.append(True, values[1:] != values[:-1])
        knots, values = knots[bends], values[bends]
        remark = None
        if len(knots) > self.num_knots:
            kept, most = _thinned(values, self.num_knots)
            remark = (
                None
                if most < 0.01
                # less than what so many examples can tell
                else (
                    f"A function of {len(knots)} knots was thinned to {len(kept)} and differs by at most {most:.1g}: "
                    "more `num_knots` keep it whole."
                )
            )
            knots, values = knots[kept], values[kept]
        padding = (0, self.num_knots - len(knots))
        return np.pad(knots, padding, "edge"), np.pad(values, padding, "edge"), remark

    def calibrated(self, log_odds: Tensor) -> Tensor:
        """The function f of each."""
        return interpolate_probability(log_odds, self._knots, self._values)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation; what was fitted is in the weights."""
        return {**super().get_config(), "num_knots": self.num_knots}


def _first_then(first, rest):
    """An initialiser of rows that start with `first`."""

    def initialise(shape, dtype=None):
        row = np.full(shape, rest, "float32")
        row[:, 0] = first
        return keras.ops.convert_to_tensor(row, dtype=dtype)

    return initialise


def _thinned(values, size):
    """At most `size` knots of an ascending function, and the rise between neighbours that bounds the difference.

    From a knot to the farthest one within a rise of δ both functions stay between the two values; where the next knot
    is farther than that, the straight piece is kept. Two such steps rise by more than δ: `2 / (size - 3)` always fits.
    """
    low, high = 0.0, 2.0 / (size - 3)
    kept = _within(values, high, size)
    for _ in range(20):
        middle = 0.5 * (low + high)
        fewer = _within(values, middle, size)
        low, high, kept = (low, middle, fewer) if fewer else (middle, high, kept)
    return kept, high


def _within(values, rise, size):
    """Knots no farther apart than `rise` wherever one is left out between; None for more than `size`."""
    kept = [0]
    while kept[-1] < len(values) - 1:
        farthest = int(np.searchsorted(values, values[kept[-1]] + rise, side="right")) - 1
        kept.append(max(kept[-1] + 1, farthest))
        if len(kept) > size:
            return None
    return kept
