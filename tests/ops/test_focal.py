import math

import keras
import numpy as np
import pytest

from keras_ls import ops
from tests.gradients import value_and_gradient
from tests.ops import plain_forms
from tests.ops.curvature import hessian_times

approx = pytest.approx
# float64 logits are float32 ones on JAX
ATOL = 3e-6 if keras.backend.backend() == "jax" else 1e-10
GAMMAS = [0.0, 0.5, 1.0, 2, 3.0, 7.5, "flsd-53"]
LOG3 = math.log(3)


def focal(labels, gamma):
    return lambda logits: ops.focal_crossentropy(labels, logits, gamma)


def batch(n, K):
    rng = np.random.default_rng(K)
    return rng.integers(0, K, n), rng.normal(size=(n, K)) * 2


def binary_logits(p):
    """Logits over two classes, of which the first has probability p."""
    p = np.asarray(p, "float64")
    return np.stack([np.log(p), np.log1p(-p)], axis=-1)


@pytest.mark.parametrize("K", [2, 5, 40])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_equals_the_plain_form(gamma, K):
    labels, logits = batch(20, K)
    value, gradient = value_and_gradient(focal(labels, gamma), logits)
    plain = [plain_forms.focal_crossentropy(y, z, gamma) for y, z in zip(labels, logits)]
    np.testing.assert_allclose(value, plain, rtol=1e-5, atol=ATOL)
    slopes = [plain_forms.focal_gradient(y, z, gamma) for y, z in zip(labels, logits)]
    np.testing.assert_allclose(gradient, slopes, atol=ATOL)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_plain_gradient_by_central_differences(gamma):
    labels, logits = batch(5, 4)
    for y, z in zip(labels, logits):
        slope = plain_forms.central_differences(lambda z, y=y: plain_forms.focal_crossentropy(y, z, gamma), z)
        np.testing.assert_allclose(plain_forms.focal_gradient(y, z, gamma), slope, atol=1e-8)


def test_by_hand():
    # p = ¼: (¾)² log 4; p = ¾: (¼)² log 4/3; p = ½, γ = 3: log 2 / 8
    value = ops.focal_crossentropy([0, 1], [[0.0, LOG3]] * 2, 2.0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(value), [9 / 16 * math.log(4), math.log(4 / 3) / 16], rtol=1e-6
    )
    assert float(ops.focal_crossentropy([0], [[1.0, 1.0]])[0]) == approx(math.log(2) / 8, rel=1e-6)


def test_gamma_0_is_the_cross_entropy():
    labels, logits = batch(8, 5)
    value, gradient = value_and_gradient(focal(labels, 0), logits)
    peer, peer_gradient = value_and_gradient(lambda z: ops.smoothed_crossentropy(labels, z), logits)
    np.testing.assert_array_equal(value, peer)
    np.testing.assert_array_equal(gradient, peer_gradient)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_equals_keras(gamma):
    # Keras's `alpha` weighs classes; with 1 for each of them its loss is -(1 - p_y)^γ log p_y
    labels, logits = batch(8, 5)
    peer = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=gamma, from_logits=True, reduction="none")
    expected = keras.ops.convert_to_numpy(peer(np.eye(5)[labels], logits.astype("float32")))
    value = keras.ops.convert_to_numpy(ops.focal_crossentropy(labels, logits.astype("float32"), gamma))
    np.testing.assert_allclose(value, expected, rtol=1e-4)  # Keras computes it from probabilities


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_two_classes_equal_keras_for_binary_labels(gamma):
    # softmax([0, z]) = (1 - σ(z), σ(z))
    z = np.linspace(-4, 4, 9, dtype="float32")
    for y in (0, 1):
        peer = keras.losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True, reduction="none")
        expected = peer(np.full((9, 1), y, "float32"), z[:, None])
        value = ops.focal_crossentropy(np.full(9, y), np.stack([np.zeros(9, "float32"), z], axis=-1), gamma)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(value), keras.ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-7
        )


