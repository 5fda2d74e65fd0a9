"""The gradient of `smoothed_crossentropy` that is written by hand; its values by hand are in test_smoothing.py."""

import math

import keras
import numpy as np
import pytest

from keras_ls import ops
from keras_ls.ops.crossentropy import FEW_CLASSES
from tests.gradients import value_and_gradient
from tests.ops import plain_forms
from tests.ops.curvature import hessian_times

approx = pytest.approx
# float64 logits are float32 ones on JAX
ATOL = 2e-6 if keras.backend.backend() == "jax" else 1e-12
RTOL = 5e-6 if keras.backend.backend() == "jax" else 1e-11


def batch(shape, K, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, K, shape), rng.normal(size=(*shape, K)) * 3


def skewed(K):
    """A prior with an impossible class, which no two classes share."""
    prior = np.arange(K, dtype="float64")
    return (prior / prior.sum()).tolist()


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def target(labels, K, alpha, prior):
    return (1 - alpha) * np.eye(K)[labels] + alpha * (np.full(K, 1 / K) if prior is None else np.array(prior))


def plain(labels, logits, alpha, prior):
    values = [plain_forms.smoothed_crossentropy(labels[i], logits[i], alpha, prior) for i in np.ndindex(labels.shape)]
    return np.reshape(values, labels.shape)


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


# value and gradient --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [None, skewed], ids=["uniform", "prior"])
@pytest.mark.parametrize("K", [2, FEW_CLASSES, FEW_CLASSES + 1, 1000])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 3, 2), (3, 1)])
def test_equals_the_plain_form(shape, K, prior):
    labels, logits = batch(shape, K)
    prior = None if prior is None else prior(K)
    value, gradient = value_and_gradient(lambda z: ops.smoothed_crossentropy(labels, z, 0.3, prior), logits)
    np.testing.assert_allclose(value, plain(labels, logits, 0.3, prior), rtol=RTOL)
    np.testing.assert_allclose(gradient, softmax(logits) - target(labels, K, 0.3, prior), atol=ATOL)
    value, gradient = value_and_gradient(
        lambda z: ops.smoothed_crossentropy(labels[..., None], z, 0.3, prior), logits.astype("float32")
    )
    np.testing.assert_allclose(value, plain(labels, logits, 0.3, prior), rtol=3e-6)
    np.testing.assert_allclose(gradient, softmax(logits) - target(labels, K, 0.3, prior), atol=2e-6)


@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("K", [4, FEW_CLASSES + 8])
def test_gradient_on_another_axis(K, axis):
    # every example with a factor of its own, which the gradient has to follow
    labels, logits = batch((3, 4), K)
    factor = np.random.default_rng(1).normal(size=(3, 4))
    value, gradient = value_and_gradient(
        lambda z: ops.smoothed_crossentropy(labels, z, 0.2, skewed(K), axis) * keras.ops.cast(factor, z.dtype),
        np.moveaxis(logits, -1, axis),
    )
    np.testing.assert_allclose(value, factor * plain(labels, logits, 0.2, skewed(K)), rtol=RTOL)
    expected = factor[..., None] * (softmax(logits) - target(labels, K, 0.2, skewed(K)))
    np.testing.assert_allclose(gradient, np.moveaxis(expected, -1, axis), atol=3 * ATOL)


@pytest.mark.parametrize("K", [5, FEW_CLASSES + 5])
def test_gradient_asked_for_twice_is_the_same(K):
    # scattering in place must not change what a second gradient of the same forward pass reads
    labels, logits = batch((4,), K)

    def twice(z):
        loss = ops.smoothed_crossentropy(labels, z, 0.2)
        return loss + 2 * loss + ops.smoothed_crossentropy(labels, z, 0.2)

    gradient = value_and_gradient(twice, logits)[1]
    np.testing.assert_allclose(gradient, 4 * (softmax(logits) - target(labels, K, 0.2, None)), atol=4 * ATOL)


@pytest.mark.parametrize("prior", [None, skewed], ids=["uniform", "prior"])
@pytest.mark.parametrize("dense", [False, True])
def test_gradient_with_respect_to_alpha(dense, prior):
    labels, logits = batch((5,), 7)
    prior = None if prior is None else prior(7)
    y = np.eye(7)[labels] if dense else labels
    value, gradient = value_and_gradient(lambda a: ops.smoothed_crossentropy(y, logits, a, prior), np.array(0.3))
    np.testing.assert_allclose(value, plain(labels, logits, 0.3, prior), rtol=RTOL)
    slope = plain_forms.central_differences(lambda a: plain(labels, logits, float(a), prior).sum(), 0.3)
    assert gradient == approx(float(slope), rel=1e-5)


