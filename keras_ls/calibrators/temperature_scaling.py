"""Temperature scaling: one scalar that mends over- or under-confidence and changes no decision."""

import warnings

import keras
import numpy as np

from keras_ls.calibrators.predictions import PredictionReader
from keras_ls.calibrators.temperature_solver import solve_temperature
from keras_ls.ops.checks import checked_positive
from keras_ls.ops.examples import flatten_examples
from keras_ls.ops.precision import at_least_float32


@keras.saving.register_keras_serializable(package="keras_ls")
class TemperatureScaling(keras.layers.Layer):
    """Divides logits by one temperature T, fitted to minimise the negative log-likelihood of held-out labels.

    `T = argmin Σ_i w_i [logsumexp(z_i / T) - z_i,y_i / T]`. The problem is convex in 1/T; a safeguarded Newton method
    finds the zero of its gradient in float64, within bounds. Fit it on a split that neither training nor any reported
    number uses.

    Args:
        temperature: the value until `fit` is called; 1 leaves the logits as they are.
        bounds: the smallest and largest temperature that `fit` may return.
        name: name of the layer.

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
        The optimum for these two examples is 1/T = .41777.

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

    def __init__(self, temperature=1.0, bounds=(0.01, 100.0), name=None, **kwargs):
        super().__init__(name=name, trainable=kwargs.pop("trainable", False), dtype="float32")
        kwargs.pop("dtype", None)  # as saved by the base layer: always float32
        if kwargs:
            raise TypeError(f"Expected `temperature`, `bounds` and `name`. Received: {', '.join(kwargs)}.")
        if np.size(bounds) != 2:
            raise ValueError(f"Expected `bounds` as (lower, upper). Received: {bounds!r}.")
        self.bounds = tuple(checked_positive(f"bounds[{i}]", bound) for i, bound in enumerate(bounds))
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"Expected `bounds` as (lower, upper) with 0 < lower < upper. Received: {bounds!r}.")
        self.fit_report = None
        value = checked_positive("temperature", temperature)
        self._temperature = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=False, name="temperature"
        )
        self.supports_masking = True
        self.built = True

    @property
    def temperature(self):
        """T, a float."""
        return float(self._temperature.numpy())

    def fit(self, logits, labels=None, sample_weight=None):
        """Fits T: `fit(logits, labels, sample_weight=None)` or `fit(model, dataset)`.

        Args:
            logits: `[..., K]`, or `[N]` for binary logits; or a `keras.Model` that returns logits.
            labels: integers or dense targets; or, for a model, the dataset: batches of `(x, y)` or
                `(x, y, sample_weight)`, or one tuple of arrays.
            sample_weight: one weight an example; an integer weight counts as that many examples.

        Returns:
            The layer itself.

        Raises:
            ValueError: for shapes, labels or weights that do not fit, NaN or +inf logits, a label whose logit is -inf,
                and no examples.

        Warns:
            UserWarning: where the optimum lies at a bound, with what that says of the data.
        """
        if isinstance(logits, keras.Model):
            if labels is None or sample_weight is not None:
                raise ValueError(
                    "Expected `fit(model, dataset)`, with weights in the dataset as (x, y, sample_weight). "
                    f"Received: {'no dataset' if labels is None else 'a third argument'}."
                )
            labels, logits, weight = PredictionReader(logits).read(labels)
        else:
            if labels is None:
                raise ValueError("Expected `fit(logits, labels)` or `fit(model, dataset)`. Received: no labels.")
            flat = flatten_examples(labels, logits, sample_weight)
            labels, logits, weight = (keras.ops.convert_to_numpy(array) for array in flat)
        self.fit_report = solve_temperature(logits, labels, weight, self.bounds)
        if self.fit_report.advice:
            warnings.warn(self.fit_report.advice, stacklevel=2)
        self._temperature.assign(self.fit_report.temperature)
        return self

    def call(self, inputs):
        """Logits divided by T."""
        return at_least_float32(inputs) / self._temperature

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape

    def get_config(self):
        """Constructor arguments with the current temperature, for serialisation."""
        return {**super().get_config(), "temperature": self.temperature, "bounds": list(self.bounds)}
