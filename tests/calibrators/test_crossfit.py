"""`crossfit`: out-of-fold logits equal fits made by hand, and no label reaches its own logits."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.calibrators import HistogramBinning, IsotonicCalibration, TemperatureScaling, crossfit
from tests.calibrators.test_temperature_solver import random_problem, scipy_temperature


@pytest.fixture
def problem():
    logits, labels = random_problem(0, examples=90, classes=3)
    return logits.astype("float32"), labels


def test_out_of_fold_temperatures_are_scipys(problem):
    logits, labels = problem
    weight = np.random.default_rng(1).integers(1, 4, 90).astype("float32")
    found = crossfit(TemperatureScaling(), logits, labels, weight, folds=3)
    assert sorted(set(found.folds)) == [0, 1, 2] and len(found.calibrators) == 3
    for fold, fitted in enumerate(found.calibrators):
        inside = found.folds == fold
        temperature = scipy_temperature(logits[~inside].astype("float64"), labels[~inside], weight[~inside])
        assert fitted.temperature == pytest.approx(temperature, rel=1e-6)
        np.testing.assert_allclose(found.logits[inside], logits[inside] / temperature, rtol=1e-5)
    temperature = scipy_temperature(logits.astype("float64"), labels, weight)
    assert found.calibrator.temperature == pytest.approx(temperature, rel=1e-6)


@pytest.mark.parametrize("make", [IsotonicCalibration, lambda: HistogramBinning(5, "quantile", "top_label")])
def test_out_of_fold_logits_are_those_of_fits_by_hand(problem, make):
    logits, labels = problem
    found = crossfit(make(), logits, labels)
    for fold in range(5):
        inside = found.folds == fold
        by_hand = make().fit(logits[~inside], labels[~inside])
        np.testing.assert_array_equal(found.logits[inside], by_hand(logits[inside]))
    np.testing.assert_array_equal(found.calibrator(logits), make().fit(logits, labels)(logits))


def test_no_label_reaches_its_own_logits(problem):
    logits, labels = problem
    folds = np.arange(90) % 4
    before = crossfit(IsotonicCalibration, logits, labels, folds=folds)
    for example in (0, 17, 88):
        changed = labels.copy()
        changed[example] = (labels[example] + 1) % 3
        after = crossfit(IsotonicCalibration, logits, changed, folds=folds)
        own = folds == folds[example]
        np.testing.assert_array_equal(after.logits[own], before.logits[own])
        assert np.abs(after.logits[~own] - before.logits[~own]).max() > 0.01  # it does reach the others


def test_folds_hold_the_same_shares_of_each_class(problem):
    logits, _ = problem
    labels = np.repeat([0, 1, 2], [60, 20, 10])
    folds = crossfit(TemperatureScaling, logits, labels).folds
    for k, share in enumerate([12, 4, 2]):
        assert np.bincount(folds[labels == k], minlength=5).tolist() == [share] * 5


def test_the_seed_decides(problem):
    first, again, other = (crossfit(TemperatureScaling, *problem, seed=seed).folds for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_groups_stay_together(problem):
    logits, labels = problem
    groups = np.random.default_rng(2).integers(0, 12, 90)
    folds = crossfit(TemperatureScaling, logits, labels, folds=4, groups=groups).folds
    assert sorted(set(folds)) == [0, 1, 2, 3]
    for group in range(12):
        assert len(set(folds[groups == group])) == 1
    weight = (np.arange(90) % 2).astype("float32")  # also of examples that do not count
    folds = crossfit(TemperatureScaling, logits, labels, weight, folds=4, groups=[f"g{g}" for g in groups]).folds
    for group in range(12):
        assert len(set(folds[groups == group])) == 1


def test_examples_of_weight_zero_change_nothing_and_get_logits(problem):
    logits, labels = problem
    counts = np.arange(90) < 60
    alone = crossfit(TemperatureScaling, logits[:60], labels[:60])
    wrong = np.where(counts, labels, -1)
    found = crossfit(TemperatureScaling, logits, wrong, counts.astype("float32"))
    np.testing.assert_array_equal(found.folds[:60], alone.folds)
    np.testing.assert_allclose(found.logits[:60], alone.logits, rtol=1e-6)
    temperatures = np.array([fitted.temperature for fitted in found.calibrators])
    np.testing.assert_allclose(found.logits[60:], logits[60:] / temperatures[found.folds[60:], None], rtol=1e-5)
    assert found.calibrator.fit_report.weight == 60


@pytest.mark.parametrize("shape", [(90,), (90, 1)])
def test_binary_logits(problem, shape):
    logits, labels = problem
    z, y = (logits[:, 1] - logits[:, 0]).reshape(shape), (labels == 1).astype("float32")
    found = crossfit(TemperatureScaling, z, y, folds=3)
    assert found.logits.shape == shape
    for fold in range(3):
        inside = found.folds == fold
        by_hand = TemperatureScaling().fit(z[~inside], y[~inside]).temperature
        np.testing.assert_allclose(found.logits[inside], z[inside] / by_hand, rtol=1e-6)
        assert abs(y[inside].mean() - y.mean()) < 0.05  # stratified


def test_dense_labels_are_stratified_by_their_largest(problem):
    logits, labels = problem
    soft = (0.8 * np.eye(3)[labels] + 0.2 / 3).astype("float32")
    hard, dense = crossfit(TemperatureScaling, logits, labels), crossfit(TemperatureScaling, logits, soft)
    np.testing.assert_array_equal(hard.folds, dense.folds)
    inside = dense.folds == 0
    by_hand = TemperatureScaling().fit(logits[~inside], soft[~inside]).temperature
    assert dense.calibrators[0].temperature == pytest.approx(by_hand, rel=1e-6)


def test_the_calibrator_given_stays_as_it_is(problem):
    scaling = TemperatureScaling(bounds=(0.5, 1.25), name="mine")
    with pytest.warns(UserWarning, match="upper bound 1.25"):
        found = crossfit(scaling, *problem)
    assert (scaling.temperature, scaling.fit_report) == (1.0, None)
    assert all(fitted.bounds == (0.5, 1.25) for fitted in found.calibrators)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.logits = None


def test_out_of_fold_nll_is_honest():
    # labels that have nothing to do with the logits: fitted and scored on the same examples, isotonic functions seem
    # to know something; out of fold they do not
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(300, 2)).astype("float32"), rng.integers(0, 2, 300)
    found = crossfit(IsotonicCalibration(floor=0.01), logits, labels)
    nll = kls.metrics.NegativeLogLikelihood()
    nll.update_state(labels, found.logits)
    assert found.calibrator.fit_report.nll_after < np.log(2) < float(nll.result())


def test_a_rare_class_is_told(problem):
    logits, _ = problem
    labels = np.repeat([0, 1, 2], [60, 27, 3])
    with pytest.warns(UserWarning, match="the 5 folds are of class 2: .*fewer `folds`"):
        crossfit(TemperatureScaling, logits, labels)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"calibrator": keras.layers.Dense(2)}, r"a calibrator of keras_ls.calibrators.*Received: <Dense"),
        ({"calibrator": "temperature"}, "Received: 'temperature'"),
        ({"calibrator": dict}, "Received: <class 'dict'>"),
        ({"folds": 1}, "`folds` to be an integer of at least 2. Received: 1"),
        ({"folds": 91}, "as many examples that count as folds: 91. Received: 90"),
        ({"folds": np.zeros(90, int)}, "at least 2 `folds` with examples that count"),
        ({"folds": np.zeros(89, int)}, r"one integer an example: \(90,\). Received: int64 of shape \(89,\)"),
        ({"folds": np.zeros(90)}, "Received: float64"),
        ({"groups": np.arange(90) % 3}, "as many groups that count as folds: 5. Received: 3"),
        ({"groups": np.arange(10)}, r"`groups` of shape \(90,\), one an example. Received: \(10,\)"),
        ({"sample_weight": np.arange(90) < 4}, "folds: 5. Received: 4"),
        ({"logits": np.zeros((30, 3, 3)), "labels": np.zeros((30, 3), int)}, r"Received: \(30, 3, 3\).*`groups`"),
    ],
)
def test_errors(problem, arguments, message):
    given = {"calibrator": TemperatureScaling(), "logits": problem[0], "labels": problem[1], **arguments}
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        crossfit(**given)


def test_progress_that_is_no_function():
    with pytest.raises(ValueError, match=r"Expected `progress` to be a function\. Received: 3"):
        crossfit(TemperatureScaling(), [[2.0, 0.0]] * 4, [0, 1, 0, 1], folds=2, progress=3)
