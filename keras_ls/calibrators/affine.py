"""Affine maps of logits: the base of vector, matrix and Dirichlet scaling."""

from typing import Any

import keras
import numpy as np

from keras_ls.calibrators.affine_solver import solve_affine
from keras_ls.calibrators.calibrator import Calibrator
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._types import Tensor


class AffineCalibrator(Calibrator):
    """A calibrator whose variables depend on the number of classes: made by `fit`, or by the first call.

    Subclasses give `make_variables(columns)`, first the coefficients, then the intercepts; `penalty(columns)` of both;
    `features`, a function of NumPy logits or None; and `mapped(inputs)`.

    Args:
        from_logits: whether a call and `fit` are given logits or probabilities.
        name: name of the layer.
    """

    features = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the variables of the identity for logits of this shape."""
        self.classes = self.classes_of(input_shape)
        self.make_variables(self.columns(self.classes))

    def columns(self, classes: int) -> int:
        """How many outputs the map has, for logits of so many classes; binary ones count as 1."""
        return classes

    def fit_examples(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray) -> None:
        """Fits the variables; see `fit`."""
        self._fit(labels, logits, weight)

    def fit_weighted(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray, shared: dict[str, Any]) -> None:
        """`fit_examples`, from the parameters of the first fit where that leads to an optimum: there is one alone."""
        start = shared.get("start")
        if start is None:
            self._fit(labels, logits, weight)
            if self.fit_report.converged and not self.fit_report.advice:
                shared["start"] = np.vstack(
                    [np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in self.variables]
                )
            return
        self._fit(labels, logits, weight, start)
        if not self.fit_report.converged or self.fit_report.advice:
            self._fit(labels, logits, weight)

    def _fit(self, labels, logits, weight, start=None):
        self.check_shape(logits.shape)
        penalty = self.penalty(self.columns(_classes(logits.shape)))
        *values, found = solve_affine(labels, logits, weight, penalty, self.features, start=start)
        _check_float32(values[0])
        if not self.built:
            self.build(self.shape_of(logits))
        for variable, value in zip(self.variables, values):
            variable.assign(value.astype("float32"))
        self.fit_report = found

    def calibrated_logits(self, logits: Tensor) -> Tensor:
        """The calibrated logits."""
        self.check_shape(logits.shape)
        return self.mapped(logits)

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises `ValueError` for logits of another number of classes than the layer was built for."""
        if self.built and _classes(shape) != self.classes:
            built = "[N] or [..., 1]" if self.classes == 1 else f"[..., {self.classes}]"
            raise ValueError(
                f"Expected logits of shape {built}, for which this layer was built. Received: {tuple(shape)}. Make a "
                f"new {type(self).__name__} for other classes."
            )


def _classes(shape):
    return 1 if len(shape) == 1 else shape[-1]


def _check_float32(factors):
    largest = np.abs(factors).max()
    if largest and not 1e-36 < largest < 1e37:
        raise ValueError(
            "Expected logits on a scale whose factors float32 can hold, from 1e-36 to 1e37. "
            f"Received: factors up to {largest:.1g}. {'Divide' if largest < 1 else 'Multiply'} the logits by a "
            "constant."
        )


class MatrixCalibrator(AffineCalibrator):
    """An `AffineCalibrator` with a matrix and ODIR, the penalty of its off-diagonal and of the intercepts.

    Args:
        off_diagonal: λ of `λ · Σ_{j≠k} W_jk² / (K (K - 1))`, in nats.
        intercept: μ of `μ · Σ_k b_k² / K`, in nats.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
    """

    def __init__(
        self,
        off_diagonal: float = 10.0,
        intercept: float = 1.0,
        from_logits: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(from_logits, name, **kwargs)
        self.off_diagonal = checked_non_negative("off_diagonal", off_diagonal)
        self.intercept = checked_non_negative("intercept", intercept)
        self.kernel = self.bias = None

    def make_variables(self, columns: int) -> None:
        """The identity: a matrix of 1 on its diagonal, intercepts of 0."""
        shape = (columns, columns)
        self.kernel = self.add_weight(shape=shape, initializer="identity", trainable=False, name="kernel")
        self.bias = self.add_weight(shape=(columns,), initializer="zeros", trainable=False, name="bias")

    def penalty(self, columns: int) -> np.ndarray:
        """Of each parameter, `[K + 1, K]`."""
        matrix = self.off_diagonal / (columns * (columns - 1)) * (1 - np.eye(columns))
        return np.vstack([matrix, np.full(columns, self.intercept / columns)])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation; the fit is in the weights."""
        return {**super().get_config(), "off_diagonal": self.off_diagonal, "intercept": self.intercept}
