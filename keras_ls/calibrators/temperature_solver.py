"""The temperature of least negative log-likelihood: safeguarded Newton on the gradient, in float64."""

import dataclasses
import math

import numpy as np

_CHUNK = 1 << 17  # logits a block: the block and its exponentials stay in cache
_MAX_PASSES = 60


@dataclasses.dataclass(frozen=True)
class FitReport:
    """What a fit found; `report["nll_after"]` reads like `report.nll_after`.

    Attributes:
        temperature: T.
        converged: whether the gradient vanished within the bounds.
        at_bound: "lower" or "upper" where T stopped at a bound, else None.
        standard_error: of T, from the curvature (observed information); NaN at a bound.
        nll_before: mean negative log-likelihood at T = 1, nats.
        nll_after: the same at T.
        iterations: passes over the data.
        weight: the sum of the weights.
        advice: what a bound or flat logits say of the data, else None.
    """

    temperature: float
    converged: bool
    at_bound: str | None
    standard_error: float
    nll_before: float
    nll_after: float
    iterations: int
    weight: float
    advice: str | None = None

    def __getitem__(self, name):
        return getattr(self, name)


def solve_temperature(logits, labels, weight, bounds):
    """Minimises `Σ_i w_i [logsumexp(b z_i) - b z_i,y_i] / Σ_i w_i` over `b = 1/T`.

    The objective is convex in b and its gradient is monotone in `log b`, where Newton steps are taken; a step that
    leaves the bracket is replaced by the bound, or by bisection.

    Args:
        logits: `[N, K]`, or `[N]` for binary logits, NumPy.
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits.
        weight: `[N]`.
        bounds: (lower, upper) temperature.

    Returns:
        A `FitReport`.

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
    examples = _Examples(logits, labels, weight)
    lowest, highest = math.log(1 / bounds[1]), math.log(1 / bounds[0])
    low, high = lowest, highest
    # where every example is classified right the gradient is negative for ever, though it fades: start at the bound
    u = highest if examples.separable else min(max(0.0, low), high)
    before = examples.evaluate(1.0)[0]
    at_bound, converged, iterations = None, False, 0
    while iterations < _MAX_PASSES and not converged and at_bound is None:
        iterations += 1
        b = math.exp(u)
        after, gradient, curvature = examples.evaluate(b)
        if u == highest and (gradient < 0 or examples.separable):
            at_bound = "lower"
        elif u == lowest and gradient > 0:
            at_bound = "upper"
        low, high = (u, high) if gradient < 0 else (low, u)
        slope = b * curvature
        # what a Newton step would still gain in NLL: half of gradient² / curvature
        converged = abs(gradient) <= 1e-12 * examples.scale or (slope > 0 and gradient**2 <= 2e-15 * curvature)
        if not converged:
            u = _next(u, gradient, slope, low, high, lowest, highest)
    temperature = {"lower": bounds[0], "upper": bounds[1], None: 1 / b}[at_bound]
    information = examples.weight.sum() * curvature
    return FitReport(
        temperature=temperature,
        converged=converged and at_bound is None,
        at_bound=at_bound,
        standard_error=temperature**2 / math.sqrt(information) if information > 0 and not at_bound else math.nan,
        nll_before=before,
        nll_after=after,
        iterations=iterations,
        weight=float(examples.weight.sum()),
        advice=_advice(examples, at_bound, curvature, gradient, temperature),
    )


def _next(u, gradient, slope, low, high, lowest, highest):
    step = -gradient / slope if slope > 0 else math.copysign(math.inf, -gradient)
    proposal = u + step
    if proposal >= high:
        return high if high == highest and u != highest else 0.5 * (low + high)
    if proposal <= low:
        return low if low == lowest and u != lowest else 0.5 * (low + high)
    return proposal


def _advice(examples, at_bound, curvature, gradient, temperature):
    informative = at_bound == "upper" and examples.evaluate(0.0)[1] < 0
    if informative or (at_bound == "lower" and not examples.separable):
        return (
            f"The temperature stopped at its {at_bound} bound {temperature:g}: the best one lies beyond. The logits "
            "are on an unusual scale: check them, or widen `bounds`."
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
    if curvature == 0 and gradient == 0:
        return f"The logits of every example are all equal: no temperature changes anything, and T is {temperature:g}."
    return None


def _check_distributions(labels):
    labels = labels.astype("float64")
    wrong = ~((labels >= 0).all(axis=1) & (np.abs(labels.sum(axis=1) - 1) < 0.01))  # half precision rounds
    if wrong.any():
        raise ValueError(
            "Expected dense labels as class distributions: no negative numbers, and a sum of 1. "
            f"Received: {labels[wrong][0].tolist()}. For several labels an example, divide by their number."
        )


class _Examples:
    """Weighted examples, in blocks; logits are shifted so that each row's largest is 0."""

    def __init__(self, logits, labels, weight):
        logits, labels = np.asarray(logits), np.asarray(labels)
        kept = np.asarray(weight) != 0
        if not kept.any():
            raise ValueError("Expected at least one example with a weight above 0. Received: none.")
        if not kept.all():
            logits, labels, weight = logits[kept], labels[kept], weight[kept]
        self.weight = np.asarray(weight, "float64")
        if not np.isfinite(self.weight).all():
            raise ValueError("Expected `sample_weight` without infinite numbers. Received: an infinite weight.")
        if logits.ndim == 1:  # softmax([0, z]) is sigmoid(z)
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
            labels = np.stack([1 - labels, labels], axis=1)
        wrong = np.isnan(logits) | np.isposinf(logits)
        if wrong.any():
            raise ValueError(
                f"Expected `logits` without NaN or +inf. Received: {int(wrong.sum())} such values. "
                "Find the step that made them: a calibrator must not hide them."
            )
        if labels.ndim == 2:
            _check_distributions(labels)
        self.blocks, start, rows = [], 0, max(1, _CHUNK // logits.shape[1])
        for start in range(0, len(logits), rows):
            z = logits[start : start + rows].astype("float64")
            y = labels[start : start + rows]
            ruled_out = np.isneginf(z)
            if (ruled_out & (y > 0)).any() if y.ndim == 2 else ruled_out[np.arange(len(z)), y.astype(int)].any():
                raise ValueError("Expected a finite logit for every label. Received: -inf, a label that was ruled out.")
            z -= z.max(axis=1, keepdims=True)
            z[ruled_out] = -1e30  # without 0 · inf
            z_y = (z * y).sum(axis=1) if y.ndim == 2 else z[np.arange(len(z)), y.astype(int)]
            self.blocks.append((z, z_y, self.weight[start : start + rows]))
        lead = np.concatenate([-z_y for _, z_y, _ in self.blocks])  # of the largest logit over the label's
        self.scale = max(float(np.average(lead, weights=self.weight)), 1e-9)  # the unit of the gradient
        self.separable = not lead.any() and any(z.any() for z, _, _ in self.blocks)

    def evaluate(self, b):
        """Mean NLL at b = 1/T, its derivative and its second derivative in b."""
        nll = gradient = curvature = 0.0
        for z, z_y, w in self.blocks:
            e = np.exp(b * z)
            total = e.sum(axis=1)
            e *= z
            mean = e.sum(axis=1) / total
            square = np.einsum("ij,ij->i", e, z) / total
            nll += w @ (np.log(total) - b * z_y)
            gradient += w @ (mean - z_y)
            curvature += w @ (square - mean * mean)
        n = self.weight.sum()
        return float(nll / n), float(gradient / n), float(curvature / n)
