"""Means over seeds with their 95 % intervals, and what they say of a direction."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        values: one a seed.
        mean: their mean.
        interval: half-width of the 95 % interval of the mean, Student's t; NaN for one seed.
    """

    values: tuple
    mean: float
    interval: float

    def __str__(self):
        return self.format()

    def format(self, digits=3):
        """Mean ± half-width."""
        spread = "" if np.isnan(self.interval) else f" ± {self.interval:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


def estimate(values):
    """The mean of one value a seed, with its 95 % interval.

    Args:
        values: numbers, one a seed.

    Returns:
        An `Estimate`.

    Examples:
        Student's t with 2 degrees of freedom is 4.303 at 97.5 %, the standard error 1/√3.

        >>> from keras_ls.reports.intervals import estimate
        >>> str(estimate([1.0, 2.0, 3.0]))
        '2.000 ± 2.484'
    """
    from scipy import stats

    values = np.asarray(values, "float64")
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return Estimate(tuple(values.tolist()), float(values.mean()), float(half))


def direction(claim, smaller, larger, paper):
    """Whether `smaller < larger` shows, seed by seed.

    Args:
        claim: the sentence that would be true.
        smaller: one value a seed.
        larger: one value a seed, of the same seeds.
        paper: the paper's numbers, in words.

    Returns:
        A dict: claim, paper, the difference `larger - smaller` as text, and verdict: "reproduced" when its 95 %
        interval lies above 0, "not reproduced: the opposite" when below, "not shown at this size" when it holds 0.
        Where `paper` is `NOT_REPORTED` it says "shown" for "reproduced".

    Examples:
        >>> from keras_ls.reports.intervals import direction
        >>> direction("a < b", [1.0, 2.0, 3.0], [2.0, 3.1, 4.0], "1 → 2")["verdict"]
        'reproduced'
    """
    difference = estimate(np.subtract(larger, smaller))
    verdict = _worded(VERDICTS[_sign(difference)], paper)
    return {"claim": claim, "paper": paper, "difference": str(difference), "verdict": verdict}


def direction_at_points(claim, points, paper):
    """Whether `smaller < larger` shows at each of several points.

    Args:
        claim: the sentence that would be true.
        points: point name → `(smaller, larger)`, one value a seed.
        paper: the paper's numbers, in words.

    Returns:
        As `direction`, with every point's difference; a verdict that is not the same at all points names them.

    Examples:
        >>> from keras_ls.reports.intervals import direction_at_points
        >>> points = {"T=1": ([1.0, 2.0, 3.0], [2.0, 3.1, 4.0]), "T=2": ([1.0, 2.0, 3.0], [2.0, 1.0, 3.0])}
        >>> direction_at_points("a < b", points, "1 → 2")["verdict"]
        'reproduced at T=1 only'
    """
    differences = {name: estimate(np.subtract(larger, smaller)) for name, (smaller, larger) in points.items()}
    signs = {name: _sign(difference) for name, difference in differences.items()}
    if not points:
        verdict = "no points to compare"
    elif len(set(signs.values())) == 1:
        verdict = VERDICTS[next(iter(signs.values()))]
    else:
        shown, opposite = (", ".join(name for name, s in signs.items() if s == sign) for sign in (1, -1))
        verdict = f"reproduced at {shown} only" if shown else "not reproduced"
        verdict += f"; the opposite at {opposite}" if opposite else ""
    text = "; ".join(f"{name}: {difference}" for name, difference in differences.items())
    return {"claim": claim, "paper": paper, "difference": text, "verdict": _worded(verdict, paper)}


VERDICTS = {
    1: "reproduced",
    0: "not shown at this size",
    -1: "not reproduced: the opposite",
    None: "one seed: no interval",
}
NOT_REPORTED = "not reported"  # in place of the paper's numbers, where it has none


def _worded(verdict, paper):
    """What the paper does not report is shown, not reproduced."""
    return verdict.replace("reproduced", "shown") if paper == NOT_REPORTED else verdict


def _sign(difference):
    """1 or -1 where the interval lies on one side of 0, else 0; None without an interval."""
    if np.isnan(difference.interval):
        return None
    if abs(difference.mean) <= difference.interval:
        return 0
    return 1 if difference.mean > 0 else -1
