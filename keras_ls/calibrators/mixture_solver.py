"""The likeliest mixture of three predictions: Newton's method on the simplex."""

import dataclasses
import itertools

import numpy as np

from keras_ls.calibrators.fit_report import FitReport

_MAX_STEPS = 100
_GAP = 1e-10
_FACES = [list(face) for size in (1, 2, 3) for face in itertools.combinations(range(3), size)]


def solve_mixture(probabilities, weight, temperature):
    """Minimises `-Σ_i w_i log Σ_j c_j p_ij / Σ_i w_i` over mixtures c.

    With `g_j = Σ_i w_i p_ij / (p_i · c) / Σ_i w_i`, no mixture is better than c by more than `max_j g_j - 1`: the
    objective is convex, and that is the most its linear approximation gains on the simplex.

    Args:
        probabilities: `[M, 3]`, what each part gives to the label.
        weight: `[M, 1]`.
        temperature: the `FitReport` of the parts' temperature.

    Returns:
        c `[3]` and a `FitReport`.
    """
    weight = weight[:, 0] / weight.sum()

    def nll(c):
        with np.errstate(divide="ignore"):
            return -(weight @ np.log(probabilities @ c))

    c, steps, last = np.full(3, 1 / 3), 0, None
    value = nll(c)
    digits = 4e-15 * (1 + abs(value))  # differences below are rounding
    while steps < _MAX_STEPS:
        ratios = probabilities / (probabilities @ c)[:, None]
        gradient = -(weight @ ratios)
        gap = -gradient.min() - 1
        if last and gap >= last[0]:  # a step that changed no digit of the NLL, nor made the gap less
            gap, c, value = last
            break
        if gap <= 0.01 * _GAP:
            break
        direction = _least_on_simplex(c, gradient, (ratios * weight[:, None]).T @ ratios) - c
        step = 1.0
        slope = 1e-4 * gradient @ direction
        while (after := nll(c + step * direction)) > value + step * slope + digits and step > 1e-12:
            step *= 0.5
        if after > value + digits:
            break
        last = (gap, c, value) if after >= value - digits else None
        c, value, steps = c + step * direction, after, steps + 1
    c = np.maximum(c, 0) / np.maximum(c, 0).sum()
    c = min([c, *np.eye(3)], key=nll)
    value, settled = nll(c), gap <= _GAP
    advice = None if settled else f"The mixture did not settle in {steps} steps; its coefficients are the best so far."
    fields = {field.name: getattr(temperature, field.name) for field in dataclasses.fields(FitReport)}
    fields |= {"nll_after": float(value), "iterations": temperature.iterations + steps}
    fields |= {"converged": bool(temperature.converged and settled), "advice": temperature.advice or advice}
    return c, FitReport(**fields)


def _least_on_simplex(c, gradient, hessian):
    """The mixture of least `g·(x - c) + (x - c)ᵀ H (x - c) / 2`: the best of the optima of all faces."""
    linear = gradient - hessian @ c
    best = None
    for face in _FACES:
        size = len(face)
        system = np.ones((size + 1, size + 1))
        system[:size, :size] = hessian[np.ix_(face, face)]
        system[size, size] = 0
        x = np.zeros(3)
        # parts that are equal, as at T = 1, leave the system singular
        x[face] = np.linalg.lstsq(system, np.append(-linear[face], 1.0), rcond=None)[0][:size]
        if (x >= -1e-12).all():
            x = np.maximum(x, 0)
            value = linear @ x + 0.5 * x @ hessian @ x
            if best is None or value < best[0]:
                best = value, x / x.sum()
    return best[1]
