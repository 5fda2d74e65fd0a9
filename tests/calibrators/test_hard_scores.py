"""Iterative calibrators on saturated, tiny, separable and constant scores: least NLL, scale, and what they say."""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from keras_ls.calibrators import (
    DirichletCalibration,
    EnsembleTemperatureScaling,
    HistogramBinning,
    IsotonicCalibration,
    MatrixScaling,
    TemperatureScaling,
    VectorScaling,
    crossfit,
)
from keras_ls.calibrators.ensemble_temperature_scaling import solve_mixture
from keras_ls.calibrators.example_blocks import ExampleBlocks
from keras_ls.calibrators.temperature_solver import shifted, solve_blocks, solve_temperature
from tests.calibrators.plain_forms import least, nll, warped_problem

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WIDE = (1e-12, 1e12)
ITERATIVE = {
    "temperature": lambda: TemperatureScaling(bounds=WIDE),
    "ensemble": lambda: EnsembleTemperatureScaling(bounds=WIDE),
    "vector": VectorScaling,
    "matrix": lambda: MatrixScaling(off_diagonal=0.0, intercept=0.0),
    "dirichlet": lambda: DirichletCalibration(off_diagonal=0.0, intercept=0.0),
}
Z, Y = warped_problem(examples=200, classes=3)
RNG = np.random.default_rng(0)
HARD = {
    "plain": (Z, Y),
    "float16": (Z.astype("float16"), Y),
    "times 1e5": (1e5 * Z, Y),
    "times 1e10": (1e10 * Z, Y),
    "times 1e-6": (1e-6 * Z, Y),
    "offsets": (Z + RNG.normal(0, 1e4, (200, 1)), Y),
    "some huge": (Z * np.where(np.arange(200) < 5, 1e9, 1.0)[:, None], Y),
    "saturated": (np.where(np.eye(3)[np.roll(Y, 1)] > 0, 0.0, -1e10), Y),
    "separable": (Z, Z.argmax(axis=1)),
    "separable and huge": (1e10 * Z, Z.argmax(axis=1)),
    "constant": (np.full((6, 3), 7.0), np.array([0, 1, 2, 0, 1, 1])),
    "one class": (Z, np.zeros(200, int)),
    "one example": (Z[:1], np.array([Z[0].argmin()])),
    "fewer examples than classes": (warped_problem(2, 4, 8)[0], np.array([0, 5, 2, 0])),
    "binary": (3 * RNG.normal(size=100), RNG.integers(0, 2, 100)),
    "binary and huge": (1e10 * np.repeat([2.0, -1.0], 4), np.array([1, 1, 1, 0, 1, 0, 0, 0])),
    "dense": (1e5 * Z, 0.8 * np.eye(3)[Y] + 0.2 / 3),
}


def best_temperature(logits, labels):
    """The least NLL of all temperatures: each decade, then SciPy's bounded search about the best of them."""
    logits = np.asarray(logits, "float64")
    decades = np.arange(-12, 13)
    best = decades[np.argmin([nll(logits / 10.0**d, labels) for d in decades])]
    bounds = max(best - 1, -12), min(best + 1, 12)
    found = minimize_scalar(lambda d: nll(logits / 10.0**d, labels), bounds=bounds, method="bounded")
    return min(found.fun, nll(logits / 10.0**best, labels))


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kind", ITERATIVE)
def test_no_worse_than_the_start_nor_than_any_temperature(kind, case):
    # every one of these maps contains all temperatures: one that ends above the best of them has missed its optimum
    if kind == "matrix" and np.ndim(HARD[case][0]) == 1:
        pytest.skip("a matrix needs two classes")
    logits, labels = HARD[case]
    report = ITERATIVE[kind]().fit(logits, labels).fit_report
    best = best_temperature(logits, labels)
    assert report.nll_before == pytest.approx(nll(logits, labels), rel=1e-6, abs=1e-9)
    assert report.nll_after <= report.nll_before + 1e-9
    # log-probabilities of tiny logits have lost digits to log K
    assert report.nll_after <= best + 1e-6 * (1 + best)
    if kind == "temperature":
        assert report.nll_after == pytest.approx(best, rel=1e-6, abs=1e-9)
    assert report.converged or report.advice


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e5, 1e12, 1e30])
@pytest.mark.parametrize("kind", ["vector", "matrix"])
def test_the_scale_divides_the_factors(kind, scale):
    plain, scaled = ITERATIVE[kind]().fit(Z, Y), ITERATIVE[kind]().fit(scale * Z, Y)
    assert scaled.fit_report.converged
    outputs, expected = (keras.ops.convert_to_numpy(layer(z)) for layer, z in ((scaled, scale * Z), (plain, Z)))
    # what is added to all outputs of an example changes nothing, and no data tell it
    centred = [values - values.mean(axis=1, keepdims=True) for values in (outputs, expected)]
    np.testing.assert_allclose(*centred, atol=2e-3)
    assert scaled.fit_report.nll_after == pytest.approx(plain.fit_report.nll_after, abs=1e-9)


