import math

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.masking import masked
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.SmoothedCrossentropy
PRIOR = [0.1, 0.2, 0.3, 0.4]


def batch(shape=(6,), K=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, K, shape), (2 * rng.normal(size=(*shape, K))).astype("float32")


# against Keras and the plain form -----------------------------------------------------------------------------------


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 0.0, 2.0, 3.0, 0.25]])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
def test_equals_keras(reduction, weight, from_logits):
    labels, y_pred = batch()
    if not from_logits:
        y_pred = keras.ops.convert_to_numpy(keras.ops.softmax(y_pred))
    weight = None if weight is None else np.array(weight, "float32")
    peer = keras.losses.CategoricalCrossentropy(from_logits, label_smoothing=0.3, reduction=reduction)
    expected = peer(np.eye(4, dtype="float32")[labels], y_pred, weight)
    loss = Loss(0.3, from_logits=from_logits, reduction=reduction)
    for y_true in (labels, labels[:, None], np.eye(4, dtype="float32")[labels]):
        np.testing.assert_allclose(loss(y_true, y_pred, weight), expected, rtol=2e-6)


@pytest.mark.parametrize("alpha, prior", [(0.0, None), (0.1, None), (0.25, PRIOR)])
def test_mean_of_the_plain_form(alpha, prior):
    labels, logits = batch((40,))
    expected = [plain_forms.smoothed_crossentropy(y, z, alpha, prior) for y, z in zip(labels, logits)]
    assert float(Loss(alpha, prior)(labels, logits)) == approx(np.mean(expected), rel=1e-6)


