"""The two forms of an affine map of logits: one factor a class, or a matrix; their gradients and curvatures."""

import numpy as np


class PerClassForm:
    """`z · a + b`, of `θ = [a; b]`, `[2, K]`; for binary logits `[0, z · a + b]`, `[2, 1]`.

    Args:
        penalty: of each parameter, the shape of θ.
    """

    per_class = True

    def __init__(self, penalty):
        self.penalty = penalty
        columns = penalty.shape[1]
        self.identity = np.stack([np.ones(columns), np.zeros(columns)])
        self.classes = max(2, columns)
        self._binary = columns == 1

    def outputs(self, z, theta):
        """The map of `[n, K]`."""
        outputs = z * theta[0] + theta[1]
        if self._binary:  # the first logit of the two stays 0
            outputs[:, 0] = 0
        return outputs

    def gradient(self, z, residual):
        """Derivatives by θ, where those by the outputs are `residual`."""
        z, residual = self._free(z), self._free(residual)
        return np.stack([np.einsum("ij,ij->j", residual, z), residual.sum(axis=0)])

    def curvature(self, z, p, weight):
        """Of each class: the sums of the second derivatives by a twice, by a and b, by b twice; and of the squares."""
        z, p = self._free(z), self._free(p)
        q = weight[:, None] * p * (1 - p)
        return np.stack(
            [np.einsum("ij,ij,ij->j", q, z, z), np.einsum("ij,ij->j", q, z), q.sum(axis=0), weight @ (z * z)]
        )

    def scaling(self, curvature):
        """Functions from and to coordinates in which the objective's curvature is about 1: v to θ, gradients back."""
        aa, ab, bb, square = curvature.reshape(4, -1)
        # each class has a scale of its own; a class that is predicted for sure has no curvature
        aa = aa + 2 * self.penalty[0] + 1e-12 * square + 1e-300
        bb = bb + 2 * self.penalty[1] + 1e-12
        # inverse Cholesky factor of [[aa, ab], [ab, bb]], each class for itself
        first, cross = aa**-0.5, ab / aa
        second = np.maximum(bb - ab * cross, 1e-9 * bb) ** -0.5

        def forward(v):
            b = second * v[1]
            return np.stack([first * v[0] - cross * b, b])

        def backward(g):
            return np.stack([first * g[0], second * (g[1] - cross * g[0])])

        return forward, backward

    def _free(self, values):
        return values[:, 1:] if self._binary else values


class MatrixForm:
    """`z W + b`, of `θ = [W; b]`, `[K + 1, K]`.

    Args:
        penalty: of each parameter, the shape of θ.
    """

    per_class = False

    def __init__(self, penalty):
        self.penalty = penalty
        self.classes = penalty.shape[1]
        self.identity = np.eye(*penalty.shape)

    def outputs(self, z, theta):
        """The map of `[n, K]`."""
        return z @ theta[:-1] + theta[-1]

    def gradient(self, z, residual):
        """Derivatives by θ, where those by the outputs are `residual`."""
        return np.vstack([z.T @ residual, residual.sum(axis=0)])

    def curvature(self, z, p, weight):
        """Sums of `x xᵀ` with `x = [z, 1]`, and of `diag(p) - p pᵀ`, in one list."""
        x = np.concatenate([z, np.ones((len(z), 1))], axis=1)
        weighted = weight[:, None] * p
        return np.concatenate(
            [((weight[:, None] * x).T @ x).ravel(), (np.diag(weighted.sum(axis=0)) - weighted.T @ p).ravel()]
        )

    def scaling(self, curvature):
        """Functions from and to coordinates in which the objective's curvature is about 1: v to θ, gradients back.

        The Hessian is nearly `G ⊗ S + 2 Q ⊗ I`: G the mean of `x xᵀ`, S that of `diag(p) - p pᵀ`, Q the penalty of each
        row of θ. One basis makes both parts diagonal: eigenvectors of S, and those of G relative to `G + Q`.
        """
        from scipy.linalg import eigh

        inputs, outputs = self.classes + 1, self.classes
        g, s = np.split(curvature, [inputs**2])
        g = g.reshape(inputs, inputs)
        q = self.penalty.max(axis=1)
        s = s.reshape(outputs, outputs)
        own = np.outer(np.diag(g), np.diag(s))
        if (2 * q[:-1] > 1e3 * own[:-1].max(axis=1)).any():  # beside a penalty that large its row is not one of equals
            return _each_alone(own + 2 * self.penalty)
        both = g + np.diag(q)
        unit = np.maximum(np.diag(both), 1e-300) ** -0.5  # of each input, whatever its scale
        units = np.outer(unit, unit)
        shares, basis = eigh(g * units, both * units + 1e-13 * inputs * np.eye(inputs))
        basis *= unit[:, None]
        spread, rotation = eigh(s)
        diagonal = np.outer(shares, spread) + 2 * (q @ basis**2)[:, None]
        # without a penalty, adding one number to all logits changes nothing: leave such directions alone
        flat = diagonal <= 1e-13 * diagonal.max()
        scale = np.where(flat, 0.0, np.where(flat, 1.0, diagonal) ** -0.5)

        def forward(v):
            return basis @ (v * scale) @ rotation.T

        def backward(gradient):
            return (basis.T @ gradient @ rotation) * scale

        return forward, backward


def _each_alone(diagonal):
    """The functions of `scaling` from the diagonal of the Hessian alone."""
    scale = np.maximum(diagonal, 1e-300) ** -0.5
    return lambda v: v * scale, lambda gradient: gradient * scale