def test_vector_scaling_of_huge_scores_is_scipys_of_the_scores_divided():
    def objective(theta):
        return nll(Z * theta[:3] + theta[3:], Y)

    found = VectorScaling().fit(1e12 * Z, Y).fit_report
    assert found.converged
    assert found.nll_after == pytest.approx(least(objective, np.repeat([1.0, 0.0], 3)), abs=1e-8)


def test_platt_scaling_of_huge_scores_by_hand():
    # at 2e10, 3 of 4 are positive; at -1e10, 1 of 4: a · 3e10 = 2 log 3; the NLL is the entropy of (3/4, 1/4)
    scaling = VectorScaling().fit(*HARD["binary and huge"])
    assert float(scaling.scale[0]) == pytest.approx(2 * np.log(3) / 3e10, rel=1e-5)
    assert scaling.fit_report.nll_after == pytest.approx(np.log(4) - 0.75 * np.log(3), abs=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3])
def test_a_penalty_that_holds_the_matrix_leaves_the_diagonal_free(scale):
    # the off-diagonal of logits times 1e-3 costs a million times more: the optimum is that of a factor a class and
    # penalised intercepts, found here by SciPy
    def objective(theta):
        return nll(Z * theta[:3] + theta[3:], Y) + (theta[3:] ** 2).sum() / 3

    scaling = MatrixScaling(off_diagonal=10.0).fit(scale * Z, Y)
    report, bias = scaling.fit_report, keras.ops.convert_to_numpy(scaling.bias)
    expected = least(objective, np.repeat([0.5, 0.0], 3))
    assert report.converged
    assert report.nll_after + (bias**2).sum() / 3 == pytest.approx(expected, abs=1e-4 if scale == 1e-3 else 1e-7)


@pytest.mark.parametrize("gap", [1.0, 4e3, 1e7, 1e12, 1e30, 3e38])
def test_a_tie_of_gradients_takes_the_least_nll(gap):
    # (gap, 0) three times with labels 0, 0, 1: sigmoid(gap / T) = 2/3 at T = gap / log 2, or T is the upper bound 100,
    # where the third loses gap / 100 nats beside 3 log(1 + e^{-gap / 100})
    z, y = np.array([[gap, 0.0]] * 3), np.array([0, 0, 1])
    report = solve_blocks(ExampleBlocks(y, z, np.ones(3), shifted), (0.01, 100.0))
    temperature = min(gap / np.log(2), 100.0)
    expected = np.log1p(np.exp(-gap / temperature)) + gap / temperature / 3
    assert report.temperature == pytest.approx(temperature, rel=1e-6)
    assert report.nll_after == pytest.approx(expected, rel=1e-9)
    assert (report.at_bound, report.converged) == ((None, True) if temperature < 100 else ("upper", False))
    if temperature == 100:  # two of three are right: not anti-informative
        assert "widen `bounds`" in report.advice and "anti-informative" not in report.advice