def test_gradient_is_softmax_minus_target_over_n():
    labels, logits = batch((5,))
    gradient = value_and_gradient(lambda z: Loss(0.2)(labels, z), logits)[1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = 0.8 * np.eye(4)[labels] + 0.05
    np.testing.assert_allclose(gradient, (p - q) / 5, atol=1e-7)


def test_mixed_targets_by_hand():
    # a mix-up of .5/.5 at p = (¼, ¾), α = .2 leaves (.5, .5): ½ log 4 + ½ log 4/3
    expected = 0.5 * math.log(4) + 0.5 * math.log(4 / 3)
    assert float(Loss(0.2)([[0.5, 0.5]], [[0.0, math.log(3)]])) == approx(expected, rel=1e-6)


def test_probabilities_of_zero_are_clipped():
    # Keras's ε of 1e-7 for p_y = 0: log(1e7), with the rest renormalised to 1
    loss = Loss(0.0, from_logits=False)
    assert float(loss([1], [[1.0, 0.0]])) == approx(math.log(1e7 + 1), rel=1e-6)
    # half precision is widened before it is clipped: 1e-7 is 0 in float16's normal range
    assert float(loss([1], np.array([[1.0, 0.0]], "float16"))) == approx(math.log(1e7 + 1), rel=1e-6)


def test_tensor2tensor_convention():
    # their .1 over the other three classes is .1 · 4/3 here: q = (.9, .1/3, .1/3, .1/3)
    logits = [[1.0, 2.0, 0.0, -1.0]]
    log_p = np.log(np.exp(logits[0]) / np.exp(logits[0]).sum())
    expected = -(0.9 * log_p[0] + 0.1 / 3 * log_p[1:].sum())
    assert float(Loss(0.1 * 4 / 3)([0], logits)) == approx(expected, rel=1e-6)


# which examples count -----------------------------------------------------------------------------------------------

FORMS = {
    "[N]": ((24,), lambda y: y),
    "[N, 1]": ((24,), lambda y: y[..., None]),
    "[B, H, W]": ((2, 3, 4), lambda y: y),
    "[B, H, W, 1]": ((2, 3, 4), lambda y: y[..., None]),
}


@pytest.mark.parametrize("ignored", [-1, 255, 2])
@pytest.mark.parametrize("form", FORMS)
def test_ignored_class_is_dropped(form, ignored):
    shape, reshaped = FORMS[form]
    labels, logits = batch(shape)
    labels[..., ::3] = ignored
    kept = labels != ignored
    expected = np.mean([plain_forms.smoothed_crossentropy(y, z, 0.1) for y, z in zip(labels[kept], logits[kept])])
    assert float(Loss(0.1, ignore_class=ignored)(reshaped(labels), logits)) == approx(expected, rel=1e-6)
    weight = np.random.default_rng(1).random(shape).astype("float32")
    weighted = Loss(0.1, ignore_class=ignored, reduction="mean_with_sample_weight")
    expected = float(Loss(0.1, reduction="mean_with_sample_weight")(labels[kept], logits[kept], weight[kept]))
    assert float(weighted(reshaped(labels), logits, weight)) == approx(expected, rel=1e-6)


def test_ignored_class_of_a_segmentation_equals_keras():
    labels, logits = batch((2, 3, 4))
    labels[0, 1:] = 255
    peer = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    expected = float(peer(labels, logits))
    assert float(Loss(0.0, ignore_class=255)(labels, logits)) == approx(expected, rel=1e-6)
    assert float(Loss(0.0, ignore_class=255)(labels.astype("uint8")[..., None], logits)) == approx(expected, rel=1e-6)


@pytest.mark.parametrize("ignore_class", [None, 2])
@pytest.mark.parametrize("axis", [1, 2, -2, -1])
def test_class_axis(axis, ignore_class):
    # axes of 2, 3 and 5 examples' sides and 4 classes: no two alike
    labels, logits = batch((2, 3, 5))
    kept = labels != (99 if ignore_class is None else ignore_class)
    expected = np.mean(
        [plain_forms.smoothed_crossentropy(y, z, 0.2, PRIOR) for y, z in zip(labels[kept], logits[kept])]
    )
    moved = np.moveaxis(logits, -1, axis)
    loss = Loss(0.2, PRIOR, axis=axis, ignore_class=ignore_class)
    assert float(loss(labels, moved)) == approx(expected, rel=1e-6)
    assert float(loss(np.expand_dims(labels, axis), moved)) == approx(expected, rel=1e-6)


def test_ignored_pixels_on_a_class_axis_get_no_gradient():
    # square pictures of as many rows as classes: a misplaced axis would still fit
    labels, logits = batch((4, 4, 4))
    labels[:, 0] = -1
    logits[:, 0] = np.nan
    loss = Loss(0.1, axis=1, ignore_class=-1)
    gradient = value_and_gradient(lambda z: loss(labels, z), np.moveaxis(logits, -1, 1))[1]
    gradient = np.moveaxis(gradient, 1, -1)
    p = np.exp(logits[:, 1:]) / np.exp(logits[:, 1:]).sum(-1, keepdims=True)
    q = 0.9 * np.eye(4)[labels[:, 1:]] + 0.025
    assert (gradient[:, 0] == 0).all()
    np.testing.assert_allclose(gradient[:, 1:], (p - q) / 48, atol=1e-7)


@pytest.mark.parametrize("ignore_class", [-1, 0, 1])
def test_dense_targets_have_no_ignored_class(ignore_class):
    labels, logits = batch()
    dense = np.eye(4, dtype="float32")[labels]
    assert float(Loss(0.1, ignore_class=ignore_class)(dense, logits)) == approx(
        float(Loss(0.1)(labels, logits)), rel=1e-6
    )


def test_mask_of_fewer_axes_than_the_losses():
    # one flag a row of a [2, 3, 4] batch, as a mask over time steps of pictures would be
    labels, logits = batch((2, 3))
    y_pred = masked(logits, [False, True])
    expected = np.mean([plain_forms.smoothed_crossentropy(y, z, 0.1) for y, z in zip(labels[1], logits[1])])
    assert float(Loss(0.1)(labels, y_pred)) == approx(expected, rel=1e-6)


def test_mask_and_ignored_class_together():
    labels, logits = batch((2, 3))
    labels[1, 2] = -1
    y_pred = masked(logits, [[True, False, True], [True, True, True]])
    kept = np.array([[1, 0, 1], [1, 1, 0]], bool)
    expected = np.mean([plain_forms.smoothed_crossentropy(y, z, 0.1) for y, z in zip(labels[kept], logits[kept])])
    for y in (labels, labels[..., None]):
        assert float(Loss(0.1, ignore_class=-1)(y, y_pred)) == approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_nothing_counts(reduction):
    # an empty batch, and one whose examples are all ignored: no loss, and not 0/0
    loss = Loss(0.1, ignore_class=-1, reduction=reduction)
    assert float(loss(np.zeros(0, int), np.zeros((0, 4)))) == 0
    assert float(loss([-1, -1], np.zeros((2, 4)))) == 0
    assert float(Loss(0.1, reduction="mean_with_sample_weight")([0, 1], np.zeros((2, 4)), [0.0, 0.0])) == 0


# dtype --------------------------------------------------------------------------------------------------------------


def dtype(value):
    return keras.backend.standardize_dtype(value.dtype)


@pytest.mark.float64
def test_float64():
    # 1 + 1e-10 apart from 1: log(1 + e^(1e-10)) - log 2 is 5e-11, lost in float32
    labels, logits = [0], np.array([[0.0, 1e-10]])
    double = Loss(0.0, dtype="float64")
    assert dtype(double(labels, logits)) == "float64"
    assert float(double(labels, logits)) - math.log(2) == approx(5e-11, rel=1e-4)
    assert dtype(double(labels, logits.astype("float32"))) == "float64"
    assert dtype(Loss(0.0)(labels, logits.astype("float32"))) == "float32"


def test_half_precision_sums_over_many_examples():
    # 5000 losses of log 2: a float16 sum of them would stick at 2048
    logits = np.zeros((5000, 2), "float16")
    assert float(Loss(0.1, reduction="sum")(np.zeros(5000, int), logits)) == approx(5000 * math.log(2), rel=1e-5)


# errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label_smoothing": 1.0}, r"Expected `label_smoothing` in \[0, 1\)\. Received: 1\.0"),
        ({"label_smoothing": -0.1}, r"`label_smoothing` in \[0, 1\)\. Received: -0\.1"),
        ({"label_smoothing": math.nan}, r"`label_smoothing` in \[0, 1\)\. Received: nan"),
        ({"label_smoothing": "0.1"}, r"`label_smoothing` in \[0, 1\)\. Received: '0\.1'"),
        ({"label_smoothing": None}, r"`label_smoothing` in \[0, 1\)\. Received: None"),
        ({"prior": [2, 3, 5]}, r"`prior`.*sum to 1.*Divide class counts by their sum"),
        ({"prior": "uniform"}, r"`prior`.*Received: 'uniform'"),
        ({"ignore_class": 1.5}, r"`ignore_class` to be an integer or None\. Received: 1\.5"),
        ({"dtype": "float16"}, r"`dtype`.*'float32', 'float64'.*Received: 'float16'\. Did you mean 'float"),
        ({"reduction": "average"}, r"reduction.*average"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Loss(**options)


@pytest.mark.parametrize(
    "y_true, message",
    [
        ([0, 4], r"integer labels in \[0, 4\), as the predictions have 4 classes\. Received: 4"),
        ([0, -1], r"integer labels in \[0, 4\).*Received: -1\. Use `ignore_class`"),
        ([[1, 0, 0], [0, 1, 0]], r"Received: labels of shape \(2, 3\), predictions of shape \(2, 4\)"),
        ([0, 1, 2], r"Received: labels of shape \(3,\), predictions of shape \(2, 4\)"),
    ],
)
def test_bad_labels(y_true, message):
    with pytest.raises(ValueError, match=message):
        Loss(0.1)(y_true, np.zeros((2, 4), "float32"))


def test_call_is_what_is_reduced():
    logits = np.array([[0.0, 0.0], [0.0, math.log(3)]], "float32")
    # log 2, and -log ¼ of p = (¼, ¾)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(Loss(0.0).call([0, 0], logits)), np.log([2, 4]), rtol=1e-6)
    with pytest.raises(ValueError, match=r"integer labels in \[0, 2\).*Received: 2"):
        Loss(0.0).call([0, 2], logits)


def test_prior_of_another_number_of_classes():
    with pytest.raises(ValueError, match=r"one entry a class: 3.*Received: 4 entries"):
        Loss(0.1, PRIOR)([0], np.zeros((1, 3)))


def test_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"broadcastable to \(2,\).*Received: shape \(3,\)"):
        Loss(0.1)([0, 1], np.zeros((2, 4)), [1.0, 1.0, 1.0])
