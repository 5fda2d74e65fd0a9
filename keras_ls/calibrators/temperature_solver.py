"""The temperature of least negative log-likelihood: safeguarded Newton on the gradient, in float64."""

import collections
import dataclasses
import functools
import math

import numpy as np

from keras_ls.calibrators.calibrator import FitReport
from keras_ls.calibrators.example_blocks import ExampleBlocks, label_values
from keras_ls.ops._logits import logits_of_array

_MAX_PASSES = 60
_RULED_OUT = 1e100  # a logit so far below the largest has no probability at any temperature
_FARTHEST_LABEL = 1e90
_FAR_BELOW = 14.0 * 2 ** np.arange(5)
_MANY, _STRIDE = 4096, 16  # of so many examples every 16th tells about where the temperature is

Point = collections.namedtuple("Point", "u nll gradient curvature")  # at b = exp(u); derivatives by b


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemperatureReport(FitReport):
    """What the fit of a temperature found: a `FitReport` whose `iterations` are passes over the data, with more.

    Attributes:
        temperature: T.
        at_bound: "lower" or "upper" where T stopped at a bound, else None.
        standard_error: of T, from the curvature (observed information); NaN at a bound. Whole-number weights are counts
            of examples; others are as many as Kish's effective sample size, `(Σ w)² / Σ w²`, whatever their scale.
    """

    temperature: float
    at_bound: str | None
    standard_error: float


def solve_temperature(logits, labels, weight, bounds, from_logits=True, start=None):
    """Minimises `Σ_i w_i [logsumexp(b z_i) - b z_i,y_i] / Σ_i w_i` over `b = 1/T`.

    The objective is convex in b and its gradient is monotone in `log b`, where Newton steps are taken; a step that
    leaves the bracket is replaced by the bound, or by bisection.

    Args:
        logits: `[N, K]`, or `[N]` for binary logits, NumPy.
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits.
        weight: `[N]`.
        bounds: (lower, upper) temperature.
        from_logits: whether they are logits, or probabilities, whose logarithms are taken block by block.
        start: a temperature to begin with, or None.

    Returns:
        A `TemperatureReport`.

    Raises:
        ValueError: for NaN or +inf logits, dense labels that are no distributions, labels that a logit of -inf rules
            out, infinite weights, and when no example has weight.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.calibrators.temperature_solver import solve_temperature
        >>> report = solve_temperature(np.log([[0.2, 0.8], [0.3, 0.7]]), np.array([1, 0]), np.ones(2), (0.01, 100.0))
        >>> round(1 / report.temperature, 8)
        0.41777049
    """
    transform = shifted
    if not from_logits:
        if logits.ndim == 1:
            logits = logits_of_array(logits, weight, False)
        else:
            transform = _shifted_of_probabilities
    if start is None and len(logits) >= _MANY:
        try:  # to start near the end; what is wrong with the data is for the pass over all of them to say
            every = slice(None, None, _STRIDE)
            rough = solve_blocks(ExampleBlocks(labels[every], logits[every], weight[every], transform), bounds)
            start = rough.temperature if rough.converged else None
        except ValueError:
            pass
    return solve_blocks(ExampleBlocks(labels, logits, weight, transform), bounds, start=start)