def test_examples_on_another_scale_do_not_hide_the_rest():
    # of gaps 1e12 all are right; of gaps 1, 3 of 4: the optimum is e^{1/T} = 3, which no curvature at T = 1e12 tells
    z = np.array([[1e12, 0.0]] * 4 + [[1.0, 0.0]] * 4)
    report = solve_temperature(z, np.array([0, 0, 0, 0, 0, 0, 0, 1]), np.ones(8), WIDE)
    assert report.temperature == pytest.approx(1 / np.log(3), rel=1e-6)


@pytest.mark.parametrize("bounds", [(2.0, 5.0), (0.1, 0.5), (1.0, 1.0 + 1e-12), (1e-37, 1e37), (1e-12, 1e-11)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_bounds(bounds, scale):
    # convex in 1/T: the best within bounds is the best of all, moved to the nearer bound
    free = scale * solve_temperature(Z, Y, np.ones(200), (0.01, 100.0)).temperature
    report = solve_temperature(scale * Z, Y, np.ones(200), bounds)
    assert report.temperature == pytest.approx(np.clip(free, *bounds), rel=1e-6)
    assert report.nll_after == pytest.approx(nll(scale * Z / report.temperature, Y), rel=1e-9)
    assert report.converged == (bounds[0] < free < bounds[1])


@pytest.mark.parametrize("weight", [1e-140, 1e-30, 1e30, 1e140])
def test_the_scale_of_the_weights_changes_nothing(weight):
    # in float64, as the solvers take them
    report = solve_temperature(Z, Y, np.full(200, weight), (0.01, 100.0))
    assert report.temperature == pytest.approx(solve_temperature(Z, Y, np.ones(200), (0.01, 100.0)).temperature)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("weight", [1e-300, 1e300])
def test_weights_whose_squares_float64_cannot_hold_are_refused(weight):
    with pytest.raises(ValueError, match=r"Expected `sample_weight` .* Received: numbers beyond float64"):
        solve_temperature(Z, Y, np.full(200, weight), (0.01, 100.0))


@pytest.mark.parametrize("make", [*ITERATIVE.values(), IsotonicCalibration, HistogramBinning])
def test_scores_beyond_what_can_be_fitted_are_refused(make):
    with pytest.raises(ValueError, match=r"Expected .*logit.* Received.* by a constant"):
        make().fit(1e200 * Z, Y)


def test_factors_beyond_float32_and_bounds_beyond_it_are_refused():
    with pytest.raises(ValueError, match=r"factors float32 can hold.*Received: factors up to .*Divide the logits"):
        VectorScaling().fit(1e38 * Z, Y)
    with pytest.raises(ValueError, match=r"Expected `bounds` between 1e-37 and 1e.37.*Received"):
        TemperatureScaling(bounds=(1e-40, 1.0))


def test_the_mixture_settles_to_its_gap_where_the_nll_is_equal_in_every_digit():
    # 9000 examples, whose gap falls below 1e-10 only by steps that the NLL no longer shows
    rng = np.random.default_rng(1)
    for _ in range(20):
        p = np.concatenate([rng.dirichlet([1, 4], (9000, 2))[..., 0], np.full((9000, 1), 1e-3)], axis=1)
        found = TemperatureScaling().fit(Z, Y).fit_report
        c, report = solve_mixture(p, np.ones((9000, 1)), found)
        assert (p / (p @ c)[:, None]).mean(axis=0).max() - 1 < 1e-10  # no mixture is better by more
        assert report.converged


def test_crossfit_of_huge_scores_is_that_of_the_scores_divided():
    huge, plain = (crossfit(VectorScaling, z, Y, folds=2).logits for z in (1e12 * Z, Z))
    assert nll(huge, Y) == pytest.approx(nll(plain, Y), abs=1e-5)
