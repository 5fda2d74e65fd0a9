import math

import keras
import numpy as np
import pytest

from keras_ls import ops
from tests import gradients
from tests.ops import plain_forms
from tests.precision import digits

approx = pytest.approx
# Müller et al. 2019: K, α, the best logit gap log(1 + K(1-α)/α), and the entropy of the target, which is the floor
FLOORS = [(10, 0.1, 4.511, 0.5003), (100, 0.05, 7.550, 0.4245), (100, 0.1, 6.804, 0.7778), (1000, 0.1, 9.105, 1.0148)]


def value_and_gradient(labels, logits, *args, **kwargs):
    return gradients.value_and_gradient(lambda z: ops.smoothed_crossentropy(labels, z, *args, **kwargs), logits)


# smooth_labels ------------------------------------------------------------------------------------------------------


def test_smooth_labels_by_hand():
    # α = .2, K = 4: each class gets .05, the true one .8 more
    q = ops.smooth_labels([[1], [3]], 4, 0.2)
    assert q.shape == (2, 1, 4)
    np.testing.assert_allclose(q[:, 0], [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]], atol=1e-7)


def test_smooth_labels_towards_a_prior():
    # .7 · (0, 1, 0) + .3 · (.5, .3, .2)
    np.testing.assert_allclose(ops.smooth_labels([1], 3, 0.3, [0.5, 0.3, 0.2]), [[0.15, 0.79, 0.06]], atol=1e-7)


def test_no_smoothing_is_one_hot():
    np.testing.assert_array_equal(ops.smooth_labels([2, 0], 3, 0.0), [[0, 0, 1], [1, 0, 0]])


def test_tensor2tensor_convention():
    # there: 1-α on the true class and α/(K-1) on the others; here α_here = α_there · K/(K-1)
    K, there = 5, 0.1
    q = ops.smooth_labels([0], K, there * K / (K - 1))
    np.testing.assert_allclose(q[0], [0.9, 0.025, 0.025, 0.025, 0.025], atol=1e-7)


def test_smooth_labels_errors():
    with pytest.raises(ValueError, match=r"labels in \[0, 3\).*Received: 3"):
        ops.smooth_labels([0, 3], 3, 0.1)
    with pytest.raises(ValueError, match=r"labels in \[0, 3\).*Received: -1"):
        ops.smooth_labels([-1], 3, 0.1)
    with pytest.raises(ValueError, match=r"labels in \[0, 3\).*Received: 0\.5"):
        ops.smooth_labels([0.5], 3, 0.1)
    with pytest.raises(ValueError, match=r"one entry a class: 3.*Received: 2"):
        ops.smooth_labels([0], 3, 0.1, [0.5, 0.5])
    for num_classes in (0, 2.5, "3", None):
        with pytest.raises(ValueError, match=r"`num_classes`.*Received"):
            ops.smooth_labels([0], num_classes, 0.1)


# smoothed_crossentropy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K, alpha, gap, floor", FLOORS)
def test_minimum_is_the_entropy_of_the_target(K, alpha, gap, floor):
    exact = math.log(1 + K * (1 - alpha) / alpha)
    assert exact == approx(gap, abs=5e-4)
    q = [1 - alpha + alpha / K] + [alpha / K] * (K - 1)
    assert -sum(x * math.log(x) for x in q) == approx(floor, abs=5e-5)
    logits = np.zeros((3, K))
    logits[:, 0] = exact + np.array([-0.05, 0.0, 0.05])
    (below, best, above), gradient = value_and_gradient([0, 0, 0], logits, alpha)
    assert best == approx(floor, abs=5e-5)
    assert best == approx(-sum(x * math.log(x) for x in q), abs=digits(1e-12, 1e-6))
    # around the minimum: + ½ q_y (1 - q_y) δ² to second order
    rise = 0.5 * q[0] * (1 - q[0]) * 0.05**2
    assert (below - best, above - best) == (approx(rise, rel=0.05), approx(rise, rel=0.05))
    np.testing.assert_allclose(gradient[1], 0, atol=digits(1e-12, 1e-6))


@pytest.mark.parametrize("prior", [None, [0.1, 0.2, 0.3, 0.15, 0.25]])
@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.3, 0.999])
def test_equals_the_plain_form(alpha, prior):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 5)) * 4, rng.integers(0, 5, 20)
    expected = [plain_forms.smoothed_crossentropy(y, z, alpha, prior) for y, z in zip(labels, logits)]
    np.testing.assert_allclose(ops.smoothed_crossentropy(labels, logits, alpha, prior), expected, rtol=digits(1e-12))
    single = ops.smoothed_crossentropy(labels, logits.astype("float32"), alpha, prior)
    np.testing.assert_allclose(single, expected, rtol=digits(2e-6))
    one_hot = ops.smoothed_crossentropy(np.eye(5)[labels], logits, alpha, prior)
    np.testing.assert_allclose(one_hot, expected, rtol=digits(1e-12))


