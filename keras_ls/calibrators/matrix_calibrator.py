"""What matrix scaling and Dirichlet calibration share: the matrix, and its regularisation."""

import numpy as np

from keras_ls.calibrators.affine_calibrator import AffineCalibrator
from keras_ls.ops.checks import checked_non_negative


class MatrixCalibrator(AffineCalibrator):
    """An `AffineCalibrator` with a matrix and ODIR, the penalty of its off-diagonal and of the intercepts.

    Args:
        off_diagonal: λ of `λ · Σ_{j≠k} W_jk² / (K (K - 1))`, in nats.
        intercept: μ of `μ · Σ_k b_k² / K`, in nats.
        from_logits: whether a call and `fit` are given logits (default), or probabilities, as of a model that ends in a
            softmax or sigmoid.
        name: name of the layer.
    """

    def __init__(self, off_diagonal=10.0, intercept=1.0, from_logits=True, name=None, **kwargs):
        super().__init__(from_logits, name, **kwargs)
        self.off_diagonal = checked_non_negative("off_diagonal", off_diagonal)
        self.intercept = checked_non_negative("intercept", intercept)
        self.kernel = self.bias = None

    def make_variables(self, columns):
        """The identity: a matrix of 1 on its diagonal, intercepts of 0."""
        shape = (columns, columns)
        self.kernel = self.add_weight(shape=shape, initializer="identity", trainable=False, name="kernel")
        self.bias = self.add_weight(shape=(columns,), initializer="zeros", trainable=False, name="bias")

    def penalty(self, columns):
        """Of each parameter, `[K + 1, K]`."""
        matrix = self.off_diagonal / (columns * (columns - 1)) * (1 - np.eye(columns))
        return np.vstack([matrix, np.full(columns, self.intercept / columns)])

    def get_config(self):
        """Constructor arguments, for serialisation; the fit is in the weights."""
        return {**super().get_config(), "off_diagonal": self.off_diagonal, "intercept": self.intercept}
