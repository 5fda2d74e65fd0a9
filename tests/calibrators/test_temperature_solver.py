"""The fitted temperature against hand derivations, SciPy and scikit-learn, and what the report says."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from keras_ls.calibrators.temperature_solver import solve_temperature

WIDE = (0.01, 100.0)


def solve(logits, labels, weight=None, bounds=WIDE):
    logits = np.asarray(logits)
    weight = np.ones(len(logits)) if weight is None else np.asarray(weight)
    return solve_temperature(logits, np.asarray(labels), weight, bounds)


def nll(temperature, logits, labels, weight=None):
    """Plain NumPy: the weighted mean negative log-likelihood at one temperature, float64."""
    z = np.asarray(logits, "float64") / temperature
    labels = np.asarray(labels)
    if labels.ndim == 1:
        labels = np.eye(z.shape[1])[labels]
    return np.average(logsumexp(z, axis=1) - (labels * z).sum(axis=1), weights=weight)


def scipy_temperature(logits, labels, weight=None):
    found = minimize_scalar(
        lambda log_t: nll(math.exp(log_t), logits, labels, weight),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return math.exp(found.x)


def random_problem(seed, scale=2.0, examples=300, classes=6):
    """Labels drawn from softmax(logits / scale): the best temperature is about `scale`."""
    rng = np.random.default_rng(seed)
    logits = 2.0 * scale * rng.normal(size=(examples, classes))
    return logits, (logits / scale + rng.gumbel(size=logits.shape)).argmax(axis=1)


def test_two_examples():
    # re-derived elsewhere in plain NumPy: probabilities [[.2, .8], [.3, .7]] with labels [1, 0] have 1/T = .41777049
    report = solve(np.log([[0.2, 0.8], [0.3, 0.7]]), [1, 0])
    assert 1 / report.temperature == pytest.approx(0.41777049, abs=5e-9)


def test_one_logit_by_hand():
    # 4 examples of logit 2, 3 of them positive. The best slope b has sigmoid(2b) = 3/4, so 2b = log 3, T = 2 / log 3.
    # NLL there: the entropy of (3/4, 1/4). At T = 1: softplus(-2) for the positives, softplus(2) = 2 + softplus(-2).
    # Information on b: N z² p (1 - p) = 4 · 4 · 3/16 = 3; the standard error of T = 1/b is T² / sqrt(3).
    report = solve([2.0, 2.0, 2.0, 2.0], [1, 1, 1, 0])
    temperature = 2 / math.log(3)
    assert report.temperature == pytest.approx(temperature, rel=1e-7)
    assert report.nll_after == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-12)
    assert report.nll_before == pytest.approx(math.log1p(math.exp(-2)) + 0.25 * 2, rel=1e-12)
    assert report.standard_error == pytest.approx(temperature**2 / math.sqrt(3), rel=1e-6)
    assert (report.converged, report.at_bound, report.advice, report.weight) == (True, None, None, 4.0)


def test_three_classes_by_hand():
    # e^{ab} / (e^{ab} + 2) = 3/4 at e^{ab} = 6, with a = 5
    assert solve([[5.0, 0, 0]] * 4, [0, 0, 0, 2]).temperature == pytest.approx(5 / math.log(6), rel=1e-7)


def test_dense_labels_by_hand():
    # target (.8, .2) and logit gap 3: sigmoid(3b) = .8, so 3b = log 4
    assert solve([[3.0, 0.0]], [[0.8, 0.2]]).temperature == pytest.approx(3 / math.log(4), rel=1e-7)


def test_weights_by_hand():
    # 3 right and 1 wrong, told by weights; the example of weight 0 would make the logits anti-informative
    report = solve([2.0, 2.0, 9.0], [1, 0, 0], weight=[3.0, 1.0, 0.0])
    assert report.temperature == pytest.approx(2 / math.log(3), rel=1e-7)
    assert report.weight == 4.0


@pytest.mark.parametrize("scale", [0.05, 0.5, 1.0, 3.0, 40.0])
@pytest.mark.parametrize("seed", range(4))
def test_scipy(seed, scale):
    logits, labels = random_problem(seed, scale)
    report = solve(logits, labels)
    assert report.temperature == pytest.approx(scipy_temperature(logits, labels), rel=1e-6)
    assert report.nll_before == pytest.approx(nll(1.0, logits, labels), rel=1e-12)
    assert report.nll_after == pytest.approx(nll(report.temperature, logits, labels), rel=1e-12)
    assert report.converged and report.iterations <= 12


def test_scipy_with_weights():
    logits, labels = random_problem(5)
    weight = np.random.default_rng(5).exponential(size=len(labels))
    report = solve(logits, labels, weight)
    assert report.temperature == pytest.approx(scipy_temperature(logits, labels, weight), rel=1e-6)
    assert abs(report.temperature - solve(logits, labels).temperature) > 0.01  # the weights mattered


def test_scipy_with_dense_labels():
    logits, _ = random_problem(6)
    labels = np.random.default_rng(6).dirichlet(np.exp(logits.mean(axis=0)), len(logits))
    labels = 0.5 * labels + 0.5 * np.eye(6)[logits.argmax(axis=1)]
    assert solve(logits, labels).temperature == pytest.approx(scipy_temperature(logits, labels), rel=1e-6)


def test_scikit_learn():
    pytest.importorskip("sklearn", minversion="1.8", reason="temperature scaling came with scikit-learn 1.8")
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class GivenLogits(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, X):
            return X

        def predict(self, X):
            return X.argmax(axis=1)

    logits, labels = random_problem(7)
    peer = CalibratedClassifierCV(FrozenEstimator(GivenLogits().fit(logits, labels)), method="temperature")
    peer.fit(logits, labels)
    (calibrator,) = peer.calibrated_classifiers_[0].calibrators
    assert 1 / solve(logits, labels).temperature == pytest.approx(calibrator.beta_, rel=1e-6)


def test_many_blocks_equal_one():
    # 60,000 × 6 logits are read in three blocks: 200 copies of a problem have its temperature
    logits, labels = random_problem(8)
    once, often = solve(logits, labels), solve(np.tile(logits, (200, 1)), np.tile(labels, 200))
    assert often.temperature == pytest.approx(once.temperature, rel=1e-7)
    # of the curvature at the last pass, which a sample of many examples moves
    assert often.standard_error == pytest.approx(once.standard_error / math.sqrt(200), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_low_precision_logits_move_the_temperature(dtype):
    # finite differences of a float32 objective vanish: other solvers return T = 1 here
    logits, labels = random_problem(9, scale=2.5)
    rounded = logits.astype(dtype)
    report = solve(rounded, labels)
    assert report.temperature == pytest.approx(scipy_temperature(rounded.astype("float64"), labels), rel=1e-6)
    assert report.temperature > 2


def test_shifted_logits():
    # a constant added to all classes of an example changes nothing, not even a large one
    logits, labels = random_problem(10)
    shift = np.random.default_rng(0).choice([-1e6, 0, 1e6], (len(labels), 1))
    assert solve(logits + shift, labels).temperature == pytest.approx(solve(logits, labels).temperature, rel=1e-8)


def test_standard_error_is_the_curvature_of_the_summed_nll_in_t():
    logits, labels = random_problem(11)
    report = solve(logits, labels)
    t, h = report.temperature, 1e-3
    values = [len(labels) * nll(t + step, logits, labels) for step in (-h, 0, h)]
    curvature = (values[0] - 2 * values[1] + values[2]) / h**2
    assert report.standard_error == pytest.approx(1 / math.sqrt(curvature), rel=1e-4)


def test_standard_error_covers():
    # over 200 draws of labels, (T - 2) / standard error has about unit variance
    rng = np.random.default_rng(12)
    logits = 4.0 * rng.normal(size=(400, 5))
    z = []
    for _ in range(200):
        report = solve(logits, (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1))
        z.append((report.temperature - 2) / report.standard_error)
    assert 0.8 < np.std(z) < 1.2


def test_ruled_out_classes():
    # a class of logit -inf has no probability at any temperature: the same as without it
    assert solve([[2.0, 0.0, -np.inf]] * 4, [0, 0, 0, 1]).temperature == pytest.approx(2 / math.log(3), rel=1e-7)
    dense = [[0.75, 0.25, 0.0]]
    assert solve([[2.0, 0.0, -np.inf]], dense).temperature == pytest.approx(2 / math.log(3), rel=1e-7)


@pytest.mark.parametrize("margin", [1e-3, 1.0, 1e3])
def test_separable_examples_stop_at_the_lower_bound(margin):
    report = solve(margin * np.array([[1.0, 0, 0], [0, 1.0, 0]]), [0, 1])
    assert (report.temperature, report.at_bound, report.converged) == (0.01, "lower", False)
    assert math.isnan(report.standard_error)
    assert "classified right" in report.advice
    # NLL at the bound: log(1 + 2 exp(-margin / .01))
    assert report.nll_after == pytest.approx(math.log1p(2 * math.exp(-margin / 0.01)), abs=1e-12)


def test_a_tie_for_the_largest_logit_still_stops_at_the_lower_bound():
    # (1, 1, 0) with label 0: the likelihood grows towards 1/2 as T falls
    report = solve([[1.0, 1.0, 0.0]], [0])
    assert report.at_bound == "lower"
    assert report.nll_after == pytest.approx(math.log(2), rel=1e-12)


def test_anti_informative_logits_stop_at_the_upper_bound():
    # always wrong: the NLL log(1 + e^{2/T}) falls towards log 2 as T grows
    report = solve([[2.0, 0.0]] * 3, [1, 1, 1])
    assert (report.temperature, report.at_bound, report.converged) == (100.0, "upper", False)
    assert report.nll_after == pytest.approx(math.log1p(math.exp(0.02)), rel=1e-12)
    assert "anti-informative" in report.advice


@pytest.mark.parametrize("factor, bound", [(1e3, "upper"), (1e-3, "lower")])
def test_an_optimum_beyond_a_bound_is_not_called_separable_or_anti_informative(factor, bound):
    # informative logits, times 1000: the best temperature is about 2000
    logits, labels = random_problem(13)
    report = solve(factor * logits, labels)
    assert report.at_bound == bound
    assert "bounds" in report.advice and "informative" not in report.advice and "right" not in report.advice
    wider = solve(factor * logits, labels, bounds=(1e-6, 1e6))
    assert wider.temperature == pytest.approx(factor * solve(logits, labels).temperature, rel=1e-6)


def test_bounds_hold():
    logits, labels = random_problem(14)  # T is about 2
    assert solve(logits, labels, bounds=(0.1, 1.5)).temperature == 1.5
    assert solve(logits, labels, bounds=(3.0, 9.0)).temperature == 3.0
    inside = solve(logits, labels, bounds=(1.5, 3.0))
    assert inside.temperature == pytest.approx(solve(logits, labels).temperature, rel=1e-6)
    assert inside.at_bound is None


@pytest.mark.parametrize("bounds, temperature", [(WIDE, 1.0), ((2.0, 5.0), 2.0)])
def test_flat_logits_leave_the_temperature(bounds, temperature):
    report = solve(np.full((3, 4), 7.0), [0, 1, 2], bounds=bounds)
    assert report.temperature == temperature
    assert report.nll_before == report.nll_after == pytest.approx(math.log(4), rel=1e-12)
    assert f"T is {temperature:g}" in report.advice


def test_one_wrong_among_very_confident_examples():
    # 999 of 1000 right at a gap of 50: e^{50b} = 999 in the binary problem
    labels = np.zeros(1000, int)
    labels[0] = 1
    report = solve([[50.0, 0.0]] * 1000, labels)
    assert report.temperature == pytest.approx(50 / math.log(999), rel=1e-6)
    assert report.converged


@pytest.mark.parametrize(
    "logits, labels, weight, message",
    [
        ([[np.nan, 0.0], [1.0, 0.0]], [0, 1], None, "without NaN or .inf. Received: 1 such"),
        ([[np.inf, 0.0], [1.0, np.inf]], [0, 1], None, "without NaN or .inf. Received: 2 such"),
        ([[-np.inf, 0.0], [1.0, 0.0]], [0, 1], None, "finite logit for every label. Received: -inf"),
        ([[-np.inf, 0.0], [1.0, 0.0]], [[1e-6, 1 - 1e-6], [0.0, 1.0]], None, "finite logit for every label"),
        ([[-np.inf, 0.0], [1.0, 0.0]], [0, 1], [1e-9, 1.0], "finite logit for every label"),
        ([[-np.inf, -np.inf], [1.0, 0.0]], [0, 1], None, "finite logit for every label"),
        ([[1.0, 0.0]], [0], [0.0], "weight above 0. Received: none"),
        ([[1.0, 0.0], [0.0, 0.0]], [0, 1], [np.inf, 1.0], "without infinite numbers. Received"),
        ([[1.0, 0.0]], [[1.0, 1.0]], None, r"sum of 1. Received: \[1.0, 1.0\]"),
        ([[1.0, 0.0]], [[1.5, -0.5]], None, r"no negative numbers.*Received: \[1.5, -0.5\]"),
        ([[1.0, 0.0]], [[np.nan, 1.0]], None, r"Received: \[nan, 1.0\]"),
    ],
)
def test_errors(logits, labels, weight, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        solve(logits, labels, weight)


def test_fields_read_as_attributes_and_items():
    report = solve([2.0, 2.0, 2.0, 2.0], [1, 1, 1, 0])
    fields = dataclasses.fields(report)
    assert len(fields) == 9
    for field in (f.name for f in fields):
        assert report[field] is getattr(report, field)
    with pytest.raises(AttributeError):
        report["no_such_field"]
    with pytest.raises(AttributeError):  # frozen
        report.temperature = 1.0


def test_standard_error_of_weights_that_are_no_counts():
    # halves of counts: as many examples as their effective size, not as the counts sum to; T is the same
    logits, labels = random_problem(13)
    counts = np.random.default_rng(3).integers(1, 4, len(labels)) | 1
    counted = solve(logits, labels, counts.astype("float64"))
    size = counts.sum() ** 2 / (counts**2).sum()
    for scale in (0.5, 1e-3, 1 / counts.sum()):
        found = solve(logits, labels, scale * counts)
        assert found.temperature == pytest.approx(counted.temperature, rel=1e-6)
        expected = counted.standard_error * math.sqrt(counts.sum() / size)
        assert found.standard_error == pytest.approx(expected, rel=1e-6)
    equal, without = (solve(logits, labels, np.full(len(labels), w)) for w in (0.1, 1.0))
    assert equal.standard_error == pytest.approx(without.standard_error, rel=1e-9)
