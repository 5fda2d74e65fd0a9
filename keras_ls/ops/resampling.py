"""How sure a score is, and how large it would be by chance: intervals and a test from resampled examples."""

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from keras import ops as K

from keras_ls.ops._checks import (
    check_outcomes,
    check_some_weight,
    checked_choice,
    checked_count,
    checked_fraction,
    checked_function,
)
from keras_ls.ops._inputs import flatten_examples, probability_examples
from keras_ls.ops._types import Tensor
from keras_ls.ops.calibration import calibration_error


class BootstrapInterval(NamedTuple):
    """Result of `bootstrap_interval`.

    Attributes:
        estimate: the statistic of the examples themselves.
        low: lower end of the interval, at most the estimate.
        high: upper end, at least the estimate.
        standard_error: standard deviation of the statistic over the resamples.
    """

    estimate: float
    low: float
    high: float
    standard_error: float


class CalibrationTest(NamedTuple):
    """Result of `calibration_test`.

    Attributes:
        statistic: of the examples themselves.
        p_value: how often calibrated predictions would have a statistic at least as large.
        expected: mean of the statistic under calibration.
        low: lower end of the range that holds the statistic with probability `level` under calibration.
        high: upper end.
    """

    statistic: float
    p_value: float
    expected: float
    low: float
    high: float


MOST_RESAMPLES = 1_000_000


def bootstrap_interval(
    statistic: Callable[..., Tensor],
    labels: Tensor,
    probabilities: Tensor,
    sample_weight: Tensor | None = None,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
    method: Literal["basic", "percentile"] = "basic",
    axis: int = -1,
) -> BootstrapInterval:
    """Bootstrap confidence interval of a score, for examples drawn anew with replacement.

    A resample is a vector of counts: how often each example was drawn. It reaches the statistic as its `sample_weight`,
    so that no predictions are copied. With `q_a` the quantile of the resampled statistics and `t` the statistic itself:

    - `method="basic"`: `[2t - q_(1+level)/2, 2t - q_(1-level)/2]`. A binned calibration error is biased upwards, of the
      examples and, by about as much again, of the resamples; the reflection takes most of that bias out. An end can lie
      outside the range of the statistic.
    - `method="percentile"`: `[q_(1-level)/2, q_(1+level)/2]`. It stays in range; right for means such as accuracy, the
      Brier score and the NLL; for calibration errors too high, so that it may hardly ever cover the true one.

    Where t itself lies outside, as the reflection of a strongly biased statistic leaves it, the interval is extended to
    t, which is then its end. That can only raise the coverage. Of ten bins, 300 to 5,000 examples and a true error of
    0.02 to 0.075, 95 % intervals of the basic method cover it in 80 to 92 % of all samples; a true error of 0 in half
    of them. Whether a calibration error differs from 0 at all is for `calibration_test` to say, not for an interval.

    Whole-number weights are counts: as many examples are drawn as they sum to, in proportion, and memory does not grow
    with them. Other weights stay with their example, which is drawn whole, as likely as any other; their scale says
    nothing, and where they are all equal they are left out.

    For arrays, not inside a traced function. It takes as long as R + 1 statistics. Several times faster are a compiled
    statistic (`tf.function(ops.calibration_error, jit_compile=True)`, `jax.jit`), and hits and confidences as `[N]` in
    place of the top label of many classes.

    Args:
        statistic: `(labels, probabilities, sample_weight=...)` → scalar, of NumPy arrays `[M]` or `[M, K]` with leading
            axes flattened: `ops.calibration_error`, `ops.brier_score`, a `functools.partial` of them, or your own.
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`, or whatever the statistic takes.
        sample_weight: `[N]`, or None.
        level: confidence level, in [0, 1).
        num_resamples: R; more of them make the ends less random.
        seed: of the resamples.
        method: "basic" or "percentile".
        axis: the class axis of `probabilities`, and of dense labels; the statistic gets it last.

    Returns:
        `(estimate, low, high, standard_error)`: floats, in the unit of the statistic.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, or no examples.

    Examples:
        An accuracy of 0.8 of 100 examples has the standard error √(0.8 · 0.2 / 100).

        >>> import numpy as np, keras_ls as kls
        >>> accuracy = lambda labels, p, sample_weight: np.average(labels == p.argmax(1), weights=sample_weight)
        >>> interval = kls.ops.bootstrap_interval(accuracy, [0] * 80 + [1] * 20, [[0.9, 0.1]] * 100)
        >>> interval.estimate, round(interval.standard_error, 2), interval.low < 0.8 < interval.high
        (0.8, 0.04, True)

    Reference:
        Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; Davison and Hinkley, "Bootstrap Methods and
        Their Application", section 5.2, 1997.
    """
    level = checked_fraction("level", level)
    checked_count("num_resamples", num_resamples, maximum=MOST_RESAMPLES)
    checked_count("seed", seed, minimum=0)
    checked_function("statistic", statistic)
    checked_choice("method", method, ["basic", "percentile"])
    labels, probabilities, weight = _arrays(*flatten_examples(labels, probabilities, sample_weight, axis=axis))
    check_some_weight(weight)
    rng = np.random.default_rng(seed)
    if _are_counts(weight):
        _check_drawable(weight.sum())
        draws, chances, carried = round(weight.sum()), weight / weight.sum(), np.ones_like(weight)
    else:
        kept = weight != 0
        draws, chances, carried = kept.sum(), kept / kept.sum(), weight
    estimate = float(statistic(labels, probabilities, sample_weight=weight))
    resampled = np.array(
        [
            float(statistic(labels, probabilities, sample_weight=carried * rng.multinomial(draws, chances)))
            for _ in range(num_resamples)
        ]
    )
    return interval_of_resamples(estimate, resampled, level, method)