def test_flsd_53_changes_its_power_at_a_fifth():
    # (1-p)^5 log 1/p just below p = .2 and (1-p)^3 log 1/p from there on
    p = np.array([0.01, 0.199, 0.2 + 1e-5, 0.5, 0.9])
    expected = -((1 - p) ** np.array([5, 5, 3, 3, 3])) * np.log(p)
    for gamma in ("flsd-53", "FLSD-53"):
        value = keras.ops.convert_to_numpy(ops.focal_crossentropy([0] * 5, binary_logits(p), gamma))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    slopes = value_and_gradient(focal([0] * 5, "flsd-53"), binary_logits(p))[1]
    parts = [value_and_gradient(focal([0], g), z[None])[1][0] for g, z in zip((5, 5, 3, 3, 3), binary_logits(p))]
    np.testing.assert_allclose(slopes, parts, atol=1e-6)


# limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", GAMMAS[1:])
def test_certain_and_right(gamma):
    # p = 1: no loss, and no 0 · ∞ in the gradient
    value, gradient = value_and_gradient(focal([0, 0], gamma), np.array([[1e4, -1e4], [200.0, 0.0]], "float32"))
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


@pytest.mark.parametrize("gamma", [1.0, 3.0, "flsd-53"])
def test_certain_and_wrong(gamma):
    # p = 0: the cross-entropy, 2e4, with its gradient -1 and 1; also where the class was impossible
    value, gradient = value_and_gradient(focal([1, 1], gamma), np.array([[1e4, -1e4], [0.0, -np.inf]], "float32"))
    np.testing.assert_array_equal(value, [2e4, np.inf])
    np.testing.assert_allclose(gradient, [[1, -1], [1, -1]], atol=1e-6)


@pytest.mark.float64
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("distance", [1e-2, 2e-4, 1.01e-4, 0.99e-4, 1e-6, 1e-9])
def test_gradient_near_certainty(distance, gamma):
    # with d = 1 - p, ℓ = -d^γ log(1-d); dz moves p by p (1-p): the product rule, to the digits that d has left
    value, gradient = value_and_gradient(focal([0], gamma), binary_logits([1 - distance]))
    d = -np.expm1(-np.log1p(np.exp(np.diff(binary_logits([1 - distance]))[0, 0])))
    log_p = np.log1p(-d)
    assert value[0] == approx(-(d**gamma) * log_p, rel=1e-6)
    slope = -(d**gamma) + gamma * d ** (gamma - 1) * (1 - d) * log_p
    assert gradient[0, 0] == approx(slope * d, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_widened(dtype):
    # log 3 rounded to the dtype, then (1-p)³ log 1/p in float32
    logits = keras.ops.cast([[0.0, LOG3]], dtype)
    z = keras.ops.convert_to_numpy(keras.ops.cast(logits, "float32"))[0]
    value = ops.focal_crossentropy([0], logits)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value[0]) == approx(plain_forms.focal_crossentropy(0, z, 3.0), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 2.0, "flsd-53"])
def test_empty_batch(gamma):
    value, gradient = value_and_gradient(focal(np.zeros((3, 0), int), gamma), np.zeros((3, 0, 4), "float32"))
    assert (value.shape, gradient.shape) == ((3, 0), (3, 0, 4))


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.0, "flsd-53"])
def test_second_derivative(gamma):
    labels, logits = batch(4, 3)
    direction = np.random.default_rng(0).normal(size=(4, 3))
    result = hessian_times(focal(labels, gamma), logits, direction)
    for row, y, z, d in zip(result, labels, logits, direction):
        hessian = plain_forms.central_differences(lambda z, y=y: plain_forms.focal_gradient(y, z, gamma), z)
        np.testing.assert_allclose(row, hessian @ d, atol=max(10 * ATOL, 1e-7))


# errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [-1, math.nan, math.inf, None, True])
def test_bad_gamma(gamma):
    with pytest.raises(ValueError) as error:
        ops.focal_crossentropy([0], [[0.0, 1.0]], gamma)
    assert str(error.value) == f"Expected `gamma` >= 0. Received: {gamma!r}."


def test_gamma_of_another_name():
    with pytest.raises(ValueError) as error:
        ops.focal_crossentropy([0], [[0.0, 1.0]], "flsd-35")
    assert str(error.value) == "Expected `gamma` >= 0 or \"flsd-53\". Received: 'flsd-35'."


def test_bad_labels():
    with pytest.raises(ValueError, match=r"integer labels for the focal loss\. Received: dense.*\(1, 2\)\. Take their"):
        ops.focal_crossentropy([[0.5, 0.5]], [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"integer labels in \[0, 2\).*Received: 2"):
        ops.focal_crossentropy([2], [[0.0, 1.0]])
