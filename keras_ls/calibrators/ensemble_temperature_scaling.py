"""Ensemble temperature scaling: predictions at a temperature, as they came, and uniform ones, mixed."""

import dataclasses
import functools
import itertools
from typing import Any

import keras
import numpy as np
from keras import ops as K

from keras_ls.calibrators.calibrator import Calibrator, FitReport
from keras_ls.calibrators.example_blocks import ExampleBlocks
from keras_ls.calibrators.temperature_scaling import checked_bounds
from keras_ls.calibrators.temperature_solver import shifted, solve_blocks
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_positive
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class EnsembleTemperatureScaling(Calibrator):
    """Mixes predictions at a temperature, as they came and uniform ones, with weights fitted to held-out labels.

    `p' = c_1 softmax(z / T) + c_2 softmax(z) + c_3 / K`, with `c ≥ 0` and `Σ c = 1`; the layer returns `log p'`. As in
    the paper, T is that of temperature scaling, and then c minimises `-Σ_i w_i log p'_i,y_i`, a convex problem, solved
    until its duality gap shows that no mixture is better by 1e-10 nats. The scale of the sample weights w says nothing.
    It changes no decision, and the NLL on the fitted data is at most that of a temperature. Before `fit`,
    `c = (1, 0, 0)` and T = 1: the probabilities stay.

    Args:
        temperature: T until `fit` is called.
        coefficients: c until `fit` is called: three numbers that are not negative and have the sum 1.
        bounds: the smallest and largest temperature that `fit` may return.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        temperature: T, a float.
        coefficients: c, a tuple of three floats.
        fit_report: what the last `fit` found, None before: `converged`, `nll_before`, `nll_after`, `iterations` (of T
            and of c), `weight`, `advice`.

    Call arguments:
        - `inputs`: logits `[..., K]`; binary logits `[N]` or `[..., 1]`.

    Returns:
        Logits of the same shape, float32: log-probabilities, or for binary logits `log p' - log(1 - p')`.

    Raises:
        ValueError: for a temperature or bounds not above 0, and coefficients that are no mixture.

    Examples:
        Of ten examples that are all but certain, one is wrong: a mixture with uniform predictions says so.

        >>> import numpy as np, keras_ls as kls
        >>> logits = np.concatenate([np.full(10, 20.0), np.repeat([1.0, -1.0], 50)])
        >>> labels = np.concatenate([[0], np.ones(9), np.arange(50) < 36, np.arange(50) >= 36])
        >>> scaling = kls.calibrators.EnsembleTemperatureScaling().fit(logits, labels)
        >>> temperature = kls.calibrators.TemperatureScaling().fit(logits, labels)
        >>> scaling.temperature == temperature.temperature
        True
        >>> scaling.fit_report.nll_after < temperature.fit_report.nll_after - 0.01
        True

    Reference:
        Zhang, Kailkhura and Han, "Mix-n-Match: Ensemble and Compositional Methods for Uncertainty Calibration in Deep
        Learning", 2020.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        coefficients: tuple[float, float, float] = (1.0, 0.0, 0.0),
        bounds: tuple[float, float] = (0.01, 100.0),
        from_logits: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(from_logits, name, **kwargs)
        self.bounds = checked_bounds(bounds)
        value = checked_positive("temperature", temperature)
        shares = np.asarray(coefficients, "float64")
        if shares.shape != (3,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-5:
            raise ValueError(
                "Expected `coefficients` as three numbers that are not negative and have the sum 1. "
                f"Received: {coefficients!r}."
            )
        self._temperature = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=False, name="temperature"
        )
        self._coefficients = self.add_weight(shape=(3,), initializer="zeros", trainable=False, name="coefficients")
        self._coefficients.assign(shares.astype("float32"))
        self.built = True

    @property
    def temperature(self) -> float:
        """T, a float."""
        return float(keras.ops.convert_to_numpy(self._temperature))

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """The weights of `softmax(z / T)`, of `softmax(z)` and of `1 / K`, floats."""
        return tuple(keras.ops.convert_to_numpy(self._coefficients).tolist())

    def fit_examples(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray) -> None:
        """Fits T, then the weights; see `fit`."""
        self.fit_weighted(labels, logits, weight, {})

    def fit_weighted(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray, shared: dict[str, Any]) -> None:
        """`fit_examples`, from the temperature of the fit before."""
        blocks = ExampleBlocks(labels, logits, weight, shifted)
        found = solve_blocks(blocks, self.bounds, start=shared.get("temperature"))
        shared["temperature"] = found.temperature if found.converged else None
        parts = blocks.sum(functools.partial(_label_probabilities, temperature=found.temperature))
        coefficients, report = solve_mixture(*np.split(np.concatenate(parts), [3], axis=1), found)
        self._temperature.assign(found.temperature)
        self._coefficients.assign(coefficients.astype("float32"))
        self.fit_report = report

    def calibrated_logits(self, logits: Tensor) -> Tensor:
        """The log-probabilities of the mixture."""
        logits = at_least_float32(logits)
        if len(logits.shape) == 1 or logits.shape[-1] == 1:
            log_p = self._mixed(K.stack([K.zeros_like(logits), logits], axis=-1))
            return log_p[..., 1] - log_p[..., 0]
        return self._mixed(logits)

    def _mixed(self, logits):
        shares = K.where(self._coefficients > 0, K.log(self._coefficients), -1e30)  # logsumexp of -inf alone is NaN
        scaled = K.log_softmax(logits / self._temperature, axis=-1) + shares[0]
        plain = K.log_softmax(logits, axis=-1) + shares[1]
        uniform = K.zeros_like(logits) + (shares[2] - np.log(logits.shape[-1]))
        return K.logsumexp(K.stack([scaled, plain, uniform], axis=0), axis=0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments with the current temperature and coefficients, for serialisation."""
        fitted = {"temperature": self.temperature, "coefficients": list(self.coefficients)}
        return {**super().get_config(), **fitted, "bounds": list(self.bounds)}


def _label_probabilities(z, labels, weight, temperature):
    """Rows of the label's probability in each part of the mixture, and weight; dense labels have several rows."""
    parts = []
    for scaled in (z / temperature, z):
        p = np.exp(scaled)
        parts.append(p / p.sum(axis=1, keepdims=True))
    if labels.ndim == 2:
        rows, columns = labels.nonzero()
        weight = weight[rows] * labels[rows, columns]
    else:
        rows, columns = np.arange(len(labels)), labels
    uniform = np.full(len(rows), 1 / z.shape[1])
    return [np.stack([*(p[rows, columns] for p in parts), uniform, weight], axis=1)]


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