def interval_of_resamples(estimate, resampled, level=0.95, method="basic"):
    """The `BootstrapInterval` of a statistic and its NumPy values of the resamples, as `bootstrap_interval` has it."""
    low, high = _range(resampled, level)
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    low, high = float(np.minimum(low, estimate)), float(np.maximum(high, estimate))  # NaN stays
    return BootstrapInterval(estimate, low, high, float(resampled.std()))


def calibration_test(
    labels: Tensor,
    probabilities: Tensor,
    sample_weight: Tensor | None = None,
    statistic: Callable[..., Tensor] = calibration_error,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
    axis: int = -1,
) -> CalibrationTest:
    """Tests whether the predictions are calibrated: is their calibration error larger than chance makes it?

    Were each label drawn from its prediction, the predictions would be calibrated, and even so a binned error would not
    be 0. Labels are drawn so R times, the predictions staying what they are, and the statistic t of the given labels is
    compared with those of the drawn ones:

    `p = (1 + #{r: t_r >= t}) / (1 + R)`.

    Under calibration p is uniform, however few the examples and however biased the statistic. `expected` is the
    statistic's mean under calibration, the floor below which no measured value means much.

    Whole-number weights are counts: each repetition draws a label of its own. The statistic gets a row for each up to
    K of them; of more it gets K rows, one for each class with how often that was drawn for its weight, so that memory
    does not grow with the counts. Other weights belong to one label each, and their scale says nothing.
    For arrays, not inside a traced function; takes as long as R + 1 statistics.

    Args:
        labels: integers or one-hot targets; `[N]` of 0 and 1 for P(y=1).
        probabilities: `[N, K]`, divided by their sum for the draw, or `[N]`; leading axes are flattened.
        sample_weight: `[N]`, or None.
        statistic: `(labels, probabilities, sample_weight=...)` → scalar, of NumPy arrays, larger for less calibrated
            predictions: `ops.calibration_error` (default), a `functools.partial` of it, or your own. It gets integer
            labels.
        level: probability of the range from `low` to `high`, in [0, 1).
        num_resamples: R; no p-value is below 1 / (1 + R).
        seed: of the labels drawn.
        axis: the class axis of `probabilities`, and of dense labels; the statistic gets it last.

    Returns:
        `(statistic, p_value, expected, low, high)`: floats.

    Raises:
        ValueError: for unknown options, shapes or labels that do not fit, targets that are no outcomes, NaN, or no
            examples.

    Examples:
        Twenty predictions of 0.75 with 15 hits: no drawn labels fit better. With 5 hits hardly any fit worse.

        >>> import keras_ls as kls
        >>> kls.ops.calibration_test([1] * 15 + [0] * 5, [0.75] * 20, num_resamples=99).p_value
        1.0
        >>> kls.ops.calibration_test([1] * 5 + [0] * 15, [0.75] * 20, num_resamples=99).p_value
        0.01

    Reference:
        Bröcker and Smith, "Increasing the Reliability of Reliability Diagrams", 2007; Vaicenavicius et al., "Evaluating
        Model Calibration in Classification", 2019. There the predictions are resampled too.
    """
    level = checked_fraction("level", level)
    checked_count("num_resamples", num_resamples, maximum=MOST_RESAMPLES)
    checked_count("seed", seed, minimum=0)
    checked_function("statistic", statistic)
    labels, p, weight = _arrays(*probability_examples(labels, probabilities, sample_weight, axis))
    check_outcomes(labels, weight, binary=p.ndim == 1)
    labels, p, weight = labels[weight != 0], p[weight != 0], weight[weight != 0]
    labels = labels.argmax(axis=1) if labels.ndim == 2 else labels
    rows, y, w, draws = _outcomes(labels, p, weight, np.random.default_rng(seed))
    p = p[rows]
    observed = float(statistic(y, p, sample_weight=w))
    drawn = np.array([float(statistic(y, p, sample_weight=w)) for y, w in itertools.islice(draws, num_resamples)])
    # equal labels may sum in another order: what differs by rounding is equal
    as_large = int(np.sum(~(drawn < observed - 1e-6 * abs(observed))))
    p_value = (1 + as_large) / (1 + num_resamples) if np.isfinite(observed) else float("nan")
    return CalibrationTest(observed, p_value, float(drawn.mean()), *_range(drawn, level))