def solve_blocks(blocks, bounds, start=None):
    """`solve_temperature` of blocks of `shifted` logits; `start` is a temperature to begin with."""
    objective = _Objective(blocks)
    lowest, highest = -math.log(bounds[1]), -math.log(bounds[0])
    first = min(max(-math.log(start or 1.0), lowest), highest)
    tried = objective.points([first], at_one=True)
    nll_before = objective.nll_before
    passes = 1
    while True:
        point, at_bound = _best(tried, objective.separable, lowest, highest)
        converged = at_bound is None and not objective.separable and objective.is_least(point, tried)
        if converged or at_bound or passes == _MAX_PASSES:
            break
        bisect = passes > _MAX_PASSES // 4 and passes % 2 == 0  # Newton's steps are slow here
        tried += objective.points([highest if objective.separable else _next(point, tried, lowest, highest, bisect)])
        passes += 1
    if not converged and not at_bound:
        if nll_before < min(p.nll for p in tried) and lowest <= 0 <= highest:
            tried += objective.points([0.0])
        point = min(tried, key=lambda p: p.nll)
    slope, nll = math.exp(point.u), point.nll
    step = point.gradient / point.curvature if converged and point.curvature > 0 else 0.0
    if abs(step) < 1e-3 * slope:  # the last Newton step, so short that its gain is known without a pass
        slope -= step
        nll -= 0.5 * point.gradient * step
    temperature = {"lower": bounds[0], "upper": bounds[1]}.get(at_bound, min(max(1 / slope, bounds[0]), bounds[1]))
    information = objective.size * point.curvature
    return TemperatureReport(
        temperature=temperature,
        converged=converged,
        at_bound=at_bound,
        standard_error=temperature**2 / math.sqrt(information) if information > 0 and not at_bound else math.nan,
        nll_before=nll_before,
        nll_after=nll,
        iterations=passes,
        weight=objective.weight,
        advice=_advice(objective, at_bound, point, temperature, converged),
    )


def shifted(logits):
    """Logits less the largest of their row; -inf becomes a number, since 0 · inf is none."""
    with np.errstate(over="ignore"):
        logits = np.subtract(logits, logits.max(axis=1, keepdims=True), out=logits)
    return np.maximum(logits, -_RULED_OUT, out=logits)


def _shifted_of_probabilities(p):
    return shifted(np.asarray(logits_of_array(p, None, False), "float64"))


def _best(tried, separable, lowest, highest):
    """The best point, and the bound that it lies at or None: the gradient ascends, so that its sign there is enough."""
    first, last = min(tried), max(tried)
    # where every example is classified right the gradient is negative for ever, though it fades
    if last.u == highest and (last.gradient < 0 or separable):
        return last, "lower"
    if first.u == lowest and first.gradient > 0:
        return first, "upper"
    # near the optimum the NLL is equal in every digit, and on saturated logits the gradient
    return min(tried, key=lambda p: (abs(p.gradient), p.nll)), None


def _bracket(tried):
    """The last point below the optimum and the first above it, or None."""
    low = max((p for p in tried if p.gradient < 0), default=None)
    high = min((p for p in tried if p.gradient >= 0), default=None)
    return low, high


def _next(point, tried, lowest, highest, bisect):
    low, high = _bracket(tried)
    slope = math.exp(point.u) * point.curvature
    newton = point.u + (-point.gradient / slope if slope > 0 else math.copysign(math.inf, -point.gradient))
    if low is None or high is None:
        return min(max(newton, lowest), highest)
    if high.u - low.u < 0.5:
        newton = _inverse_hermite(low, high)
    return newton if low.u < newton < high.u and not bisect else 0.5 * (low.u + high.u)


def _inverse_hermite(low, high):
    """Where the gradient is zero, of u as a cubic function of it that has both ends' values and slopes."""
    width = high.gradient - low.gradient
    t = -low.gradient / width
    slopes = [width / max(math.exp(p.u) * p.curvature, 1e-300) for p in (low, high)]
    rise = high.u - low.u
    return low.u + rise * t * t * (3 - 2 * t) + t * (1 - t) * (slopes[0] * (1 - t) - slopes[1] * t)


def _advice(objective, at_bound, point, temperature, converged):
    # at temperatures so high that no softmax is saturated, whatever the scale of the logits
    informative = at_bound == "upper" and any(p.gradient < 0 for p in objective.points(point.u - _FAR_BELOW))
    if informative or (at_bound == "lower" and not objective.separable):
        return (
            f"The temperature stopped at its {at_bound} bound {temperature:g}: the best one lies beyond. The logits "
            f"{'say next to nothing of the labels, or ' if at_bound == 'upper' else ''}are on an unusual scale: check "
            "them, or widen `bounds`."
        )
    if at_bound == "lower":
        return (
            f"The temperature stopped at its lower bound {temperature:g}: every example that counts is classified "
            "right, so that the likelihood grows for ever as T falls. Fit on more or harder held-out data; training "
            "data will not do."
        )
    if at_bound == "upper":
        return (
            f"The temperature stopped at its upper bound {temperature:g}: the logits are anti-informative, a uniform "
            "guess has a higher likelihood at every temperature. Check that labels and predictions belong together."
        )
    if point.curvature == 0 and point.gradient == 0:
        return f"The logits of every example are all equal: no temperature changes anything, and T is {temperature:g}."
    if not converged and at_bound is None:
        return f"The temperature did not settle in {_MAX_PASSES} passes; {temperature:g} is the best of those tried."
    return None


