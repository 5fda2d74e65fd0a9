"""Fits from a model and a dataset that memory cannot hold: equal results, one pass, bounded arrays, clear errors."""

import errno
import tempfile
import tracemalloc

import keras
import numpy as np
import pytest

from keras_ls.calibrators import (
    DirichletCalibration,
    EnsembleTemperatureScaling,
    MatrixScaling,
    TemperatureScaling,
    VectorScaling,
    example_blocks,
    predictions,
)
from tests.calibrators.plain_forms import warped_problem


@pytest.fixture
def small_budget(monkeypatch):
    for module in (example_blocks, predictions):
        monkeypatch.setattr(module, "BUDGET", 300)


def identity_model(classes=4):
    return keras.Sequential([keras.Input((classes,)), keras.layers.Activation("linear")])


class Counted(keras.utils.PyDataset):
    """Batches of 50 that count how often the first is read."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays, self.readings = arrays, 0

    def __len__(self):
        return 8

    def __getitem__(self, index):
        self.readings += index == 0
        return tuple(array[50 * index : 50 * index + 50] for array in self.arrays)


@pytest.mark.parametrize("seed", range(4))
def test_a_temperature_is_that_of_the_arrays(seed, small_budget):
    logits, labels = warped_problem(seed)
    logits = (logits * [0.1, 1, 4, 20][seed]).astype("float32")
    weight = np.random.default_rng(seed).integers(0, 4, 400).astype("float32")
    data = Counted(logits, labels, weight)
    found = TemperatureScaling().fit(identity_model(), data).fit_report
    expected = TemperatureScaling().fit(logits, labels, weight).fit_report
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-8)
    assert found.nll_after == pytest.approx(expected.nll_after, abs=1e-9)
    assert found.nll_before == pytest.approx(expected.nll_before, abs=1e-9)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-5)
    assert found.weight == weight.sum() and found.converged
    assert data.readings == 1


def test_bounds_hold(small_budget):
    # separable, anti-informative, and an optimum beyond a bound
    logits, labels = warped_problem()
    right, wrong = logits.argmax(axis=1), logits.argmin(axis=1)
    for given, bounds in ((right, (0.01, 100.0)), (wrong, (0.01, 100.0)), (labels, (0.1, 0.5)), (labels, (9.0, 20.0))):
        with pytest.warns(UserWarning, match="The temperature stopped at its"):
            found = TemperatureScaling(bounds=bounds).fit(identity_model(), Counted(logits, given)).fit_report
        with pytest.warns(UserWarning, match="The temperature stopped at its"):
            expected = TemperatureScaling(bounds=bounds).fit(logits.astype("float32"), given).fit_report
        assert (found.temperature, found.at_bound) == (expected.temperature, expected.at_bound)
        assert found.advice == expected.advice
        assert found.nll_after == pytest.approx(expected.nll_after, abs=1e-9)


def test_what_fits_in_memory_is_read_once():
    logits, labels = warped_problem()
    data = Counted(logits, labels)
    for make in (TemperatureScaling, EnsembleTemperatureScaling, VectorScaling):
        data.readings = 0
        make().fit(identity_model(), data)
        assert data.readings == 1
    # such data may come from a generator
    batches = ((logits[i : i + 50], labels[i : i + 50]) for i in range(0, 400, 50))
    found = TemperatureScaling().fit(identity_model(), batches).temperature
    assert found == pytest.approx(TemperatureScaling().fit(logits.astype("float32"), labels).temperature, rel=1e-7)


@pytest.mark.parametrize(
    "make", [EnsembleTemperatureScaling, VectorScaling, MatrixScaling, DirichletCalibration], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("dense", [False, True], ids=["integer", "dense"])
def test_the_others_are_those_of_the_arrays(make, dense, small_budget, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logits, labels = warped_problem()
    labels = (0.9 * np.eye(4)[labels] + 0.025).astype("float32") if dense else labels
    logits = logits.astype("float32")
    data = Counted(logits, labels)
    found = make().fit(identity_model(), data)
    expected = make().fit(logits, labels)
    assert found.fit_report.nll_after == pytest.approx(expected.fit_report.nll_after, abs=1e-9)
    np.testing.assert_allclose(found(logits), expected(logits), atol=1e-4)
    assert data.readings == 1
    assert list(tmp_path.iterdir()) == []  # the file is gone


def test_a_generator_beyond_the_budget(small_budget):
    logits, labels = warped_problem()
    for make in (TemperatureScaling, EnsembleTemperatureScaling, VectorScaling):
        batches = ((logits[i : i + 50], labels[i : i + 50]) for i in range(0, 400, 50))
        found = make().fit(identity_model(), batches).fit_report
        expected = make().fit(logits.astype("float32"), labels).fit_report
        assert found.nll_after == pytest.approx(expected.nll_after, abs=1e-9)


def test_no_room_for_the_predictions(small_budget, monkeypatch, tmp_path):
    logits, labels = warped_problem()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(predictions.pathlib.Path, "open", lambda *_: (_ for _ in ()).throw(full))
    scaling = TemperatureScaling()
    with pytest.raises(OSError, match=f"room for the predictions in {tmp_path}. Received: No space left.*TMPDIR"):
        scaling.fit(identity_model(), Counted(logits, labels))
    assert scaling.temperature == 1.0 and scaling.fit_report is None
    assert list(tmp_path.iterdir()) == []


class Made(keras.utils.PyDataset):
    """30 batches of 300 × 300 numbers, 11 MB in float32, made when they are read."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        x = 4 * rng.standard_normal((300, 300), "float32")
        return x, (x / 2 + rng.gumbel(size=x.shape)).argmax(axis=1)


@pytest.mark.parametrize("make", [TemperatureScaling, EnsembleTemperatureScaling, VectorScaling])
def test_arrays_stay_small(make, monkeypatch):
    for module in (example_blocks, predictions):
        monkeypatch.setattr(module, "BUDGET", 1 << 18)
    model = identity_model(300)
    model(np.zeros((2, 300), "float32"))
    tracemalloc.start()
    calibrator = make().fit(model, Made())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 13e6  # a few batches and blocks, the 22 MB of all in float64 never
    assert calibrator.fit_report.weight == 9000
    assert calibrator.fit_report.nll_after < calibrator.fit_report.nll_before - 0.1