def _arrays(labels, probabilities, weight):
    """Examples in NumPy; equal weights that are no whole numbers are 1, which they say no more than."""
    labels, probabilities, weight = (K.convert_to_numpy(x) for x in (labels, probabilities, weight))
    weight = weight.astype("float64")
    share = weight / weight.max()
    return labels, probabilities, share if _are_counts(share) and not _are_counts(weight) else weight


def _are_counts(weight):
    return bool((weight == np.floor(weight)).all())


def _check_drawable(count):
    if not count < 2.0**62:
        raise ValueError(
            f"Expected whole-number weights, which are counts, that sum to less than 2**62. Received: {count:.6g}. "
            "Divide weights that are no counts by their sum."
        )


def _outcomes(labels, p, weight, rng):
    """`(rows, labels, weight, draws)`: which example each row is, what was observed, and endless `(labels, weight)`.

    An example that counts more often than there are classes has a row for each class, with how often it came.
    """
    p = np.clip(p.astype("float64"), 0, 1)
    p = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p / p.sum(axis=1, keepdims=True)
    classes = p.shape[1]
    counts = _are_counts(weight)
    many = weight > classes if counts else np.zeros(len(weight), bool)
    rows = np.repeat(np.arange(len(p)), np.minimum(weight, classes).astype("int64") if counts else 1)
    grouped = many[rows]
    # from the last class on: it needs no comparison, whatever is not in another is there
    upper = np.cumsum(p[rows[~grouped]], axis=1)
    times = weight[many]
    _check_drawable(times.max(initial=0))
    kinds = np.tile(np.arange(classes), len(times))

    y, w = labels[rows], np.ones(len(rows)) if counts else weight
    w[grouped] = np.where(y[grouped] == kinds, np.repeat(times, classes), 0)
    y[grouped] = kinds

    def draws():
        while True:
            y_drawn, w_drawn = np.empty(len(rows), "int32"), w.copy()
            chance = rng.random((len(upper), 1))
            y_drawn[~grouped] = (chance >= upper[:, :-1]).sum(axis=1, dtype="int32")
            if len(times):
                y_drawn[grouped] = kinds
                w_drawn[grouped] = rng.multinomial(times.astype("int64"), p[many]).ravel()
            yield y_drawn, w_drawn

    return rows, y, w, draws()


def _range(values, level):
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
