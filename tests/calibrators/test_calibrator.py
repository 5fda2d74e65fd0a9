"""What all calibrators do alike: sequences, masks, nested models, what the report says, saved layers."""

import keras
import numpy as np
import pytest

from keras_ls.calibrators import (
    DirichletCalibration,
    EnsembleTemperatureScaling,
    MatrixScaling,
    TemperatureScaling,
    VectorScaling,
)
from keras_ls.calibrators.calibrator import FitReport
from keras_ls.ops._weights import get_keras_mask
from tests.calibrators.plain_forms import nll, warped_problem
from tests.real_data import lenet_cifar10

PARAMETRIC = {
    "temperature": TemperatureScaling,
    "vector": VectorScaling,
    "matrix": MatrixScaling,
    "matrix-free": lambda: MatrixScaling(0.0, 0.0),
    "dirichlet": DirichletCalibration,
    "dirichlet-free": lambda: DirichletCalibration(0.0, 0.0),
    "ensemble": EnsembleTemperatureScaling,
}
every = pytest.mark.parametrize("make", PARAMETRIC.values(), ids=PARAMETRIC)


def output(calibrator, logits):
    return keras.ops.convert_to_numpy(calibrator(logits))


@every
def test_none_is_worse_than_a_temperature_on_what_it_was_fitted_to(make):
    labels, probabilities = lenet_cifar10()
    logits = np.log(probabilities)
    report = make().fit(logits, labels).fit_report
    assert isinstance(report, FitReport) and report.converged and report.weight == 10_000
    assert report["nll_before"] == pytest.approx(1.369868, abs=1e-6)  # quoted: of the predictions, and of the best T
    assert report.nll_after <= 1.311497 + 5e-7
    assert nll(output(make().fit(logits, labels), logits), labels) == pytest.approx(report.nll_after, abs=1e-6)


def test_what_contains_the_other_is_at_least_as_good():
    # a temperature is a vector, a vector is a matrix
    labels, probabilities = lenet_cifar10()
    logits = np.log(probabilities)
    after = {name: make().fit(logits, labels).fit_report.nll_after for name, make in PARAMETRIC.items()}
    assert after["matrix-free"] < after["vector"] < after["temperature"]
    assert after["matrix-free"] < after["matrix"] < after["temperature"]
    # of log-probabilities, log softmax is the identity
    assert after["dirichlet-free"] == pytest.approx(after["matrix-free"], abs=1e-9)


def sequences(dense):
    """Logits `[20, 6, 4]`, labels and which steps count; the others hold what padding may hold."""
    logits, labels = warped_problem(examples=120)
    logits, labels = logits.astype("float32").reshape(20, 6, 4), labels.reshape(20, 6)
    keep = np.arange(6) < np.random.default_rng(0).integers(2, 7, 20)[:, None]
    labels[~keep] = -1
    if dense:
        labels = 0.8 * np.eye(4)[labels] + 0.05
    return logits, labels, keep


@pytest.mark.parametrize("dense", [False, True], ids=["integer", "dense"])
@every
def test_sequences_in_arrays(make, dense):
    logits, labels, keep = sequences(dense)
    flat = make().fit(logits[keep], labels[keep])
    padded = logits.copy()
    padded[~keep] = np.nan
    if dense:
        labels[~keep] = np.nan
    by_step = make().fit(padded, labels, sample_weight=keep)
    np.testing.assert_allclose(output(by_step, logits), output(flat, logits), rtol=1e-5, atol=1e-5)
    assert by_step.fit_report.weight == keep.sum()
    if not dense:
        ignored = make().fit(padded, labels, ignore_class=-1)
        np.testing.assert_allclose(output(ignored, logits), output(flat, logits), rtol=1e-5, atol=1e-5)


