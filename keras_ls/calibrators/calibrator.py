"""What every calibrator is: a layer from logits to logits, fitted on held-out predictions."""

import inspect

import keras

from keras_ls.calibrators.predictions import PredictionReader
from keras_ls.ops.examples import flatten_examples


class Calibrator(keras.layers.Layer):
    """A layer from logits to calibrated logits of the same shape, float32; masks pass through.

    Subclasses give `fit_examples(labels, logits, weight)`, which sets their variables and `fit_report`, and `call`.

    Args:
        name: name of the layer.

    Attributes:
        fit_report: what the last `fit` found; None before.
    """

    def __init__(self, name=None, **kwargs):
        # `dtype` and `trainable` are in the configuration that the base layer saves
        super().__init__(name=name, trainable=kwargs.pop("trainable", False), dtype="float32")
        kwargs.pop("dtype", None)
        if kwargs:
            known = [
                name for name in inspect.signature(type(self).__init__).parameters if name not in ("self", "kwargs")
            ]
            raise TypeError(f"Expected among {', '.join(known)}. Received: {', '.join(kwargs)}.")
        self.fit_report = None
        self.supports_masking = True

    def fit(self, logits, labels=None, sample_weight=None, ignore_class=None):
        """Fits the calibrator: `fit(logits, labels, sample_weight=None)` or `fit(model, dataset)`.

        Args:
            logits: `[..., K]`, or `[N]` for binary logits; or a `keras.Model` that returns logits.
            labels: integers or dense targets; or, for a model, the dataset: batches of `(x, y)` or
                `(x, y, sample_weight)`, or one tuple of arrays.
            sample_weight: one weight an example; an integer weight counts as that many examples.
            ignore_class: integer label of examples that do not count, or None.

        Returns:
            The layer itself.

        Raises:
            ValueError: for shapes, labels or weights that do not fit, NaN or +inf logits, a label whose logit is -inf,
                and no examples.

        Warns:
            UserWarning: where the data cannot tell the parameters, with what that says of them.
        """
        if isinstance(logits, keras.Model):
            if labels is None or sample_weight is not None:
                raise ValueError(
                    "Expected `fit(model, dataset)`, with weights in the dataset as (x, y, sample_weight). "
                    f"Received: {'no dataset' if labels is None else 'a third argument'}."
                )
            examples = PredictionReader(logits, ignore_class=ignore_class).read(labels)
        else:
            if labels is None:
                raise ValueError("Expected `fit(logits, labels)` or `fit(model, dataset)`. Received: no labels.")
            flat = flatten_examples(labels, logits, sample_weight, ignore_class=ignore_class)
            examples = tuple(keras.ops.convert_to_numpy(array) for array in flat)
        self.fit_examples(*examples)
        return self

    def fit_examples(self, labels, logits, weight):
        """Fits flat NumPy arrays: labels `[M]` or `[M, K]`, logits `[M, K]` or (binary) `[M]`, weight `[M]`."""
        raise NotImplementedError(f"{type(self).__name__} must implement fit_examples(labels, logits, weight).")

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape
