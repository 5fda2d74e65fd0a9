"""Temperature scaling: one scalar that mends over- or under-confidence and changes no decision."""

from typing import Any

import keras
import numpy as np

from keras_ls.calibrators.calibrator import Calibrator
from keras_ls.calibrators.temperature_solver import solve_temperature
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_positive
from keras_ls.ops._types import Tensor

_LEAST = 1e-37


@keras.saving.register_keras_serializable(package="keras_ls")
class TemperatureScaling(Calibrator):
    """Divides logits by one temperature T, fitted to minimise the negative log-likelihood of held-out labels.

    `T = argmin Σ_i w_i [logsumexp(z_i / T) - z_i,y_i / T]`, whatever the scale of the weights. The problem is convex in
    1/T; a safeguarded Newton method finds the zero of its gradient in float64, within bounds: on logits of a huge
    scale, whose softmax is saturated, T stops at the upper bound, and the report says so. Fit it on a split that
    neither training nor any reported number uses.

    Args:
        temperature: the value until `fit` is called; 1 leaves the logits as they are.
        bounds: the smallest and largest temperature that `fit` may return.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        temperature: T, a float.
        fit_report: what the last `fit` found, None before: `temperature`, `converged`, `at_bound` (None, "lower" or
            "upper"), `standard_error` of T, `nll_before` and `nll_after` in nats, `iterations`, `weight` (the sum of
            the weights), `advice`.

    Call arguments:
        - `inputs`: logits, any shape.

    Returns:
        Logits divided by T, float32.

    Raises:
        ValueError: for a temperature or bounds not above 0.

    Examples:
        The optimum for these two examples is 1/T = 0.41777.

        >>> import numpy as np, keras_ls as kls
        >>> logits = np.log([[0.2, 0.8], [0.3, 0.7]])
        >>> scaling = kls.calibrators.TemperatureScaling().fit(logits, [1, 0])
        >>> round(1 / scaling.temperature, 5)
        0.41777
        >>> scaling.fit_report.converged
        True

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017; Platt, 1999.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        bounds: tuple[float, float] = (0.01, 100.0),
        from_logits: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(from_logits, name, **kwargs)
        self.bounds = checked_bounds(bounds)
        value = checked_positive("temperature", temperature)
        self._temperature = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=False, name="temperature"
        )
        self.built = True

    @property
    def temperature(self) -> float:
        """T, a float."""
        return float(self._temperature.numpy())

    def fit_examples(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray) -> None:
        """Fits T; see `fit`."""
        self._fit(labels, logits, weight)

    def fit_weighted(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray, shared: dict[str, Any]) -> None:
        """`fit_examples`, from the temperature of the fit before."""
        self._fit(labels, logits, weight, shared.get("temperature"))
        shared["temperature"] = self.fit_report.temperature if self.fit_report.converged else None

    def _fit(self, labels, logits, weight, start=None):
        self.fit_report = solve_temperature(logits, labels, weight, self.bounds, start=start)
        self._temperature.assign(self.fit_report.temperature)

    def calibrated_logits(self, logits: Tensor) -> Tensor:
        """Logits divided by T."""
        return at_least_float32(logits) / self._temperature

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments with the current temperature, for serialisation."""
        return {**super().get_config(), "temperature": self.temperature, "bounds": list(self.bounds)}


def checked_bounds(bounds):
    """Returns (lower, upper) temperatures as floats, or raises `ValueError`."""
    if np.size(bounds) != 2:
        raise ValueError(f"Expected `bounds` as (lower, upper). Received: {bounds!r}.")
    lower, upper = (checked_positive(f"bounds[{i}]", bound) for i, bound in enumerate(bounds))
    if not lower < upper:
        raise ValueError(f"Expected `bounds` as (lower, upper) with 0 < lower < upper. Received: {bounds!r}.")
    if lower < _LEAST or upper > 1 / _LEAST:
        raise ValueError(
            f"Expected `bounds` between {_LEAST:g} and {1 / _LEAST:g}, as T is kept in float32. Received: {bounds!r}."
        )
    return lower, upper
