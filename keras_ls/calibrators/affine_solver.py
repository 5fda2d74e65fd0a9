"""Affine maps of logits with the least (penalised) negative log-likelihood: L-BFGS with exact gradients, in float64."""

import functools
import math

import numpy as np

from keras_ls.calibrators.calibrator import FitReport
from keras_ls.calibrators.example_blocks import ExampleBlocks, label_values, one_blas_thread
from keras_ls.calibrators.temperature_solver import solve_temperature

_MAX_ITERATIONS = 1000
_ROUNDS = 3  # each in coordinates of its own
_GRADIENT = 1e-8
_LARGEST = 1e100
_REMAINING_NLL = 1e-10  # by which a converged fit may still be above the least objective


@one_blas_thread()
def solve_affine(labels, logits, weight, penalty, transform=None, bounds=(0.01, 100.0), start=None):
    """Minimises the mean NLL of `softmax(f(z) W + b)` plus `Σ penalty · (θ - identity)²` over `θ = [W; b]`.

    The shape of `penalty` says which map it is: `[K + 1, K]` a matrix W `[K, K]` (from, to) and the intercepts as its
    last row; `[2, K]` a factor and an intercept of each class, `f(z) · a + b`; `[2, 1]` those of the single logit of
    binary predictions. The problem is convex. It starts from the best temperature, so that the NLL ends no higher than
    there where the penalty leaves the scale free, in coordinates in which the curvature at the start is about 1. The
    scale of the logits changes nothing but that of the factors, where no penalty holds them: the start is the best of
    all temperatures.

    Args:
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits; NumPy, as all.
        logits: `[N, K]`, or `[N]` for binary logits.
        weight: `[N]`.
        penalty: of each parameter, against a mean NLL in nats.
        transform: f, of finite float64 logits `[n, K]`; None for the logits themselves.
        bounds: (lower, upper) of the temperature that is the start, for logits on a scale of about 1.
        start: θ to begin with, such as the optimum of nearly the same examples; None for the best temperature.

    Returns:
        `(W or a, b, FitReport)`.

    Raises:
        ValueError: as `solve_temperature`, and for logits that are infinite or beyond ±1e100.
    """
    form = (PerClassForm if len(penalty) == 2 else MatrixForm)(penalty)
    blocks = ExampleBlocks(labels, logits, weight, functools.partial(_features, transform))
    square, mass = np.split(blocks.sum(_squares_and_masses), [1])
    scale = max(math.sqrt(square[0] / mass.sum() / form.classes), 1e-30)
    # the best temperature, wherever it is: from a saturated softmax no step leads on
    wide = bounds[0] * min(1.0, scale), bounds[1] * max(1.0, scale)
    temperature = None if start is not None else solve_temperature(logits, labels, weight, wide)
    total = mass.sum() if temperature is None else temperature.weight

    def at(theta):
        nll, wrong, *_ = sums = blocks.sum(functools.partial(_sums, form, theta)) / total
        return nll, wrong, sums[2:].reshape(theta.shape)

    def objective(theta):
        nll, _, gradient = at(theta)
        excess = theta - form.identity
        return nll + np.sum(penalty * excess**2), gradient + 2 * penalty * excess

    theta = start if temperature is None else form.identity / temperature.temperature  # its intercepts are 0
    if temperature is not None and penalty.any():
        theta = min(theta, form.identity, key=lambda start: objective(start)[0])
    iterations = 0
    for i in range(_ROUNDS):
        # near the end, in coordinates of curvature 1, half of gradient² is what remains
        enough = math.sqrt(0.2 * _REMAINING_NLL / theta.size) if temperature is None and i == 0 else _GRADIENT
        found, theta = _lbfgs(form, blocks, objective, theta, total, max(enough, _GRADIENT))
        iterations += int(found.nit)
        # half of gradient² / curvature, with the curvature that the solver has seen
        settled = 0.5 * found.jac @ found.hess_inv.dot(found.jac) <= _REMAINING_NLL
        nll, wrong, _ = at(theta)
        if settled or wrong == 0 or found.nit == 0:
            break
    separable = wrong == 0 and not np.all(penalty[:-1][form.identity[:-1] != 0])
    report = FitReport(
        converged=bool(settled and not separable),
        nll_before=float(at(form.identity)[0]) if temperature is None else temperature.nll_before,
        nll_after=float(nll),
        iterations=iterations,
        weight=float(total),
        advice=_advice(separable, settled, np.flatnonzero(mass == 0) if not penalty[-1].all() else (), form.per_class),
    )
    return theta[0] if form.per_class else theta[:-1], theta[-1], report