@pytest.mark.parametrize("prior", [None, [0.5, 0.3, 0.2]])
def test_gradient_is_softmax_minus_target(prior):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    gradient = value_and_gradient(labels, logits, 0.2, prior)[1]
    for i in range(8):
        p = np.exp(logits[i]) / np.exp(logits[i]).sum()
        for k in range(3):
            u = 1 / 3 if prior is None else prior[k]
            assert gradient[i, k] == approx(p[k] - 0.8 * (labels[i] == k) - 0.2 * u, abs=digits(1e-12, 1e-6))


def test_soft_targets_by_hand():
    # p = (¼, ¾), target (.5, .5), α = 0: ½ log 4 + ½ log 4/3
    logits = [[0.0, math.log(3)]]
    expected = 0.5 * math.log(4) + 0.5 * math.log(4 / 3)
    assert float(ops.smoothed_crossentropy([[0.5, 0.5]], logits)[0]) == approx(expected, rel=1e-6)
    # target (1, 0), α = .4: the smoothed target is (.8, .2)
    expected = 0.8 * math.log(4) + 0.2 * math.log(4 / 3)
    assert float(ops.smoothed_crossentropy([[1.0, 0.0]], logits, 0.4)[0]) == approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_huge_logits_have_the_right_value_and_gradient(dtype):
    # 9984 = 39 · 256 is exact in every dtype. log p = (-2·9984, 0), smoothed target (.95, .05): 2·9984 · .95 = 18969.6
    logits = keras.ops.cast([[-9984.0, 9984.0], [9984.0, -9984.0]], dtype)
    value, gradient = value_and_gradient([0, 0], logits, 0.1)
    assert value.dtype == np.float32
    # the second row is right: 2·9984 · .05 = 998.4
    np.testing.assert_allclose(value, [18969.6, 998.4], rtol=1e-6)
    # p - q: (0, 1) - (.95, .05) and (1, 0) - (.95, .05), rounded to the dtype
    np.testing.assert_allclose(gradient, [[-0.95, 0.95], [0.05, -0.05]], rtol=1e-2 if dtype == "bfloat16" else 2e-3)


def test_ten_thousand_in_half_precision():
    # 1e4 is exact in float16; hard label on the lower: the loss is the gap, 2e4, beyond half of float16's range
    value, gradient = value_and_gradient([1], keras.ops.convert_to_tensor([[1e4, -1e4]], "float16"), 0.0)
    assert value[0] == 20000
    np.testing.assert_array_equal(gradient, [[1, -1]])


def test_masked_class_without_smoothing():
    # classes 0 and 1 share the mass as 1 : 3; the third is switched off
    value, gradient = value_and_gradient([0], [[0.0, math.log(3), -np.inf]], 0.0)
    assert value[0] == approx(math.log(4), rel=1e-6)
    np.testing.assert_allclose(gradient, [[-0.75, 0.75, 0.0]], atol=1e-6)
    value, gradient = value_and_gradient([[1.0, 0.0, 0.0]], [[0.0, math.log(3), -np.inf]], 0.0)
    assert value[0] == approx(math.log(4), rel=1e-6)
    np.testing.assert_allclose(gradient, [[-0.75, 0.75, 0.0]], atol=1e-6)


@pytest.mark.parametrize("labels", [[0], [[1.0, 0.0, 0.0]]])
@pytest.mark.parametrize("prior", [None, [0.3, 0.3, 0.4]])
def test_a_masked_class_leaves_its_smoothing_to_the_possible_ones(labels, prior):
    # u = (½, ½, 0), of a prior too: q = (.7 + .3/2, .3/2, 0), and the gradient is p - q; the second row has no mask,
    # with its own u and p = ⅓
    other = [0.0, 0.0, 0.0]
    value, gradient = value_and_gradient(labels * 2, [[0.0, math.log(3), -np.inf], other], 0.3, prior)
    assert value[0] == approx(0.85 * math.log(4) + 0.15 * math.log(4 / 3), rel=1e-6)
    assert value[1] == approx(math.log(3), rel=1e-6)
    u = np.full(3, 1 / 3) if prior is None else np.array(prior)
    np.testing.assert_allclose(gradient, [[0.25 - 0.85, 0.75 - 0.15, 0], 1 / 3 - 0.3 * u - [0.7, 0, 0]], atol=1e-6)