@pytest.mark.parametrize("prior", [None, skewed], ids=["uniform", "prior"])
@pytest.mark.parametrize("K", [4, FEW_CLASSES + 4])
def test_second_derivative(K, prior):
    # the Hessian of -Σ q_k log p_k is diag(p) - pp^T, whatever the target
    labels, logits = batch((3,), K)
    direction = np.random.default_rng(1).normal(size=(3, K))
    result = hessian_times(
        lambda z: ops.smoothed_crossentropy(labels, z, 0.3, prior and prior(K)), logits, direction.astype(logits.dtype)
    )
    p = softmax(logits)
    expected = p * direction - p * (p * direction).sum(-1, keepdims=True)
    np.testing.assert_allclose(result, expected, atol=ATOL)


# dense targets -------------------------------------------------------------------------------------------------------


def test_mixed_targets_are_the_mean_of_their_labels():
    # mix-up: λ of one label and 1-λ of another costs the same shares of both losses
    labels, logits = batch((6,), 5)
    others = (labels + 2) % 5
    share = np.linspace(0, 1, 6)
    mixed = share[:, None] * np.eye(5)[labels] + (1 - share)[:, None] * np.eye(5)[others]
    value, gradient = value_and_gradient(lambda z: ops.smoothed_crossentropy(mixed, z, 0.2), logits)
    expected = share * plain(labels, logits, 0.2, None) + (1 - share) * plain(others, logits, 0.2, None)
    np.testing.assert_allclose(value, expected, rtol=RTOL)
    np.testing.assert_allclose(gradient, softmax(logits) - (0.8 * mixed + 0.04), atol=ATOL)


@pytest.mark.parametrize("target", [[0.5, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, -1.0, 0.0], [0, 255, 0]])
def test_dense_targets_that_are_no_distributions_are_refused(target):
    with pytest.raises(ValueError, match=r"^Expected dense labels as class distributions.*Received: \["):
        ops.smoothed_crossentropy([[0.0, 1.0, 0.0], target], np.zeros((2, 3)), 0.3)


# limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [3, FEW_CLASSES + 3])
def test_impossible_classes(K):
    # logits of -inf from class 3 on but for a prior without them: the loss over the first three classes
    labels, logits = batch((4,), 3)
    wide = np.concatenate([logits, np.full((4, K - 3), -np.inf)], axis=1).astype("float32")
    prior = [0.5, 0.3, 0.2]
    for alpha, full in ((0.4, prior + [0.0] * (K - 3)), (0.0, None)):
        value, gradient = value_and_gradient(
            lambda z, a=alpha, u=full: ops.smoothed_crossentropy(labels, z, a, u), wide
        )
        np.testing.assert_allclose(value, plain(labels, logits, alpha, prior), rtol=3e-6)
        np.testing.assert_allclose(gradient[:, :3], softmax(logits) - target(labels, 3, alpha, prior), atol=1e-6)
        np.testing.assert_array_equal(gradient[:, 3:], np.zeros((4, K - 3)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("K", [4, FEW_CLASSES + 8])
def test_huge_logits(K, dtype):
    # ±9984, exact in every dtype: p = 1 on class 0. Label 1 costs (1-α) 2·9984 and α u of it for every class but 0
    logits = np.full((2, K), -9984.0)
    logits[:, 0] = 9984.0
    value, gradient = value_and_gradient(
        lambda z: ops.smoothed_crossentropy([1, 0], z, 0.2), keras.ops.cast(logits, dtype)
    )
    smooth = 0.2 * (K - 1) / K
    np.testing.assert_allclose(value, [2 * 9984 * (0.8 + smooth), 2 * 9984 * smooth], rtol=2e-6)
    expected = np.eye(K)[[0, 0]] - target([1, 0], K, 0.2, None)
    np.testing.assert_allclose(gradient, expected, rtol=1e-2 if dtype == "bfloat16" else 2e-3, atol=1e-6)


@pytest.mark.parametrize("K", [4, FEW_CLASSES + 8])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_empty_batch(shape, K):
    labels, logits = np.zeros(shape, "int32"), np.zeros((*shape, K), "float32")
    for y in (labels, np.zeros((*shape, K), "float32")):
        value, gradient = value_and_gradient(lambda z, y=y: ops.smoothed_crossentropy(y, z, 0.1), logits)
        assert (value.shape, gradient.shape) == (shape, (*shape, K))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64", "float32"])
def test_labels_of_every_dtype(dtype):
    # more classes than the dtype has numbers: log 300 for equal logits
    for y in (3, 100):
        value = ops.smoothed_crossentropy(np.array([y], dtype), np.zeros((1, 300), "float32"), 0.1)
        assert float(value[0]) == approx(math.log(300), rel=1e-6)
