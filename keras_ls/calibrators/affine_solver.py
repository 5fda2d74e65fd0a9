"""Affine maps of logits with the least (penalised) negative log-likelihood: L-BFGS with exact gradients, in float64."""

import functools

import numpy as np

from keras_ls.calibrators.affine_forms import MatrixForm, PerClassForm
from keras_ls.calibrators.example_blocks import ExampleBlocks, label_values, one_blas_thread
from keras_ls.calibrators.fit_report import FitReport
from keras_ls.calibrators.temperature_solver import solve_temperature

_MAX_ITERATIONS = 1000
_REMAINING_NLL = 1e-10  # by which a converged fit may still be above the least objective


@one_blas_thread()
def solve_affine(labels, logits, weight, penalty, transform=None, bounds=(0.01, 100.0)):
    """Minimises the mean NLL of `softmax(f(z) W + b)` plus `Σ penalty · (θ - identity)²` over `θ = [W; b]`.

    The shape of `penalty` says which map it is: `[K + 1, K]` a matrix W `[K, K]` (from, to) and the intercepts as its
    last row; `[2, K]` a factor and an intercept of each class, `f(z) · a + b`; `[2, 1]` those of the single logit of
    binary predictions. The problem is convex. It starts from the best temperature, so that the NLL ends no higher than
    there where the penalty leaves the scale free, in coordinates in which the curvature at the start is about 1.

    Args:
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits; NumPy, as all.
        logits: `[N, K]`, or `[N]` for binary logits.
        weight: `[N]`.
        penalty: of each parameter, against a mean NLL in nats.
        transform: f, of finite float64 logits `[n, K]`; None for the logits themselves.
        bounds: (lower, upper) of the temperature that is the start.

    Returns:
        `(W or a, b, FitReport)`.

    Raises:
        ValueError: as `solve_temperature`, and for infinite logits.
    """
    from scipy.optimize import minimize

    temperature = solve_temperature(logits, labels, weight, bounds)
    form = (PerClassForm if len(penalty) == 2 else MatrixForm)(penalty)
    blocks = ExampleBlocks(labels, logits, weight, functools.partial(_features, transform))
    start = form.identity / temperature.temperature  # its intercepts are 0
    sums = blocks.sum(functools.partial(_masses_and_curvature, form, start))
    (total,), mass, curvature = np.split(sums, [1, 1 + form.classes])
    forward, backward = form.scaling(curvature / total)

    def at(theta):
        nll, wrong, *_ = sums = blocks.sum(functools.partial(_sums, form, theta)) / total
        return nll, wrong, sums[2:].reshape(theta.shape)

    def objective(v):
        theta = start + forward(v.reshape(start.shape))
        nll, _, gradient = at(theta)
        excess = theta - form.identity
        return nll + np.sum(penalty * excess**2), backward(gradient + 2 * penalty * excess).ravel()

    options = {"maxiter": _MAX_ITERATIONS, "maxfun": 10 * _MAX_ITERATIONS, "maxcor": 20, "ftol": 0.0, "gtol": 1e-8}
    found = minimize(objective, np.zeros(start.size), jac=True, method="L-BFGS-B", options=options)
    theta = start + forward(found.x.reshape(start.shape))
    nll, wrong, _ = at(theta)
    # half of gradient² / curvature, with the curvature that the solver has seen
    settled = 0.5 * found.jac @ found.hess_inv.dot(found.jac) <= _REMAINING_NLL
    separable = wrong == 0 and not np.all(penalty[:-1][form.identity[:-1] != 0])
    report = FitReport(
        converged=bool(settled and not separable),
        nll_before=temperature.nll_before,
        nll_after=float(nll),
        iterations=int(found.nit),
        weight=float(total),
        advice=_advice(separable, settled, np.flatnonzero(mass == 0) if not penalty[-1].all() else (), form.per_class),
    )
    return theta[0] if form.per_class else theta[:-1], theta[-1], report


def _features(transform, logits):
    if not np.isfinite(logits).all():
        raise ValueError(
            "Expected finite logits. Received: -inf, which factors and sums of logits cannot keep. Use "
            "TemperatureScaling, or replace -inf by a large negative number such as -50."
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


def _masses_and_curvature(form, theta, z, labels, weight):
    """The weight of all and of each label, and what `form.scaling` needs."""
    _, p, _ = _softmax(form, theta, z)
    mass = weight @ labels if labels.ndim == 2 else np.bincount(labels, weight, minlength=z.shape[1])
    return np.concatenate([[weight.sum()], mass, form.curvature(z, p, weight).ravel()])


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