class _Objective:
    """Mean NLL as a function of `u = log b`, and what a pass shows of the examples."""

    weight = size = scale = separable = nll_before = None

    def __init__(self, blocks):
        self._blocks = blocks

    def points(self, us, at_one=False):
        """A `Point` for each u, from one pass; `at_one` sets `nll_before` too, for half of a point's cost."""
        sums = self._blocks.sum(functools.partial(_sums, slopes=np.exp(us), at_one=at_one)).tolist()
        weight, lead, wrong, different, nll_before, broken, squares, *moments = sums
        self.nll_before = nll_before / weight if at_one else self.nll_before
        if self.weight is not None and not np.allclose([weight, lead], [self.weight, self._lead], rtol=1e-4):
            raise ValueError(
                "Expected a dataset that gives the same examples at every reading. Received: a weight of "
                f"{self.weight:g}, then {weight:g}, and other logits. Is it random? Keep one draw with `cache()`."
            )
        if not np.isfinite(sums).all() or squares == 0:
            raise ValueError(
                "Expected `sample_weight` and logits whose sums are finite. Received: numbers beyond float64. Divide "
                "them by a constant."
            )
        self.weight, self._lead = weight, lead
        self.size = weight / squares * weight if broken else weight
        self.scale = lead / weight  # the unit of the gradient: the largest logit over the label's, on average
        self.separable = wrong == 0 and different > 0
        means = np.reshape(moments, (-1, 3)) / weight
        return [Point(float(u), *values) for u, values in zip(us, means.tolist())]

    def is_least(self, point, tried):
        """Whether a Newton step would still gain next to nothing, half of gradient² / curvature; or no step is left.

        A curvature that some examples on a much larger scale give says nothing of the others: the gradient must be
        small in its own unit too.
        """
        gradient, curvature = abs(point.gradient), point.curvature
        if gradient <= 1e-12 * self.scale:
            return True
        low, high = _bracket(tried)
        if low and high and high.u - low.u < 1e-13 * max(1.0, abs(low.u)):
            return True
        return gradient <= 1e-3 * self.scale and curvature > 0 and gradient**2 <= 1e-13 * curvature


def _sums(z, labels, weight, slopes, at_one):
    """Weight, lead, examples that are wrong, logits that differ, NLL at b = 1 if wanted, weights that are no whole
    number, squared weights; then moments at each slope b.

    These are the NLL and its two derivatives.
    """
    z_y = label_values(z, labels)
    if z_y.min() <= -_FARTHEST_LABEL:
        raise ValueError(
            f"Expected the logit of each label within {_FARTHEST_LABEL:g} of the largest. "
            f"Received: {-z_y.min():.1g} below it. Divide the logits by a constant."
        )
    ones = np.ones(z.shape[1])  # a matrix product sums short rows many times faster than `sum`
    nll_before = weight @ (np.log(np.exp(z) @ ones) - z_y) if at_one else 0.0
    sums = [weight.sum(), -(weight @ z_y), np.count_nonzero(z_y), z.any(), nll_before]
    sums += [np.count_nonzero(weight % 1), weight @ weight]
    for b in slopes:
        e = b * z
        np.exp(e, out=e)
        total = e @ ones
        e *= z
        mean = (e @ ones) / total
        square = np.einsum("ij,ij->i", e, z) / total
        sums += [weight @ (np.log(total) - b * z_y), weight @ (mean - z_y), weight @ (square - mean * mean)]
    return np.array(sums, "float64")
