"""Every score of one set of predictions, by name: what studies, callbacks and the command line report."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops as K

from keras_ls.metrics import (
    BrierScore,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    RiskCoverageArea,
    SmoothCalibrationError,
)
from keras_ls.metrics.streaming import StreamingMean
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_choice, checked_flag
from keras_ls.ops._inputs import flatten_batch
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._predictions import confidence_and_accuracy, to_probabilities
from keras_ls.ops._tensors import ragged_steps
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import get_keras_mask

SCORES = ("accuracy", "nll", "brier", "ece", "adaptive_ece", "classwise_ece", "smooth_ece", "aurc")
_BLOCK = 1 << 20  # predictions that are scored at once


def evaluate(
    labels: Tensor,
    predictions: Tensor,
    from_logits: bool = True,
    sample_weight: Tensor | None = None,
    num_bins: int = 15,
    ignore_class: int | None = None,
    axis: int = -1,
    scores: Iterable[str] = SCORES,
) -> dict[str, float]:
    """Scores of one set of predictions, each as the metric of that name gives it.

    | name | score | metric |
    |---|---|---|
    | `accuracy` | share of examples whose most probable class is the label; of P(y=1), `p > 0.5` | Keras's |
    | `nll` | negative log-likelihood, in nats | `NegativeLogLikelihood` |
    | `brier` | Brier score | `BrierScore` |
    | `ece` | expected calibration error, bins of equal width | `ExpectedCalibrationError` |
    | `adaptive_ece` | the same, bins of equal mass | `ExpectedCalibrationError(binning="quantile")` |
    | `classwise_ece` | mean over the classes of the error of each one's probability | `ClasswiseCalibrationError` |
    | `smooth_ece` | calibration error without bins | `SmoothCalibrationError` |
    | `aurc` | area under the risk-coverage curve | `RiskCoverageArea` |

    Only accuracy, `nll` and `brier` tell how good a prediction is; a calibration error of 0 is what the base rate has,
    too. Predictions are read in blocks of rows: beside them little memory is needed, and they may be a
    `numpy.memmap`.

    Args:
        labels: integers `[N]` or dense targets `[N, K]`; `[N]` in [0, 1] for P(y=1).
        predictions: logits `[N, K]` (or `[N, ..., K]`, or K along `axis`), `[N]` or `[N, 1]` for P(y=1); probabilities
            with `from_logits=False`.
        from_logits: whether predictions are logits.
        sample_weight: one weight an example, or None. Whole numbers count as that many examples.
        num_bins: bins of `ece`, `adaptive_ece` and `classwise_ece`.
        ignore_class: integer label of examples that do not count, or None.
        axis: the class axis of predictions, and of dense labels.
        scores: names of the scores wanted, in the order of the result; all by default.

    Returns:
        A dictionary from names to floats.

    Raises:
        ValueError: for unknown options, shapes, labels, weights or probabilities that do not fit, NaN predictions, and
            where no example has weight.

    Warns:
        UserWarning: where what is taken for logits are probabilities.

    Examples:
        Three of four right, with confidences 0.9, 0.9, 0.8 (the wrong one) and 0.6:

        >>> import keras_ls as kls
        >>> p = [[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]
        >>> found = kls.evaluate([0, 0, 1, 1], p, from_logits=False)
        >>> {name: round(found[name], 4) for name in ("accuracy", "nll", "ece", "aurc")}
        {'accuracy': 0.75, 'nll': 0.5827, 'ece': 0.35, 'aurc': 0.1458}

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, for the table of scores; each metric has its own.
    """
    evaluator = Evaluator(from_logits, num_bins, ignore_class, axis, scores)
    labels, predictions, sample_weight = ragged_steps(labels, predictions, sample_weight)
    parts = labels, predictions, sample_weight, get_keras_mask(predictions)
    arrays = [np.asarray(x) if isinstance(x, (list, tuple)) else x for x in parts]
    size = (np.shape(arrays[1]) or (1,))[:1]
    blocks = blocks_of_rows(arrays[1]) or [slice(None)]
    for rows in blocks:
        evaluator.update(*(x[rows] if len(blocks) > 1 and np.shape(x)[:1] == size else x for x in arrays))
    return evaluator.result()


def blocks_of_rows(predictions: Tensor) -> list[slice]:
    """Slices of the first axis that hold at most about 2²⁰ numbers each.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.evaluation import blocks_of_rows
        >>> list(blocks_of_rows(np.zeros((1500, 1000))))
        [slice(0, 1048, None), slice(1048, 2096, None)]
    """
    shape = np.shape(predictions) or (1,)
    rows = max(1, _BLOCK // max(1, int(np.prod(shape[1:]))))
    return [slice(start, start + rows) for start in range(0, shape[0], rows)]


class Evaluator:
    """`evaluate`, batch by batch: its memory depends on the classes and bins, not on the examples.

    Args:
        from_logits: as of `evaluate`, as are the others.
        num_bins: B.
        ignore_class: an integer label, or None.
        axis: the class axis.
        scores: names of the scores wanted.

    Examples:
        >>> from keras_ls.evaluation import Evaluator
        >>> evaluator = Evaluator(scores=("accuracy", "brier"))
        >>> evaluator.update([0, 1], [[9.0, 0.0], [9.0, 0.0]])
        >>> evaluator.update([1], [[0.0, 0.0]])
        >>> {name: round(value, 4) for name, value in evaluator.result().items()}
        {'accuracy': 0.3333, 'brier': 0.8332}
    """

    def __init__(
        self,
        from_logits: bool = True,
        num_bins: int = 15,
        ignore_class: int | None = None,
        axis: int = -1,
        scores: Iterable[str] = SCORES,
    ):
        self.from_logits = checked_flag("from_logits", from_logits)
        self.logits_check = LogitsCheck("evaluate")
        self.logits_check.done = not from_logits
        makers = {
            "accuracy": lambda: _Accuracy(from_logits=False),
            "nll": lambda: NegativeLogLikelihood(from_logits=from_logits),
            "brier": lambda: BrierScore(from_logits=False),
            "ece": lambda: ExpectedCalibrationError(num_bins, from_logits=False),
            "adaptive_ece": lambda: ExpectedCalibrationError(num_bins, "quantile", from_logits=False),
            "classwise_ece": lambda: ClasswiseCalibrationError(num_bins=num_bins, from_logits=False),
            "smooth_ece": lambda: SmoothCalibrationError(from_logits=False),
            "aurc": lambda: RiskCoverageArea(from_logits=False),
        }
        if not isinstance(scores, (tuple, list)) or not scores:
            raise ValueError(
                f"Expected `scores` as a list of at least one of {', '.join(SCORES)}. Received: {scores!r}."
            )
        self._metrics = {name: makers[checked_choice("scores", name, SCORES)]() for name in scores}
        # `ignore_class` and `axis` of a metric are checked there; here they are used once for all
        checked = BrierScore(ignore_class=ignore_class, axis=axis)
        self._ignore_class, self._axis = checked.ignore_class, checked.axis
        self._weight = 0.0

    def update(
        self, labels: Tensor, predictions: Tensor, sample_weight: Tensor | None = None, mask: Tensor | None = None
    ) -> None:
        """Adds a batch, of arrays as `evaluate` takes them."""
        if not self.logits_check.done:
            self.logits_check.see(predictions, self._axis)
        labels, predictions, weight = flatten_batch(
            labels, predictions, sample_weight, mask, self._ignore_class, self._axis, self.from_logits
        )
        self._weight += len(predictions) if weight is None else float(K.sum(weight))
        p = to_probabilities(predictions, self.from_logits)
        confidence, hits = confidence_and_accuracy(labels, p)
        for name, metric in self._metrics.items():
            if name in ("ece", "adaptive_ece", "smooth_ece"):
                metric.add_examples(hits, confidence, weight)  # the same as of all classes, and quicker
            else:
                metric.add_examples(labels, predictions if name == "nll" else p, weight)

    def result(self) -> dict[str, float]:
        """The scores so far: a dictionary from names to floats.

        Raises:
            ValueError: where no example has weight.
        """
        if not self._weight > 0:
            raise ValueError("Expected at least one example with a weight above 0. Received: none.")
        return {name: float(metric.result()) for name, metric in self._metrics.items()}


@keras.saving.register_keras_serializable(package="keras_ls")
class _Accuracy(StreamingMean):
    """Keras's accuracy: a dense label stands for its largest class, P(y=1) for class 1 above 0.5."""

    def values(self, labels, predictions):
        if len(predictions.shape) == 1:
            hits = K.equal(predictions > 0.5, at_least_float32(labels) > 0.5)
        else:
            truth = K.argmax(labels, axis=-1) if len(labels.shape) == 2 else labels
            hits = K.equal(K.cast(truth, "int32"), K.cast(K.argmax(predictions, axis=-1), "int32"))
        return at_least_float32(K.cast(hits, "float32"))
