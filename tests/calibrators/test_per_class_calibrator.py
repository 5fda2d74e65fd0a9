"""What isotonic calibration and histogram binning share: shapes, decisions, errors, memory, models."""

import tracemalloc

import keras
import numpy as np
import pytest
from keras import ops as K

from keras_ls.calibrators import HistogramBinning, IsotonicCalibration
from tests.calibrators.test_temperature_solver import random_problem

MAKE = {
    "isotonic": IsotonicCalibration,
    "isotonic top-label": lambda: IsotonicCalibration("top_label"),
    "histogram": HistogramBinning,
    "histogram top-label": lambda: HistogramBinning(5, "quantile", "top_label"),
}
every = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


@pytest.fixture
def problem():
    logits, labels = random_problem(1, examples=60, classes=3)
    return logits.astype("float32"), labels


@every
def test_sequences_are_flattened(problem, make):
    logits, labels = problem
    weight = np.arange(20) % 3  # of each sequence, for all its steps
    flat = make().fit(logits, labels, np.repeat(weight, 3))
    steps = make().fit(logits.reshape(20, 3, 3), labels.reshape(20, 3), weight)
    found = steps(logits.reshape(20, 3, 3))
    assert found.shape == (20, 3, 3)
    np.testing.assert_allclose(K.reshape(found, (60, 3)), flat(logits), rtol=1e-5)


@every
def test_binary_logits_in_every_shape(make):
    logits, labels = random_problem(2, examples=40, classes=2)
    z = (logits[:, 1] - logits[:, 0]).astype("float32")
    flat = make().fit(z, labels)(z)
    for shape in [(40, 1), (8, 5, 1)]:
        found = make().fit(z.reshape(shape), labels.reshape(shape))(z.reshape(shape))
        assert found.shape == shape
        np.testing.assert_allclose(K.reshape(found, (40,)), flat, rtol=1e-6)


def test_binary_logits_are_one_vs_rest_of_two_classes():
    # with two classes the isotonic functions are mirror images: f_1(p) + f_0(1 - p) = 1, and nothing is normalised
    logits, labels = random_problem(3, examples=60, classes=2)
    z = (logits[:, 1] - logits[:, 0]).astype("float32")
    both = IsotonicCalibration().fit(np.stack([0 * z, z], axis=1), labels)
    one = IsotonicCalibration().fit(z, labels)
    p = K.softmax(both(np.stack([0 * z, z], axis=1)))[:, 1]
    np.testing.assert_allclose(K.sigmoid(one(z)), p, atol=2e-6)


@every
def test_a_dropped_example_may_hold_anything(problem, make):
    logits, labels = problem
    kept = make().fit(logits[:50], labels[:50])
    spoilt, wrong = logits.copy(), labels.copy()
    spoilt[50:], wrong[50:] = np.nan, -1
    weighted = make().fit(spoilt, wrong, sample_weight=np.arange(60) < 50)
    ignored = make().fit(spoilt, wrong, ignore_class=-1)
    for calibrator in (weighted, ignored):
        np.testing.assert_allclose(calibrator(logits), kept(logits), rtol=1e-6)
        assert calibrator.fit_report.nll_after == pytest.approx(kept.fit_report.nll_after, rel=1e-6)
        assert calibrator.fit_report.weight == 50


@every
def test_a_model_and_a_dataset(problem, make):
    logits, labels = problem
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([np.eye(3)])
    weight = (np.arange(60) % 3).astype("float32")
    batches = [(logits[i : i + 25], labels[i : i + 25], weight[i : i + 25]) for i in (0, 25, 50)]
    np.testing.assert_allclose(
        make().fit(model, batches)(logits), make().fit(logits, labels, weight)(logits), rtol=1e-4
    )


@pytest.mark.tensorflow
@every
def test_exported_behind_a_model(problem, make, tmp_path):
    import tensorflow as tf

    import keras_ls as kls

    logits, labels = problem
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([np.eye(3)])
    with pytest.raises(ValueError, match=r"Expected a fitted calibrator.*Fit it first"):
        kls.export.export_saved_model(model, tmp_path / "mine", make())
    calibrator = make().fit(logits, labels)
    kls.export.export_saved_model(model, tmp_path / "mine", calibrator)
    served = tf.saved_model.load(str(tmp_path / "mine")).signatures["serving_default"]
    found = served(**{next(iter(served.structured_input_signature[1])): tf.constant(logits)})
    np.testing.assert_allclose(found["logits"], calibrator(logits), rtol=1e-5)


@every
def test_a_nan_shows(problem, make):
    logits, labels = problem
    calibrator = make().fit(logits, labels)
    logits = logits.copy()
    logits[1, 2] = np.nan
    found = K.convert_to_numpy(calibrator(logits))
    assert np.isnan(found[1]).all()
    assert np.isfinite(np.delete(found, 1, axis=0)).all()


