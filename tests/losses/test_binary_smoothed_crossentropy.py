import math

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.losses import ways
from tests.masking import masked
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.BinarySmoothedCrossentropy
RATES = [0.1, 0.5, 0.8]
REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"]


def batch(shape=(2, 3)):
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, (*shape, 3)), (3 * rng.normal(size=(*shape, 3))).astype("float32")


def plain(labels, logits, known=None, alpha=0.2, rates=RATES):
    """The mean over the known labels of each example."""
    known = np.ones(labels.shape, bool) if known is None else known
    values = np.zeros(labels.shape[:-1])
    for i in np.ndindex(values.shape):
        terms = [
            plain_forms.binary_smoothed_crossentropy(y, z, alpha, rate)
            for y, z, rate, k in zip(labels[i], logits[i], rates, known[i])
            if k
        ]
        values[i] = np.mean(terms) if terms else 0.0
    return values


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, [[1.0, 0.5, 0.0], [2.0, 3.0, 0.25]], [[2.0], [0.5]]])
def test_weights(weight, reduction):
    labels, logits = batch()
    weight = None if weight is None else np.array(weight, "float32")
    value = Loss(0.2, RATES, reduction=reduction)(labels, logits, weight)
    ways.assert_equal(value, ways.reduced(plain(labels, logits), weight, None, reduction))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_masks(reduction):
    labels, logits = batch()
    expected = plain(labels, logits)
    keep = np.array([[True, False, True], [True, True, False]])
    weight = np.array([[1.0, 0.5, 0.5], [2.0, 3.0, 0.25]], "float32")
    labels[~keep], logits[~keep] = 99, np.nan  # what padding may hold
    value = Loss(0.2, RATES, reduction=reduction)(labels, masked(logits, keep), weight)
    ways.assert_equal(value, ways.reduced(expected, weight, keep, reduction))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_labels_that_are_not_known(reduction):
    labels, logits = batch((5,))
    known = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1]], bool)
    weight = np.array([1.0, 0.5, 7.0, 2.0, 0.0], "float32")
    expected = plain(labels, logits, known)
    labels = np.where(known, labels, -1)
    for y, z in ((labels, logits), (labels.astype("float32"), np.where(known, logits, np.nan))):
        value = Loss(0.2, RATES, ignore_class=-1, reduction=reduction)(y, z, weight)
        ways.assert_equal(value, ways.reduced(expected, weight, known.any(-1), reduction))


def test_gradient_of_unknown_labels_is_0():
    # σ(z) - t over the known labels of an example and the three examples that have one
    labels, logits = batch((4,))
    known = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1]], bool)
    loss = Loss(0.2, RATES, ignore_class=-1)
    gradient = value_and_gradient(lambda z: loss(np.where(known, labels, -1), z), np.where(known, logits, np.nan))[1]
    target = 0.8 * labels + 0.2 * np.array(RATES)
    share = known / np.maximum(known.sum(-1, keepdims=True), 1) / 3
    np.testing.assert_allclose(gradient, share * (1 / (1 + np.exp(-logits)) - target), atol=1e-6)


def test_nothing_counts():
    loss = Loss(ignore_class=-1)
    assert float(loss(np.full((2, 3), -1), np.full((2, 3), np.nan, "float32"))) == 0
    assert float(loss(np.zeros((0, 3)), np.zeros((0, 3), "float32"))) == 0


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_equals_keras(alpha, from_logits):
    labels, y_pred = batch()
    if not from_logits:
        y_pred = 1 / (1 + np.exp(-y_pred))
    weight = np.array([[1.0, 0.5, 0.0], [2.0, 3.0, 0.25]], "float32")
    for reduction in REDUCTIONS:
        peer = keras.losses.BinaryCrossentropy(from_logits, label_smoothing=alpha, reduction=reduction)
        expected = keras.ops.convert_to_numpy(peer(labels.astype("float32"), y_pred, weight))
        value = Loss(alpha, from_logits=from_logits, reduction=reduction)(labels, y_pred, weight)
        ways.assert_equal(value, expected, rtol=1e-5)


def test_probabilities_of_0_and_1_are_clipped():
    # Keras's ε of 1e-7: log p - log(1 - p) is ∓ log 1e7, and log(1 + e^z) - t z with t = .95, .05
    gap = math.log(1e7)
    value = Loss(0.1, from_logits=False, reduction="none")([[1.0], [1.0]], np.array([[1.0], [0.0]], "float16"))
    ways.assert_equal(value, [0.05 * gap, 0.95 * gap], rtol=1e-5)