@every
def test_weights_of_sequences_count_for_each_of_their_steps(make):
    logits, labels, keep = sequences(False)
    labels = np.where(keep, labels, 0)
    weight = np.arange(20) % 3
    by_sequence = make().fit(logits, labels, sample_weight=weight)
    repeated = make().fit(np.repeat(logits, weight, 0), np.repeat(labels, weight, 0))
    np.testing.assert_allclose(output(by_sequence, logits), output(repeated, logits), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dense", [False, True], ids=["integer", "dense"])
@every
def test_a_mask_of_the_model_drops_its_steps(make, dense):
    logits, labels, keep = sequences(dense)
    # an embedding that looks the logits up: row 0 is padding
    table = np.concatenate([np.zeros((1, 4)), logits.reshape(-1, 4)]).astype("float32")
    ids = np.where(keep, 1 + np.arange(120).reshape(20, 6), 0)
    embedding = keras.layers.Embedding(121, 4, mask_zero=True)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), embedding])
    embedding.set_weights([table])
    flat = make().fit(logits[keep], labels[keep])
    batches = [(ids[:7], labels[:7]), (ids[7:], labels[7:])]
    by_mask = make().fit(model, batches)
    np.testing.assert_allclose(output(by_mask, logits), output(flat, logits), rtol=1e-5, atol=1e-5)
    # weights multiply the mask
    weight = np.arange(1, 21, dtype="float32")
    weighted = make().fit(logits[keep], labels[keep], np.broadcast_to(weight[:, None], keep.shape)[keep])
    by_both = make().fit(model, (ids, labels, weight))
    np.testing.assert_allclose(output(by_both, logits), output(weighted, logits), rtol=1e-5, atol=1e-5)


@every
def test_a_fitted_layer_in_a_model_saves_and_loads(make, tmp_path):
    logits, labels = warped_problem()
    calibrator = make().fit(logits, labels)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), calibrator])
    model = keras.Sequential([keras.Input((4,)), inner])
    model.save(tmp_path / "nested.keras")
    loaded = keras.models.load_model(tmp_path / "nested.keras")
    x = logits.astype("float32")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert not loaded.trainable_variables or all("dense" in v.path for v in loaded.trainable_variables)
    assert np.abs(output(calibrator, x) - output(make(), x)).max() > 0.01


@every
def test_a_mask_passes_through(make):
    layers = [keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.Dense(3), make()]
    outputs = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])(np.array([[3, 0, 4]]))
    mask = get_keras_mask(outputs)
    assert keras.ops.convert_to_numpy(mask).tolist() == [[True, False, True]]


@every
def test_logits_are_read_where_they_are(make):
    # NumPy logits are neither copied nor changed, whatever their dtype
    logits, labels = warped_problem()
    for dtype in ("float64", "float32", "float16"):
        given = logits.astype(dtype)
        given.flags.writeable = False
        before = given.copy()
        make().fit(given, labels)
        np.testing.assert_array_equal(given, before)


def test_progress_is_shown_on_demand(capsys):
    logits, labels = warped_problem()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Activation("linear")])
    TemperatureScaling().fit(model, (logits, labels))
    VectorScaling().fit(model, (logits, labels), verbose=0)
    assert capsys.readouterr().out == ""
    TemperatureScaling().fit(model, (logits, labels), verbose=1)
    assert "2/2" in capsys.readouterr().out  # of 256 examples each
    with pytest.raises(ValueError, match=r"`verbose` to be one of 'auto', 0, 1. Received: 2"):
        TemperatureScaling().fit(model, (logits, labels), verbose=2)


@every
@pytest.mark.tensorflow
def test_a_dataset_that_repeats(make):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    y = np.random.default_rng(1).integers(3, size=40)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(10).repeat()
    with pytest.raises(
        ValueError, match=r"^Expected `dataset` to come to an end\. .* Leave `repeat` out, or pass `steps`"
    ):
        make().fit(model, data)
    read, expected = make().fit(model, data, steps=3), make().fit(x[:30], y[:30])
    np.testing.assert_allclose(output(read, x), output(expected, x), rtol=1e-5, atol=1e-6)
