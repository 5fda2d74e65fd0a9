"""Calibrators the slow way: NumPy float64 and general minimisers, no code shared with the package."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax


def nll(logits, labels, weight=None):
    """Mean negative log-likelihood of integer or dense labels; `[N]` logits are binary."""
    logits, labels = np.asarray(logits, "float64"), np.asarray(labels)
    if logits.ndim == 1:
        logits, labels = np.stack([0 * logits, logits], 1), np.stack([1 - labels, labels], 1)
    if labels.ndim == 1:
        labels = np.eye(logits.shape[1])[labels]
    return np.average(-(labels * log_softmax(logits, axis=1)).sum(axis=1), weights=weight)


def least(objective, start):
    """The least value of a smooth convex function, by finite differences and two methods in turn."""
    found = minimize(objective, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    return minimize(objective, found.x, method="Powell", options={"xtol": 1e-12, "ftol": 1e-15, "maxiter": 5000}).fun


def odir(kernel, bias, off_diagonal, intercept):
    """The penalty of a matrix and intercepts, term after term as printed."""
    k = len(bias)
    total = 0.0
    for i in range(k):
        for j in range(k):
            if i != j:
                total += off_diagonal * kernel[i][j] ** 2 / (k * (k - 1))
        total += intercept * bias[i] ** 2 / k
    return total


def warped_problem(seed=0, examples=400, classes=4):
    """Logits whose right map is an affine one with unequal factors and some mixing, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = 3.0 * rng.normal(size=(examples, classes))
    kernel = np.diag(np.linspace(0.2, 0.8, classes)) + 0.1 * rng.normal(size=(classes, classes))
    right = logits @ kernel + np.linspace(-1, 1, classes)
    return logits, (right + rng.gumbel(size=right.shape)).argmax(axis=1)
