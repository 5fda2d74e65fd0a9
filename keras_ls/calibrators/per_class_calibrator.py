"""The base of the non-parametric calibrators: a function of one probability, fitted for one class after another."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops as K

from keras_ls.calibrators.calibrator import Calibrator, FitReport
from keras_ls.calibrators.example_blocks import checked_examples
from keras_ls.calibrators.log_odds import (
    leading_class,
    log_odds,
    log_odds_of_class,
    logit_of_probability,
    logits_of_class_scores,
    logits_of_confidence,
)
from keras_ls.metrics.negative_log_likelihood import NegativeLogLikelihood
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_choice, checked_fraction, checked_positive
from keras_ls.ops._types import Tensor

_BLOCK = 1 << 20  # logits


class PerClassCalibrator(Calibrator):
    """Replaces probabilities by a function of each, one function a class or one for the predicted class.

    Subclasses give `add_rows(rows)`, which makes and returns the variables whose rows are those functions,
    `fit_row(log_odds, outcome, weight)`, which returns one row of each and a remark or None, and
    `calibrated(log_odds)`, the probabilities.

    Args:
        method: "one_vs_rest" or "top_label".
        floor: the least probability that the calibrated logits give a class.
        from_logits: whether a call and `fit` are given logits or probabilities.
        name: name of the layer.
    """

    def __init__(
        self,
        method: Literal["one_vs_rest", "top_label"] = "one_vs_rest",
        floor: float = 1e-7,
        from_logits: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(from_logits, name, **kwargs)
        self.method = checked_choice("method", method, ["one_vs_rest", "top_label"])
        self.floor = checked_fraction("floor", checked_positive("floor", floor))
        self.num_classes = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the variables for logits of this shape."""
        self.num_classes = self.classes_of(input_shape)
        self._row_variables = self.add_rows(self.num_classes if self.method == "one_vs_rest" else 1)

    def fit_examples(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray) -> None:
        """Fits one row after another; see `fit`."""
        self.fit_weighted(labels, logits, weight, {})

    def fit_weighted(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray, shared: dict[str, Any]) -> None:
        """`fit_examples`; what is computed of each example before any fit is shared."""
        kept = checked_examples(labels, logits, weight)
        if not self.built:
            self.build(self.shape_of(logits))
        self._check_classes(logits.shape)
        fitted, remarks, unseen = [], [], []
        for row, odds, outcome in self._rows(labels, logits, shared):
            outcome = np.asarray(outcome[kept], "float64")
            *values, remark = self.fit_row(odds[kept], outcome, weight[kept])
            fitted.append(values)
            remarks += [remark] if remark else []
            unseen += [row] if outcome.max() == 0 or outcome.min() == 1 else []
        for variable, rows in zip(self._row_variables, zip(*fitted)):
            variable.assign(np.stack(rows).astype("float32"))
        if unseen:
            remarks.insert(0, self._advice(unseen))
        if "nll" not in shared:
            shared["nll"] = _nll(labels, logits)
        self.fit_report = FitReport(
            converged=True,
            nll_before=_mean(shared["nll"], weight),
            nll_after=_mean(_nll(labels, logits, self, kept), weight),
            iterations=1,
            weight=float(np.sum(weight, dtype="float64")),
            advice=" ".join(dict.fromkeys(remarks)) or None,
        )

    def calibrated_logits(self, logits: Tensor) -> Tensor:
        """Logits whose softmax (or sigmoid) is calibrated."""
        self._check_classes(logits.shape)
        logits = at_least_float32(logits)
        if self.num_classes == 1:
            z = K.expand_dims(logits, -1) if len(logits.shape) == 1 else logits
            return K.reshape(logit_of_probability(self.calibrated(z), self.floor), K.shape(logits))
        if self.method == "one_vs_rest":
            return logits_of_class_scores(logits, self.calibrated(log_odds(logits)), self.floor)
        largest, _, rest = leading = leading_class(logits)
        odds = log_odds_of_class(largest, True, largest, rest)
        return logits_of_confidence(logits, self.calibrated(K.expand_dims(odds, -1)), self.floor, leading)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation; what was fitted is in the weights."""
        return {**super().get_config(), "method": self.method, "floor": self.floor}

    def _rows(self, labels, logits, shared):
        """Yields `(row, log-odds [M], outcome [M])`: NumPy, of one class at a time, in float32 as `call` has them."""
        if logits.ndim == 1:
            yield 0, np.asarray(logits, "float32"), labels
            return
        if "leading" not in shared:
            blocks = [leading_class(block.astype("float32")) for block in _blocks(logits)]
            shared["leading"] = [np.concatenate([keras.ops.convert_to_numpy(x) for x in part]) for part in zip(*blocks)]
        largest, top, rest = shared["leading"]
        if self.method == "top_label":
            odds = log_odds_of_class(largest, True, largest, rest)
            outcome = labels == top if labels.ndim == 1 else labels[np.arange(len(labels)), top]
            yield 0, keras.ops.convert_to_numpy(odds), outcome
            return
        for k in range(logits.shape[1]):
            odds = log_odds_of_class(logits[:, k].astype("float32"), top == k, largest, rest)
            yield k, keras.ops.convert_to_numpy(odds), labels[:, k] if labels.ndim == 2 else labels == k

    def _check_classes(self, shape):
        if _classes(shape) != self.num_classes:
            raise ValueError(
                f"Expected logits of {self.num_classes} classes, for which the calibrator was built. "
                f"Received: logits of shape {tuple(shape)}. Make a new {type(self).__name__} for another number."
            )

    def _advice(self, unseen):
        if self.method == "one_vs_rest" and self.num_classes > 1:
            return (
                f"All examples that count, or none, are of class {', '.join(map(str, unseen[:10]))}"
                f"{' and others' if len(unseen) > 10 else ''}: its probability becomes 1 or {self.floor:g} whatever "
                "the logits say. Fit on examples of every class."
            )
        return (
            "Every example that counts has the same outcome, so that the calibrated probability is 0 or 1 whatever the "
            "logits say. Fit on more or harder held-out data; training data will not do."
        )


def _classes(shape):
    """K, or 1 for binary logits: `[N]` or `[..., 1]`."""
    return 1 if len(shape) < 2 else shape[-1]


def _blocks(array, width=None):
    """Views of at most about `_BLOCK` numbers, where a row has `width`, or what it holds."""
    size = max(1, _BLOCK // (width or array[0].size))
    return [array[i : i + size] for i in range(0, len(array), size)]


def _nll(labels, logits, calibrator=None, kept=None):
    """NLL of each example, NumPy `[N]`; 0 for those that are not kept."""
    found, metric = np.zeros(len(logits), "float32"), NegativeLogLikelihood()
    for rows in _blocks(np.arange(len(logits)), logits[0].size):
        rows = slice(rows[0], rows[-1] + 1) if kept is None or kept[rows].all() else rows[kept[rows]]
        z = logits[rows] if calibrator is None else calibrator.calibrated_logits(logits[rows].astype("float32"))
        found[rows] = keras.ops.convert_to_numpy(
            metric.values(K.convert_to_tensor(labels[rows]), K.convert_to_tensor(z))
        )
    return found


def _mean(values, weight):
    """The mean of those that count."""
    return float(np.average(values[weight != 0], weights=weight[weight != 0].astype("float64")))