@every
def test_ruled_out_classes_and_huge_logits(make):
    logits, labels = random_problem(4, examples=60, classes=3)
    logits[::2, 0], labels[::2] = -np.inf, np.maximum(labels[::2], 1)
    logits[5] *= 1e4
    calibrator = make().fit(logits, labels)
    found = K.convert_to_numpy(calibrator(logits.astype("float32")))
    assert np.isfinite(found).all()
    far = np.where(np.isneginf(logits), -1e6, logits).astype("float32")  # as good as ruled out
    np.testing.assert_allclose(found, calibrator(far), atol=1e-5)


@every
def test_a_mask_passes_through(problem, make):
    calibrator = make().fit(*problem)
    embedding = keras.layers.Embedding(4, 3, mask_zero=True)
    outputs = keras.Sequential([keras.Input((3,), dtype="int32"), embedding, calibrator])(np.array([[3, 0, 2]]))
    assert outputs.shape == (1, 3, 3)
    if keras.backend.backend() != "jax":
        assert np.array(outputs._keras_mask).tolist() == [[True, False, True]]


@every
def test_calls_on_other_numbers_of_classes(problem, make):
    calibrator = make().fit(*problem)
    for other in (np.zeros((2, 4), "float32"), np.zeros((2, 1), "float32"), np.zeros(2, "float32")):
        with pytest.raises(ValueError, match=r"Expected logits of 3 classes.*Received: logits of shape \(2"):
            calibrator(other)
    with pytest.raises(ValueError, match=r"Expected logits of 3 classes.*Make a new"):
        calibrator.fit(np.zeros((2, 4)), [0, 1])


@every
def test_a_second_fit_starts_afresh_and_a_failed_one_changes_nothing(problem, make):
    logits, labels = problem
    other = random_problem(5, examples=60, classes=3)
    calibrator = make().fit(*other).fit(logits, labels)
    once = make().fit(logits, labels)
    np.testing.assert_array_equal(calibrator(logits), once(logits))
    assert calibrator.fit_report == once.fit_report
    spoilt = logits.copy()
    spoilt[3] = np.nan
    with pytest.raises(ValueError):
        calibrator.fit(spoilt, labels)
    np.testing.assert_array_equal(calibrator(logits), once(logits))
    assert calibrator.fit_report == once.fit_report


@pytest.mark.parametrize(
    "logits, labels, weight, message",
    [
        ([[np.nan, 0.0], [1.0, 0.0]], [0, 1], None, "without NaN or .inf. Received: 1 such"),
        ([[np.inf, 0.0], [1.0, np.inf]], [0, 1], None, "without NaN or .inf. Received: 2 such"),
        ([[-np.inf, 0.0], [1.0, 0.0]], [0, 1], None, "finite logit for every label. Received: -inf"),
        ([[-np.inf, 0.0], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]], None, "finite logit for every label"),
        ([-np.inf, 1.0], [1.0, 0.0], None, "finite logit for every label"),
        ([[1.0, 0.0]], [0], [0.0], "weight above 0. Received: none"),
        ([[1.0, 0.0], [0.0, 0.0]], [0, 1], [np.inf, 1.0], "without negative numbers.* Received: inf"),
        ([[1.0, 0.0]], [[1.0, 1.0]], None, r"sum of 1. Received: \[1.0, 1.0\]"),
        ([[1.0, 0.0]], [[1.5, -0.5]], None, r"no negative numbers.*Received: \[1.5, -0.5\]"),
        ([[1.0, 0.0]], [2], None, r"labels in \[0, 2\).*Received: 2"),
    ],
)
@every
def test_fit_errors(make, logits, labels, weight, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        make().fit(logits, labels, weight)


@pytest.mark.parametrize("make", [MAKE["isotonic"], MAKE["histogram"]], ids=["isotonic", "histogram"])
def test_memory_is_a_few_columns(make):
    # 40,000 × 64 float32 logits are 10 MB, a float64 copy 20 MB. NumPy's arrays are seen: blocks of 2²⁰ numbers (of 1
    # or 4 bytes, in float64 the labels), and what a class needs, some numbers of 8 bytes for each example
    logits = np.random.default_rng(0).normal(size=(40_000, 64)).astype("float32")
    labels = (logits + np.random.default_rng(1).gumbel(size=logits.shape)).argmax(axis=1)
    weight = np.ones(40_000, "float32")
    calibrator = make()
    tracemalloc.start()
    calibrator.fit_examples(labels, logits, weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.75 * logits.nbytes + 8 * 40_000 * 12