@pytest.mark.parametrize("ignore_class", [None, -1])
def test_one_label_an_example_with_or_without_its_axis(ignore_class):
    labels, logits = batch((6,))
    labels, logits = labels[:, 0], logits[:, 0]
    expected = plain(labels[:, None], logits[:, None], rates=[0.3]).mean()
    loss = Loss(0.2, 0.3, ignore_class=ignore_class)
    for y, z in ((labels, logits), (labels[:, None], logits[:, None]), (labels, logits[:, None])):
        for dtype in ("int64", "float32", "uint8", "bool"):
            ways.assert_equal(loss(y.astype(dtype), z), expected)
    # masks and weights, one an example
    keep = np.array([1, 1, 0, 1, 0, 1], bool)
    expected = plain(labels[keep, None], logits[keep, None], rates=[0.3]).mean()
    for y, z in ((labels, logits), (labels[:, None], logits[:, None])):
        ways.assert_equal(loss(y, masked(z, keep), np.ones(6, "float32")), expected)


def test_half_precision_and_layers_of_it():
    labels, logits = batch()
    half = logits.astype("float16")
    expected = plain(labels, half.astype("float32")).mean()

    class Ending(keras.layers.Layer):
        def call(self, logits):
            return Loss(0.2, RATES)(labels, logits)

    for value in (Loss(0.2, RATES)(labels, half), Ending(dtype="mixed_float16")(half)):
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        ways.assert_equal(value, expected)


def test_class_weight_is_sample_weight():
    # Keras reads the class of labels of one column
    labels = np.array([[0.0], [1], [1], [0], [0], [1], [0]])
    by_class = ways.fitted(Loss(), labels, outputs=1, class_weight={0: 0.5, 1: 2.0})
    weight = np.where(labels[:, 0] == 1, 2.0, 0.5).astype("float32")
    by_sample = ways.fitted(Loss(), labels, outputs=1, sample_weight=weight)
    for a, b, c in zip(by_class, by_sample, ways.fitted(Loss(), labels, outputs=1)):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.abs(a - c).max() > 0.01


@pytest.mark.parametrize("prior", [None, 0.25, [0.25, 0.5]])
def test_config(prior):
    ways.assert_config_round_trip(
        Loss(0.3, prior, False, -1, "sum", "mine", "float64"),
        label_smoothing=0.3, prior=prior, from_logits=False, ignore_class=-1, reduction="sum", name="mine",
        dtype="float64",
    )  # fmt: skip


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label_smoothing": 1.0}, r"^Expected `label_smoothing` in \[0, 1\)\. Received: 1\.0\.$"),
        ({"label_smoothing": None}, r"^Expected `label_smoothing` in \[0, 1\)\. Received: None\.$"),
        ({"prior": 2}, r"^Expected `prior` to be rates of labels in \[0, 1\].*Received: 2\.$"),
        ({"prior": [0.5, -0.1]}, r"rates of labels in \[0, 1\].*Received: \[0\.5, -0\.1\]"),
        ({"ignore_class": 0.5}, r"^Expected `ignore_class` to be an integer or None\. Received: 0\.5\.$"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Loss(**options)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([[0, 2, 1]], r"binary labels in \[0, 1\]\. Received: 2"),
        ([[0, -1, 1]], r"binary labels in \[0, 1\]\. Received: -1.*`ignore_class`"),
        ([0], r"one label a logit\. Received: labels of shape \(1,\), logits of shape \(1, 3\).*use SmoothedCross"),
        ([[0, 1]], r"Received: labels of shape \(1, 2\), logits of shape \(1, 3\)"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        Loss()(labels, np.zeros((1, 3), "float32"))


def test_rates_of_another_number_of_labels():
    with pytest.raises(ValueError, match=r"one rate a label: 2\. Received: 3 rates"):
        Loss(0.1, RATES)([[0, 1]], np.zeros((1, 2), "float32"))


def test_weights_of_labels_instead_of_examples():
    with pytest.raises(ValueError, match=r"broadcastable to \(2,\).*Received: shape \(2, 3\)"):
        Loss()(np.zeros((2, 3)), np.zeros((2, 3), "float32"), np.ones((2, 3), "float32"))
