"""`EnsembleTemperatureScaling` and its solver: hand derivations, SciPy, and the faces of the simplex."""

import math

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from keras_ls.calibrators import EnsembleTemperatureScaling, TemperatureScaling
from keras_ls.calibrators.calibrator import FitReport
from keras_ls.calibrators.ensemble_temperature_scaling import solve_mixture
from tests.calibrators.plain_forms import nll, warped_problem

REPORT = FitReport(converged=True, nll_before=1.0, nll_after=1.0, iterations=1, weight=1.0)


def test_mixture_by_hand():
    # p' = (.5 · .75 + .3 · .9 + .2 · .5, the rest) = (.745, .255)
    layer = EnsembleTemperatureScaling(2.0, (0.5, 0.3, 0.2))
    outputs = keras.ops.convert_to_numpy(layer(np.array([[math.log(9), 0.0]], "float32")))
    np.testing.assert_allclose(outputs, np.log([[0.745, 0.255]]), rtol=1e-6)
    # the same as one logit: log(.745 / .255)
    for shape in ((1,), (1, 1)):
        outputs = keras.ops.convert_to_numpy(layer(np.full(shape, math.log(9), "float32")))
        np.testing.assert_allclose(outputs, np.full(shape, math.log(0.745 / 0.255)), rtol=1e-5)


@pytest.mark.parametrize(
    "probabilities, weight, expected",
    [
        # of examples that only the first or only the second part explains: their shares
        ([[1.0, 0.0, 0.25], [0.0, 1.0, 0.25]], [3.0, 1.0], (0.75, 0.25, 0.0)),
        # likewise the first and the third
        ([[1.0, 0.5, 0.0], [0.0, 0.1, 1.0]], [1.0, 1.0], (0.5, 0.0, 0.5)),
        # one part is better everywhere
        ([[0.9, 0.5, 0.3], [0.8, 0.5, 0.3]], [1.0, 1.0], (1.0, 0.0, 0.0)),
        ([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], [1.0, 2.0], (0.0, 0.0, 1.0)),
        # all three: thirds explained by one each
        (np.eye(3).tolist(), [1.0, 1.0, 1.0], (1 / 3, 1 / 3, 1 / 3)),
        (np.eye(3).tolist(), [5.0, 3.0, 2.0], (0.5, 0.3, 0.2)),
    ],
)
def test_weights_by_hand(probabilities, weight, expected):
    c, report = solve_mixture(np.array(probabilities), np.array(weight)[:, None], REPORT)
    np.testing.assert_allclose(c, expected, atol=1e-9)
    assert report.converged


@pytest.mark.parametrize("seed", range(5))
def test_scipy(seed):
    # T is that of temperature scaling; given it, no mixture that SLSQP finds from several starts is better
    rng = np.random.default_rng(seed)
    logits, labels = warped_problem(seed, examples=300)
    labels = np.where(rng.uniform(size=300) < 0.1 * seed, rng.integers(0, 4, 300), labels)
    weight = rng.exponential(size=300).astype("float32")
    scaling = EnsembleTemperatureScaling().fit(logits, labels, weight)
    temperature = TemperatureScaling().fit(logits, labels, weight)
    assert scaling.temperature == temperature.temperature
    parts = [
        softmax(logits / temperature.fit_report.temperature, axis=1),
        softmax(logits, axis=1),
        np.full((300, 4), 0.25),
    ]

    def objective(c):
        return nll(np.log(sum(share * part for share, part in zip(np.abs(c) / np.abs(c).sum(), parts))), labels, weight)

    starts = [np.ones(3), [1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1]]
    best = min(minimize(objective, start, method="Nelder-Mead", options={"fatol": 1e-13}).fun for start in starts)
    assert scaling.fit_report.nll_after == pytest.approx(best, abs=1e-9)
    assert scaling.fit_report.converged
    assert nll(scaling(logits), labels, weight) == pytest.approx(best, abs=1e-6)
    assert scaling.coefficients == pytest.approx(np.clip(scaling.coefficients, 0, 1))
    assert sum(scaling.coefficients) == pytest.approx(1, abs=1e-6)


def test_dense_labels():
    # a dense target counts as its classes, weighted: a mixture of hard labels
    logits, labels = warped_problem(8, examples=200)
    hard = np.random.default_rng(8).uniform(size=200) < 0.5
    other = np.where(hard, labels, (labels + 1) % 4)
    dense = EnsembleTemperatureScaling().fit(logits, 0.75 * np.eye(4)[labels] + 0.25 * np.eye(4)[other])
    weight = np.repeat([3.0, 1.0], 200)
    integer = EnsembleTemperatureScaling().fit(np.tile(logits, (2, 1)), np.concatenate([labels, other]), weight)
    assert dense.fit_report.nll_after == pytest.approx(integer.fit_report.nll_after, abs=1e-9)
    np.testing.assert_allclose(dense.coefficients, integer.coefficients, atol=1e-4)


def test_decisions_stay():
    logits, labels = warped_problem(9)
    scaling = EnsembleTemperatureScaling().fit(logits, labels)
    outputs = keras.ops.convert_to_numpy(scaling(logits))
    np.testing.assert_array_equal(outputs.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(np.exp(outputs).sum(axis=1), 1, rtol=1e-5)


def test_probabilities_stay_before_fit():
    logits = np.array([[1.0, -2.0, 0.5], [90.0, 0.0, -90.0]], "float32")
    np.testing.assert_allclose(EnsembleTemperatureScaling()(logits), log_softmax(logits, axis=1), rtol=1e-5)


@pytest.mark.parametrize("coefficients", [(0.5, 0.5), (0.5, 0.6, 0.0), (1.5, -0.5, 0.0), (np.nan, 0.5, 0.5)])
def test_errors(coefficients):
    with pytest.raises(ValueError, match=r"three numbers.*sum 1. Received"):
        EnsembleTemperatureScaling(coefficients=coefficients)
