"""What every calibrator is: a layer from logits to logits, fitted on held-out predictions."""

import dataclasses
import inspect
import tempfile
import warnings
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from keras_ls.batches import Batches
from keras_ls.calibrators.predictions import PredictionReader
from keras_ls.ops._checks import checked_axis, checked_flag
from keras_ls.ops._inputs import flatten_examples
from keras_ls.ops._logits import LogitsCheck, as_logits, check_some_in_unit_interval, is_binary, logits_of_array
from keras_ls.ops._repr import constructor_call
from keras_ls.ops._tensors import as_tensor, classes_last, ragged_steps
from keras_ls.ops._types import Data, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11


class Calibrator(keras.layers.Layer):
    """A layer from logits to calibrated logits of the same shape, float32; masks pass through.

    Subclasses give `calibrated_logits(logits)`, what a call returns, and `fit_examples(labels, logits, weight)`, which
    sets their variables and `fit_report`, of whose advice `fit` warns.

    Args:
        from_logits: whether a call and `fit` are given logits (default) or probabilities.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given; binary logits `[N]` have none.

    Attributes:
        fit_report: what the last `fit` found; None before.
    """

    def __init__(self, from_logits: bool = True, name: str | None = None, axis: int = -1, **kwargs: Any):
        # `dtype` and `trainable` are in the configuration that the base layer saves
        super().__init__(name=name, trainable=kwargs.pop("trainable", False), dtype="float32")
        kwargs.pop("dtype", None)
        if kwargs:
            known = [
                name for name in inspect.signature(type(self).__init__).parameters if name not in ("self", "kwargs")
            ]
            raise TypeError(f"Expected among {', '.join([*known, 'axis'])}. Received: {', '.join(kwargs)}.")
        self.from_logits = checked_flag("from_logits", from_logits)
        self.axis = checked_axis(axis)
        self.logits_check = LogitsCheck(type(self).__name__)
        self.took_probabilities = False  # for logits, in the last fit
        self.fit_report = None
        self.supports_masking = True

    def fit(
        self,
        logits: Tensor | keras.Model,
        labels: Tensor | Data = None,
        sample_weight: Tensor | None = None,
        ignore_class: int | None = None,
        verbose: int | Literal["auto"] = "auto",
        from_logits: bool | None = None,
        steps: int | None = None,
    ) -> "Self":
        """Fits the calibrator: `fit(logits, labels, sample_weight=None)` or `fit(model, dataset)`.

        A model that ends in a softmax or sigmoid returns probabilities: fit it with `from_logits=False`. The fit is
        then that of `ops.probabilities_to_logits` of them: the same as of the logits before the softmax, but for vector
        and matrix scaling, to which a number added to all logits of an example is not nothing.

        Logits of sequences, `[N, T, K]`, count as N·T examples. A model's Keras mask drops its padded steps; arrays
        carry no mask, and a `sample_weight` of 0 does the same. A dataset is read once; up to 2²² of the model's
        logits are kept in memory, more in a temporary file.

        Args:
            logits: `[..., K]` (or K along `axis`), or `[N]` for binary logits; or a `keras.Model` that returns logits.
            labels: integers or dense targets; or, for a model, the dataset: batches of `(x, y)` or
                `(x, y, sample_weight)`, or one tuple of arrays.
            sample_weight: one weight an example (`[N]`) or a step (`[N, T]`); an integer weight counts as that many
                examples. The scale of the weights changes no calibrator.
            ignore_class: integer label of examples that do not count, or None.
            verbose: whether passes of a model over a dataset show their progress: 1, 0, or "auto" for those that take
                more than ten seconds.
            from_logits: whether logits are given, or probabilities, to this fit and to every call after it; None
                (default) for what the constructor said.
            steps: how many batches of the dataset to read, as one that repeats for ever needs; None for all.

        Returns:
            The layer itself.

        Raises:
            ValueError: for shapes, labels or weights that do not fit, NaN or +inf logits, a label whose logit is -inf,
                and no examples; for "probabilities" outside [0, 1]; for a dataset that repeats for ever without
                `steps`, or is not batched.
            OSError: where the temporary directory has no room for the logits.

        Warns:
            UserWarning: where the data cannot tell the parameters, with what that says of them; and where what is
                taken for logits are probabilities.

        Examples:
            Two sequences of three steps, the second padded after its first:

            >>> import numpy as np, keras_ls as kls
            >>> logits, labels = np.full((2, 3, 2), [2.0, 0.0]), np.array([[0, 0, 1], [0, -1, -1]])
            >>> scaling = kls.calibrators.TemperatureScaling().fit(logits, labels, sample_weight=labels >= 0)
            >>> round(scaling.temperature, 4), scaling.fit_report.weight  # 2 / log 3, of four steps
            (1.8205, 4.0)
        """
        if from_logits is not None:
            self.from_logits = checked_flag("from_logits", from_logits)
        check = LogitsCheck(f"{type(self).__name__}.fit")
        check.done = not self.from_logits
        if isinstance(logits, keras.Model):
            if labels is None or sample_weight is not None:
                raise ValueError(
                    "Expected `fit(model, dataset)`, with weights in the dataset as (x, y, sample_weight). "
                    f"Received: {'no dataset' if labels is None else 'a third argument'}."
                )
            reader = PredictionReader(
                logits,
                ignore_class=ignore_class,
                verbose=verbose,
                from_logits=self.from_logits,
                logits_check=check,
                axis=self.axis,
            )
            self.fit_predictions(reader, Batches(labels, steps=steps))
            self._warn_of_advice()
        elif labels is None:
            raise ValueError("Expected `fit(logits, labels)` or `fit(model, dataset)`. Received: no labels.")
        else:
            labels, logits, weight = flat_arrays(logits, labels, sample_weight, ignore_class, self.axis)
            check.see(logits)
            self.fit_flat(labels, logits, weight)
        self.took_probabilities = check.found
        self.logits_check.done |= check.found
        return self

    def fit_flat(
        self, labels: np.ndarray, predictions: np.ndarray, weight: np.ndarray, shared: dict[str, Any] | None = None
    ) -> "Self":
        """Fits flat NumPy arrays, as `fit_examples` has them, of logits or of probabilities.

        `shared` is a dictionary of `fit_weighted`, or None.
        """
        logits = logits_of_array(predictions, weight, self.from_logits)
        if shared is None:
            self.fit_examples(labels, logits, weight)
        else:
            self.fit_weighted(labels, logits, weight, shared)
        self._warn_of_advice()
        return self

    def _warn_of_advice(self):
        if self.fit_report is not None and self.fit_report.advice:
            warnings.warn(self.fit_report.advice, stacklevel=3)

    def fit_predictions(self, reader: PredictionReader, dataset: Batches) -> None:
        """Fits what a model predicts: `fit_examples` of all, whose logits may lie in a file that is removed after."""
        with tempfile.TemporaryDirectory(prefix="keras_ls_", ignore_cleanup_errors=True) as folder:
            self.fit_examples(*reader.read(dataset, folder))

    def fit_examples(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray) -> None:
        """Fits flat NumPy arrays: labels `[M]` or `[M, K]`, logits `[M, K]` or (binary) `[M]`, weight `[M]`."""
        raise NotImplementedError(f"{type(self).__name__} must implement fit_examples(labels, logits, weight).")

    def fit_weighted(self, labels: np.ndarray, logits: np.ndarray, weight: np.ndarray, shared: dict[str, Any]) -> None:
        """`fit_examples`, one of several fits of the same labels and logits with different weights, as in `crossfit`.

        Subclasses may keep in `shared`, a dictionary that is empty at the first of them, what these fits have in common
        (of at most the examples' size), or a fit for the next ones to start from.
        """
        self.fit_examples(labels, logits, weight)

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As of any layer; where a model is put together, the layers before this one tell what it is given."""
        if self.from_logits and isinstance(inputs, keras.KerasTensor):
            self.logits_check.see(inputs, self.axis)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """The calibrated logits of logits, or of probabilities with `from_logits=False`."""
        inputs = as_tensor("logits", inputs)
        if self.from_logits:
            self.logits_check.see(inputs, self.axis)
        moved = len(inputs.shape) > 1 and self.axis not in (-1, len(inputs.shape) - 1)
        predictions = classes_last(inputs, self.axis) if moved else inputs
        if not self.from_logits:
            check_some_in_unit_interval("the inputs of a calibrator with `from_logits=False`", predictions)
            predictions = as_logits(predictions, False, is_binary(predictions))
        logits = self.calibrated_logits(predictions)
        return keras.ops.moveaxis(logits, -1, self.axis) if moved else logits

    def classes_of(self, shape: tuple[int | None, ...]) -> int:
        """The number of classes in inputs of this shape; 1 for binary logits."""
        return shape[self.axis] if len(shape) > 1 else 1

    def shape_of(self, logits: np.ndarray) -> tuple[int | None, ...]:
        """A shape of inputs with the classes of flat logits, to build for."""
        if logits.ndim == 1:
            return (None,)
        shape = [None] * max(2, self.axis + 1, -self.axis)
        shape[self.axis] = logits.shape[-1]
        return tuple(shape)

    def calibrated_logits(self, logits: Tensor) -> Tensor:
        """The calibrated logits of logits."""
        raise NotImplementedError(f"{type(self).__name__} must implement calibrated_logits(logits).")

    def __repr__(self):
        report = self.fit_report
        fitted = "not fitted" if report is None else f"NLL {report.nll_before:.4f} → {report.nll_after:.4f} nats"
        return f"<{constructor_call(self)}, {fitted}>"

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "from_logits": self.from_logits, "axis": self.axis}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape


def flat_arrays(logits, labels, sample_weight, ignore_class=None, axis=-1):
    """`flatten_examples` in NumPy, without a copy of logits that are NumPy already, which may be large."""
    labels, logits, sample_weight = ragged_steps(labels, logits, sample_weight)
    if not isinstance(logits, np.ndarray) or logits.dtype.kind not in "biuf":
        logits = keras.ops.convert_to_numpy(as_tensor("logits", logits))
    like = keras.KerasTensor(logits.shape, "float32")  # their shape is all that is needed
    labels, like, weight = flatten_examples(labels, like, sample_weight, ignore_class=ignore_class, axis=axis)
    logits = np.moveaxis(logits, axis, -1) if logits.ndim > 1 else logits
    return keras.ops.convert_to_numpy(labels), logits.reshape(like.shape), keras.ops.convert_to_numpy(weight)


@dataclasses.dataclass(frozen=True)
class FitReport:
    """What a fit found; `report["nll_after"]` reads like `report.nll_after`.

    Attributes:
        converged: whether no other parameters, within the bounds, have a lower objective.
        nll_before: mean negative log-likelihood of the logits as they came, nats.
        nll_after: the same of the calibrated logits, without penalties.
        iterations: of the solver.
        weight: the sum of the weights as given. Nothing else in a report depends on the scale of weights that are no
            whole numbers.
        advice: what the fit says of the data where they cannot tell the parameters, else None.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> scaling = kls.calibrators.TemperatureScaling().fit(np.log([[0.2, 0.8], [0.3, 0.7]]), [1, 0])
        >>> scaling.fit_report.converged, scaling.fit_report["weight"]
        (True, 2.0)
    """

    converged: bool
    nll_before: float
    nll_after: float
    iterations: int
    weight: float
    advice: str | None = None

    def __getitem__(self, name):
        return getattr(self, name)