def _lbfgs(form, blocks, objective, start, total, gradient):
    """SciPy's result, and the parameters: L-BFGS in coordinates in which the curvature at the start is about 1."""
    from scipy.optimize import minimize

    curvature = blocks.sum(functools.partial(_curvature, form, start)) / total
    forward, backward = form.scaling(curvature)

    def scaled(v):
        value, gradient = objective(start + forward(v.reshape(start.shape)))
        return value, backward(gradient).ravel()

    options = {"maxiter": _MAX_ITERATIONS, "maxfun": 10 * _MAX_ITERATIONS, "maxcor": 20, "ftol": 0.0, "gtol": gradient}
    found = minimize(scaled, np.zeros(start.size), jac=True, method="L-BFGS-B", options=options)
    return found, start + forward(found.x.reshape(start.shape))


def _features(transform, logits):
    if not np.isfinite(logits).all():
        raise ValueError(
            "Expected finite logits. Received: -inf, which factors and sums of logits cannot keep. Use "
            "TemperatureScaling, or replace -inf by a large negative number such as -50."
        )
    if np.abs(logits).max() > _LARGEST:
        raise ValueError(
            f"Expected logits of at most {_LARGEST:g}, up to the sign. Received: {np.abs(logits).max():.1g}. Divide "
            "them by a constant, or replace what stands for -inf by a number such as -50."
        )
    return logits if transform is None else transform(logits)


def _softmax(form, theta, z):
    """Shifted outputs `[n, K]` of the map, their softmax and the log of its normalisation."""
    outputs = form.outputs(z, theta)
    outputs -= outputs.max(axis=1, keepdims=True)
    p = np.exp(outputs)
    total = p @ np.ones(p.shape[1])
    p /= total[:, None]
    return outputs, p, np.log(total)


def _squares_and_masses(z, labels, weight):
    """The sum of the squared distances of logits from the mean of their example, and the weight of each label."""
    centred = z - z.mean(axis=1, keepdims=True)
    mass = weight @ labels if labels.ndim == 2 else np.bincount(labels, weight, minlength=z.shape[1])
    return np.concatenate([[weight @ np.einsum("ij,ij->i", centred, centred)], mass])


def _curvature(form, theta, z, labels, weight):
    """What `form.scaling` needs."""
    _, p, _ = _softmax(form, theta, z)
    return form.curvature(z, p, weight)


def _sums(form, theta, z, labels, weight):
    """NLL, examples whose label has not the largest output, and the gradient."""
    outputs, residual, log_total = _softmax(form, theta, z)
    picked = label_values(outputs, labels)
    if labels.ndim == 2:
        residual -= labels
    else:
        residual[np.arange(len(labels)), labels] -= 1
    residual *= weight[:, None]
    return np.concatenate(
        [[weight @ (log_total - picked), np.count_nonzero(picked)], form.gradient(z, residual).ravel()]
    )


def _advice(separable, settled, absent, per_class):
    if separable:
        return (
            "Every example that counts is classified right after calibration, so that the likelihood grows for ever "
            "with the scale of the logits. Fit on more or harder held-out data"
            f"{', or with a penalty' if per_class else '; penalties leave the scale free'}."
        )
    if not settled:
        return (
            f"The fit did not settle in {_MAX_ITERATIONS} iterations; its parameters are the best so far. "
            "Fit on more data, or with a (larger) penalty."
        )
    if len(absent):
        return (
            f"No example has the label {absent[0]}{' (and others)' if len(absent) > 1 else ''}: without a penalty its "
            "intercept falls for ever, and so does the probability of that class. Fit on data that have every class."
        )
    return None


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
