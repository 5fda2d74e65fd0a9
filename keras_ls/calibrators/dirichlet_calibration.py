"""Dirichlet calibration: an affine map of log-probabilities; beta calibration of binary ones."""

import keras
import numpy as np
from keras import ops as K

from keras_ls.calibrators.affine import MatrixCalibrator
from keras_ls.calibrators.temperature_solver import shifted
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class DirichletCalibration(MatrixCalibrator):
    """Mixes log-probabilities by a matrix, fitted to minimise the negative log-likelihood of held-out labels.

    `z' = log softmax(z) W + b`: what is right where the predictions of each class have a Dirichlet distribution. For
    binary logits, with p = sigmoid(z), `z' = c + a log p - a' log(1 - p)`, which is beta calibration. Minimises, with
    off-diagonal and intercept regularisation (ODIR),

    `Σ_i w_i NLL_i / Σ_i w_i + λ · Σ_{j≠k} W_jk² / (K (K - 1)) + μ · Σ_k b_k² / K`.

    The NLL is a mean, so that neither the scale of the weights nor repeating all the data changes the fit. It starts
    from temperature scaling, whose matrices are not penalised: the NLL on the fitted data is at most that of a
    temperature. There are K² + K parameters: with few examples for each class, raise `off_diagonal`, and compare with
    a temperature on other data. It can change
    decisions. Fit it on a split that neither training nor any reported number uses. Before `fit` it returns
    `log softmax(z)`, the same probabilities (of binary logits, z itself).

    Args:
        off_diagonal: λ, in nats. 10 suits ten classes with some hundred examples each; more classes want more, as the
            penalty of one weight falls with their square.
        intercept: μ, in nats.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
        axis: the class axis of what a call and `fit` are given, -1 by default; binary logits `[N]` have none.

    Attributes:
        kernel: W, a variable `[K, K]`, from the row's class to the column's, as in a Dense layer; `[2, 2]` for binary
            logits; None until the layer is built.
        bias: b, a variable `[K]`, likewise.
        fit_report: what the last `fit` found, None before: `converged`, `nll_before`, `nll_after` (without penalties),
            `iterations`, `weight`, `advice`.

    Call arguments:
        - `inputs`: logits `[..., K]`; binary logits `[N]` or `[..., 1]`.

    Returns:
        Logits of the same shape, float32.

    Raises:
        ValueError: for negative penalties; for logits of another number of classes than fitted, and for logits of -inf
            in `fit`.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> logits = np.log([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
        >>> dirichlet = kls.calibrators.DirichletCalibration(off_diagonal=0.1).fit(logits, [0, 1, 1, 0])
        >>> tuple(dirichlet.kernel.shape), dirichlet.fit_report.nll_after < dirichlet.fit_report.nll_before
        ((2, 2), True)

    Reference:
        Kull et al., "Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class Probabilities with Dirichlet
        Calibration", 2019; binary: Kull, Silva Filho and Flach, "Beta Calibration", 2017.
    """

    @staticmethod
    def features(logits: np.ndarray) -> np.ndarray:
        """`log softmax` of finite NumPy logits `[n, K]`."""
        logits = shifted(logits)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def columns(self, classes: int) -> int:
        """Two for binary logits: `log(1 - p)` and `log p`."""
        return max(2, classes)

    def mapped(self, inputs: Tensor) -> Tensor:
        """The log-probabilities times the matrix, plus the intercepts."""
        logits = at_least_float32(inputs)
        if self.classes > 1:
            return K.matmul(K.log_softmax(logits, axis=-1), self.kernel) + self.bias
        log_p = K.stack([-K.softplus(logits), -K.softplus(-logits)], axis=-1)
        outputs = K.matmul(log_p, self.kernel) + self.bias
        return outputs[..., 1] - outputs[..., 0]