def test_masked_class_with_a_prior_that_leaves_it_out():
    # q = (.7 + .3·.4, .3·.6, 0) = (.82, .18, 0)
    value, gradient = value_and_gradient([0], [[0.0, math.log(3), -np.inf]], 0.3, [0.4, 0.6, 0.0])
    assert value[0] == approx(0.82 * math.log(4) + 0.18 * math.log(4 / 3), rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.25 - 0.82, 0.75 - 0.18, 0.0]], atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -3, -4])
def test_axis(axis):
    # every axis has its own length, so that a mix-up cannot pass
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 5, (2, 3, 4))
    prior = [0.1, 0.2, 0.3, 0.15, 0.25]
    expected = np.zeros((2, 3, 4))
    for i in np.ndindex(2, 3, 4):
        expected[i] = plain_forms.smoothed_crossentropy(labels[i], logits[i], 0.2, prior)
    moved = np.moveaxis(logits, -1, axis)
    dense = np.moveaxis(np.eye(5)[labels], -1, axis)
    for y in (labels, np.expand_dims(labels, axis), dense):
        np.testing.assert_allclose(ops.smoothed_crossentropy(y, moved, 0.2, prior, axis), expected, rtol=digits(1e-10))


def test_nan_is_refused():
    with pytest.raises(ValueError, match=r"Expected `logits` without NaN and \+inf\. Received: nan"):
        ops.smoothed_crossentropy([0], [[np.nan, 0.0]], 0.1)
    # also in a dense target, where it must not count as a class of weight 0
    with pytest.raises(ValueError, match=r"Expected dense labels as class distributions.*Received: \[nan, 1\.0\]"):
        ops.smoothed_crossentropy([[np.nan, 1.0]], [[0.0, 0.0]], 0.1)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 3], r"Expected integer labels in \[0, 3\), as the predictions have 3 classes\. Received: 3\."),
        ([-1, 0], r"in \[0, 3\).*Received: -1\. Use `ignore_class`"),
        ([[0.0, 1.0], [1.0, 0.0]], r"Received: labels of shape \(2, 2\), predictions of shape \(2, 3\)"),
        ([0, 1, 2], r"Received: labels of shape \(3,\), predictions of shape \(2, 3\)"),
        ([0], r"Received: labels of shape \(1,\), predictions of shape \(2, 3\)"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        ops.smoothed_crossentropy(labels, np.zeros((2, 3)), 0.1)


def test_one_logit_is_refused_with_the_mend():
    with pytest.raises(ValueError, match=r"at least two classes.*\(2, 1\).*stack it with a zero"):
        ops.smoothed_crossentropy([0, 0], np.zeros((2, 1)), 0.1)


# effective_smoothing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("K, alpha, gap, floor", FLOORS)
def test_teacher_that_met_its_targets(K, alpha, gap, floor, temperature):
    labels = np.array([0, 3, K - 1])
    logits = np.zeros((3, K))
    logits[np.arange(3), labels] = temperature * math.log(1 + K * (1 - alpha) / alpha)
    assert float(ops.effective_smoothing(logits, labels, temperature)) == approx(alpha, rel=digits(1e-12))
    assert float(ops.effective_smoothing(logits, np.eye(K)[labels], temperature)) == approx(alpha, rel=digits(1e-12))


def test_effective_smoothing_by_hand():
    # K = 2, p = (¼, ¾): the wrong mass is ¾ for label 0 and ¼ for label 1, doubled by K/(K-1): mean of 1.5 and .5
    logits = [[0.0, math.log(3)]] * 2
    assert float(ops.effective_smoothing(logits, [0, 1])) == approx(1.0, rel=1e-6)
    assert float(ops.effective_smoothing(logits, [1, 1])) == approx(0.5, rel=1e-6)
    # T = 2: p = (1, √3)/(1 + √3)
    assert float(ops.effective_smoothing(logits, [1, 1], 2)) == approx(2 / (1 + math.sqrt(3)), rel=1e-6)


def test_effective_smoothing_of_a_confident_teacher_keeps_its_digits():
    # wrong mass ≈ 3 e^-30 = 2.8e-13, far below the resolution of float32 at 1
    logits = np.array([[30.0, 0, 0, 0]], "float32")
    assert float(ops.effective_smoothing(logits, [0])) == approx(3 * math.exp(-30) * 4 / 3, rel=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_effective_smoothing_bad_temperature(temperature):
    with pytest.raises(ValueError, match=r"Expected `temperature` > 0\. Received"):
        ops.effective_smoothing([[0.0, 1.0]], [0], temperature)
