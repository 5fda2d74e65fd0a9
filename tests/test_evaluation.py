"""`evaluate`: each score is that of its metric and its function, whatever the form of the predictions."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls import evaluation

RNG = np.random.default_rng(0)
N, CLASSES = 400, 4
LOGITS = 2 * RNG.normal(size=(N, CLASSES)).astype("float32")
LABELS = (LOGITS / 2 + RNG.gumbel(size=LOGITS.shape)).argmax(axis=1)
SOFT = 0.8 * np.eye(CLASSES)[LABELS] + 0.05
MARGIN = LOGITS[:, 0] - LOGITS[:, 1]
WEIGHT = RNG.uniform(0, 2, N).astype("float32")
METRICS = {
    "nll": kls.metrics.NegativeLogLikelihood,
    "brier": kls.metrics.BrierScore,
    "ece": kls.metrics.ExpectedCalibrationError,
    "adaptive_ece": lambda **k: kls.metrics.ExpectedCalibrationError(binning="quantile", **k),
    "classwise_ece": kls.metrics.ClasswiseCalibrationError,
    "smooth_ece": kls.metrics.SmoothCalibrationError,
    "aurc": kls.metrics.RiskCoverageArea,
}
FUNCTIONS = {
    "brier": kls.ops.brier_score,
    "ece": kls.ops.calibration_error,
    "adaptive_ece": lambda *a, **k: kls.ops.calibration_error(*a, binning="quantile", **k),
    "classwise_ece": kls.ops.classwise_calibration_error,
    "smooth_ece": kls.ops.smooth_calibration_error,
    "aurc": kls.ops.risk_coverage_area,
}
CASES = {"integers": (LABELS, LOGITS), "soft": (SOFT, LOGITS), "binary": ((LABELS == 0).astype("float32"), MARGIN)}
weighted = pytest.mark.parametrize("weight", [None, WEIGHT, np.floor(2 * WEIGHT)], ids=["plain", "weights", "counts"])


def probabilities(logits):
    return K.convert_to_numpy(K.sigmoid(logits) if logits.ndim == 1 else K.softmax(logits))


@weighted
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("from_logits", [True, False], ids=["logits", "probabilities"])
def test_scores_are_those_of_the_metrics(case, from_logits, weight):
    labels, logits = CASES[case]
    predictions = logits if from_logits else probabilities(logits)
    found = kls.evaluate(labels, predictions, from_logits, weight)
    assert tuple(found) == evaluation.SCORES
    for name, make in METRICS.items():
        metric = make(from_logits=from_logits)
        metric.update_state(labels, predictions, weight)
        assert found[name] == pytest.approx(float(metric.result()), rel=1e-6), name
    accuracy = {"integers": "SparseCategoricalAccuracy", "soft": "CategoricalAccuracy", "binary": "BinaryAccuracy"}
    metric = getattr(keras.metrics, accuracy[case])()
    metric.update_state(labels, probabilities(logits), weight)
    assert found["accuracy"] == pytest.approx(float(metric.result()), rel=1e-5)


@weighted
@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_the_functions(case, weight):
    labels, logits = CASES[case]
    found = kls.evaluate(labels, logits, sample_weight=weight)
    for name, function in FUNCTIONS.items():
        expected = float(function(labels, probabilities(logits), sample_weight=weight))
        # equal-mass bins and AURC of the metrics tell confidences apart by 4096 cells
        assert found[name] == pytest.approx(expected, abs=2e-3 if name in ("adaptive_ece", "aurc") else 1e-6), name


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("block", [1, 30, 10_000])
def test_blocks_are_one(monkeypatch, case, block):
    labels, logits = (x[:20] for x in CASES[case])
    expected = kls.evaluate(labels, logits, sample_weight=WEIGHT[:20])
    monkeypatch.setattr(evaluation, "_BLOCK", block)
    assert kls.evaluate(labels, logits, sample_weight=WEIGHT[:20]) == pytest.approx(expected, rel=1e-5)


def test_maps_and_an_ignored_class():
    labels, logits = LABELS.reshape(4, 10, 10).copy(), LOGITS.reshape(4, 10, 10, CLASSES)
    labels[0] = 255
    found = kls.evaluate(labels, logits, ignore_class=255)
    assert found == pytest.approx(kls.evaluate(LABELS[100:], LOGITS[100:]), rel=1e-6)
    # one weight an example of the first axis drops it, too
    labels[0] = 0
    dropped = kls.evaluate(labels, logits, sample_weight=np.array([0, 1, 1, 1]))
    assert dropped == pytest.approx(found, rel=1e-6)


def test_some_scores_only():
    found = kls.evaluate(LABELS.tolist(), LOGITS.tolist(), scores=("ece", "accuracy"))
    everything = kls.evaluate(LABELS, LOGITS)
    assert list(found) == ["ece", "accuracy"]
    assert found == pytest.approx({name: everything[name] for name in found})


def test_bins():
    found = kls.evaluate(LABELS, LOGITS, num_bins=4)
    p = probabilities(LOGITS)
    assert found["ece"] == pytest.approx(float(kls.ops.calibration_error(LABELS, p, num_bins=4)), rel=1e-5)
    assert found["classwise_ece"] == pytest.approx(
        float(kls.ops.classwise_calibration_error(LABELS, p, num_bins=4)), rel=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": ("ece", "f1")}, "Expected `scores` to be one of 'accuracy', .*Received: 'f1'"),
        ({"scores": "ece"}, "Expected `scores` as a list of at least one of accuracy, .*Received: 'ece'"),
        ({"scores": ()}, r"Expected `scores` as a list of at least one.*Received: \(\)"),
        ({"axis": 5}, "Expected `axis`, where the classes are, to be an axis of the predictions. Received: axis=5"),
        ({"from_logits": "yes"}, "Expected `from_logits`"),
        ({"num_bins": 0}, "Expected `num_bins`"),
        ({"ignore_class": 0.5}, "Expected `ignore_class`"),
        ({"axis": 1.5}, "Expected `axis`"),
        ({"sample_weight": np.zeros(N)}, "Expected at least one example with a weight above 0"),
        ({"predictions": np.where(LOGITS.max() == LOGITS, np.nan, LOGITS)}, "without NaN"),
        ({"predictions": LOGITS[:0], "labels": LABELS[:0]}, "Expected at least one example"),
        ({"predictions": 3.0}, "Expected predictions"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        kls.evaluate(**{"labels": LABELS, "predictions": LOGITS, **options})


def test_probabilities_that_are_taken_for_logits():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kls.evaluate(LABELS, probabilities(LOGITS))
        kls.evaluate(LABELS, probabilities(LOGITS), from_logits=False)
        kls.evaluate(LABELS, LOGITS)
    said = [str(w.message) for w in caught if "logits" in str(w.message)]
    assert [text[:29] for text in said] == ["Expected logits for evaluate."]
