"""Matrix scaling: every calibrated logit is a weighted sum of all logits."""

import keras
from keras import ops as K

from keras_ls.calibrators.affine import MatrixCalibrator
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class MatrixScaling(MatrixCalibrator):
    """Mixes the logits by a matrix, fitted to minimise the negative log-likelihood of held-out labels.

    `z' = z W + b`. Minimises, with off-diagonal and intercept regularisation (ODIR),

    `Σ_i w_i NLL_i / Σ_i w_i + λ · Σ_{j≠k} W_jk² / (K (K - 1)) + μ · Σ_k b_k² / K`.

    The NLL is a mean, so that neither the scale of the weights nor repeating all the data changes the fit. It starts
    from temperature scaling, whose matrices are not penalised: the NLL on the fitted data is at most that of a
    temperature. There are K² + K parameters: with few examples for each class, raise `off_diagonal`, and compare with
    a temperature on other data. It can change
    decisions. Fit it on a split that neither training nor any reported number uses. Before `fit` it is the identity.

    Args:
        off_diagonal: λ, in nats. 10 suits ten classes with some hundred examples each; more classes want more, as the
            penalty of one weight falls with their square.
        intercept: μ, in nats.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        kernel: W, a variable `[K, K]`, from the row's class to the column's, as in a Dense layer; None until the layer
            is built.
        bias: b, a variable `[K]`, likewise.
        fit_report: what the last `fit` found, None before: `converged`, `nll_before`, `nll_after` (without penalties),
            `iterations`, `weight`, `advice`.

    Call arguments:
        - `inputs`: logits `[..., K]`.

    Returns:
        Logits of the same shape, float32.

    Raises:
        ValueError: for negative penalties; for binary logits, which leave nothing to mix; for logits of another number
            of classes than fitted, and for logits of -inf in `fit`.

    Examples:
        Logits that are given to the wrong classes are put right:

        >>> import numpy as np, keras, keras_ls as kls
        >>> labels = np.arange(3).repeat(10)
        >>> logits = np.eye(3)[(labels + 1) % 3]
        >>> labels[::10] = 2  # some noise, so that there is a likeliest matrix
        >>> scaling = kls.calibrators.MatrixScaling(off_diagonal=1e-3).fit(logits, labels)
        >>> keras.ops.convert_to_numpy(scaling(np.eye(3))).argmax(axis=1).tolist()
        [2, 0, 1]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017; the regularisation: Kull et al., "Beyond
        Temperature Scaling: Obtaining Well-Calibrated Multi-Class Probabilities with Dirichlet Calibration", 2019.
    """

    def mapped(self, inputs: Tensor) -> Tensor:
        """Logits times the matrix, plus the intercepts."""
        return K.matmul(at_least_float32(inputs), self.kernel) + self.bias

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises `ValueError` for binary logits, too."""
        if len(shape) == 1 or shape[-1] == 1:
            raise ValueError(
                f"Expected logits of at least two classes. Received: shape {tuple(shape)}, one logit an example, which "
                "leaves a matrix nothing to mix. Use VectorScaling, which is Platt scaling then."
            )
        super().check_shape(shape)
