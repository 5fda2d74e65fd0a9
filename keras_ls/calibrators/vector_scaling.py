"""Vector scaling: a factor and an intercept for each class; Platt scaling of binary logits."""

from typing import Any

import keras
import numpy as np

from keras_ls.calibrators.affine import AffineCalibrator
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class VectorScaling(AffineCalibrator):
    """Gives each class its own factor and intercept, fitted to minimise the negative log-likelihood of held-out labels.

    `z'_k = a_k z_k + b_k`; for binary logits `z' = a z + b`, which is Platt scaling. Minimises

    `Σ_i w_i NLL_i / Σ_i w_i + l2 · Σ_k [(a_k - 1)² + b_k²] / K`.

    The NLL is a mean, so that neither the scale of the weights nor repeating all the data changes the fit. It starts
    from temperature scaling, which it contains: with `l2=0`, the NLL on the fitted data is at most that of a
    temperature. It has 2 K parameters to overfit, and can change decisions. Fit it on a split that neither training nor
    any reported number uses. Before `fit` it is the identity.

    Args:
        l2: penalty towards the identity, in nats. Above 0 it bounds the fit of data that are all classified right.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        scale: a, a variable `[K]`, `[1]` for binary logits; None until the layer is built.
        bias: b, likewise.
        fit_report: what the last `fit` found, None before: `converged`, `nll_before`, `nll_after`, `iterations`,
            `weight`, `advice`.

    Call arguments:
        - `inputs`: logits `[..., K]`; binary logits `[N]` or `[..., 1]`.

    Returns:
        Logits of the same shape, float32.

    Raises:
        ValueError: for a negative penalty; for logits with another number of classes than fitted, and for logits of
            -inf in `fit`.

    Examples:
        Of 4 examples with the logit 2, three are positive; of 4 with the logit -1, one. Platt scaling has to map 2 to
        log 3 and -1 to -log 3: a = 2 log 3 / 3 and b = -log 3 / 3.

        >>> import numpy as np, keras, keras_ls as kls
        >>> logits, labels = np.repeat([2.0, -1.0], 4), [1, 1, 1, 0, 1, 0, 0, 0]
        >>> scaling = kls.calibrators.VectorScaling().fit(logits, labels)
        >>> a, b = (keras.ops.convert_to_numpy(variable).item() for variable in (scaling.scale, scaling.bias))
        >>> round(a, 5), round(b, 5)
        (0.73241, -0.3662)

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017; Platt, "Probabilistic Outputs for Support Vector
        Machines", 1999.
    """

    def __init__(self, l2: float = 0.0, from_logits: bool = True, name: str | None = None, **kwargs: Any):
        super().__init__(from_logits, name, **kwargs)
        self.l2 = checked_non_negative("l2", l2)
        self.scale = self.bias = None

    def make_variables(self, columns: int) -> None:
        """The identity: factors of 1, intercepts of 0."""
        self.scale = self.add_weight(shape=(columns,), initializer="ones", trainable=False, name="scale")
        self.bias = self.add_weight(shape=(columns,), initializer="zeros", trainable=False, name="bias")

    def penalty(self, columns: int) -> np.ndarray:
        """Of each parameter, `[2, K]`."""
        return np.full((2, columns), self.l2 / columns)

    def mapped(self, inputs: Tensor) -> Tensor:
        """Logits times the factors, plus the intercepts."""
        return at_least_float32(inputs) * self.scale + self.bias

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation; the fit is in the weights."""
        return {**super().get_config(), "l2": self.l2}
