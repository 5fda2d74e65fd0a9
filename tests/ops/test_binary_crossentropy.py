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
RTOL = 2e-6 if keras.backend.backend() == "jax" else 1e-11
LABELS = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0.3, 0.9, 0.5]])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)) * 3
RATES = [0.1, 0.5, 0.9]


def loss(labels, *args):
    return lambda logits: ops.binary_smoothed_crossentropy(labels, logits, *args)


def targets(alpha, prior):
    return (1 - alpha) * LABELS + alpha * (0.5 if prior is None else np.array(prior))


@pytest.mark.parametrize("prior", [None, 0.2, RATES, 0, [0, 1, 0.5]], ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.9])
def test_equals_the_plain_form(alpha, prior):
    value, gradient = value_and_gradient(loss(LABELS, alpha, prior), LOGITS)
    rates = np.broadcast_to(0.5 if prior is None else prior, (4, 3))
    plain = [plain_forms.binary_smoothed_crossentropy(*a, alpha, u) for *a, u in np.nditer([LABELS, LOGITS, rates])]
    np.testing.assert_allclose(value, np.reshape(plain, (4, 3)), rtol=RTOL, atol=RTOL)
    # σ(z) - t
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-LOGITS)) - targets(alpha, prior), atol=RTOL)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_equals_keras(alpha):
    # Keras: y (1 - α) + α/2, and the mean over the labels
    peer = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=alpha, reduction="none")
    expected = peer(LABELS.astype("float32"), LOGITS.astype("float32"))
    value = ops.binary_smoothed_crossentropy(LABELS, LOGITS.astype("float32"), alpha)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(value).mean(-1), keras.ops.convert_to_numpy(expected), rtol=2e-6
    )


def test_equals_two_classes():
    # softmax([0, z]) is (1 - σ(z), σ(z)); uniform smoothing of two classes is ½
    z = LOGITS[:3].ravel()
    y = LABELS[:3].ravel().astype(int)
    two = ops.smoothed_crossentropy(y, np.stack([0 * z, z], axis=-1), 0.3, [0.8, 0.2])
    value = ops.binary_smoothed_crossentropy(y, z, 0.3, 0.2)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), keras.ops.convert_to_numpy(two), rtol=5e-6)


@pytest.mark.parametrize("label, expected", [(1, (0, 1e4)), (0, (1e4, 0)), (0.25, (7500, 2500))])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_huge_logits(dtype, label, expected):
    # z - t z for z = 1e4 and -t z for z = -1e4; the gradient is 1 - t and -t
    logits = keras.ops.cast([[1e4, -1e4]], dtype)
    exact = keras.ops.convert_to_numpy(keras.ops.cast(logits, "float32"))[0, 0]  # 1e4 is 9984 in bfloat16
    value, gradient = value_and_gradient(loss([[label] * 2]), logits)
    np.testing.assert_allclose(value[0], np.array(expected) * exact / 1e4, rtol=1e-6)
    np.testing.assert_allclose(gradient[0], [1 - label, -label], atol=1e-6)


def test_confident_and_right_keeps_its_digits():
    # log(1 + e^-30) = e^-30 to 13 digits; -log σ(30) would be 0 in float32
    value, gradient = value_and_gradient(loss([[0.0]]), np.array([[-30.0]], "float32"))
    assert value[0, 0] == approx(math.exp(-30), rel=1e-5)
    assert gradient[0, 0] == approx(math.exp(-30), rel=1e-5)


def test_alpha_may_be_a_tensor():
    value, gradient = value_and_gradient(lambda a: ops.binary_smoothed_crossentropy(LABELS, LOGITS, a, RATES), 0.3)
    plain = keras.ops.convert_to_numpy(ops.binary_smoothed_crossentropy(LABELS, LOGITS, 0.3, RATES))
    np.testing.assert_allclose(value, plain, rtol=1e-6)
    # d/dα of -t z with t = (1-α) y + α u: (y - u) z
    assert gradient == approx(((LABELS - RATES) * LOGITS).sum(), rel=1e-5)


def test_second_derivative():
    # σ (1 - σ), whatever the target
    sigmoid = 1 / (1 + np.exp(-LOGITS))
    result = hessian_times(loss(LABELS, 0.1), LOGITS, np.arange(12.0).reshape(4, 3))
    np.testing.assert_allclose(result, sigmoid * (1 - sigmoid) * np.arange(12).reshape(4, 3), rtol=1e-4, atol=1e-6)


def test_no_examples_and_no_labels():
    for shape in ((0, 3), (2, 0)):
        value, gradient = value_and_gradient(loss(np.zeros(shape)), np.zeros(shape, "float32"))
        assert (value.shape, gradient.shape) == (shape, shape)


def test_label_out_of_range_is_nan_when_compiled():
    labels, logits = np.array([[0.0, 2.0, -1.0, np.nan]], "float32"), np.zeros((1, 4), "float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def both(y, z):
            return value_and_tape(loss(y), z)

        with pytest.raises(tf.errors.InvalidArgumentError, match=r"Expected binary labels in \[0, 1\]"):
            tf.function(both)(tf.constant(labels[:, :3]), tf.constant(logits[:, :3]))
        value, gradient = tf.function(both, jit_compile=True)(tf.constant(labels), tf.constant(logits))
    elif keras.backend.backend() == "jax":
        import jax

        value = jax.jit(lambda y, z: loss(y)(z))(labels, logits)
        gradient = jax.jit(jax.grad(lambda z, y: loss(y)(z).sum()))(logits, labels)
    else:
        pytest.skip("PyTorch runs the checks, which raise")
    np.testing.assert_allclose(value, [[math.log(2), np.nan, np.nan, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0.5, np.nan, np.nan, np.nan]], rtol=1e-6)


def value_and_tape(function, z):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(z)
        value = function(z)
    return value, tape.gradient(value, z)


@pytest.mark.parametrize(
    "labels, logits, message",
    [
        (
            [1, 0],
            [[0.0, 1.0]],
            r"one label a logit\. Received: labels of shape \(2,\), logits of shape \(1, 2\)\. For one",
        ),
        ([[1, 0, 0]], [[0.0, 1.0]], r"Received: labels of shape \(1, 3\), logits of shape \(1, 2\)"),
        ([[2, 0]], [[0.0, 1.0]], r"binary labels in \[0, 1\]\. Received: 2"),
        ([[-1, 0]], [[0.0, 1.0]], r"binary labels in \[0, 1\]\. Received: -1"),
        ([[math.nan, 0.0]], [[0.0, 1.0]], r"binary labels in \[0, 1\]\. Received: nan"),
    ],
)
def test_labels_that_do_not_fit(labels, logits, message):
    with pytest.raises(ValueError, match=message):
        ops.binary_smoothed_crossentropy(labels, logits, 0.1)


@pytest.mark.parametrize(
    "alpha, prior, message",
    [
        (1.0, None, r"Expected `label_smoothing` in \[0, 1\)\. Received: 1\.0\."),
        (-0.1, None, r"Received: -0\.1\."),
        (0.1, 1.5, r"Expected `prior` to be rates of labels in \[0, 1\]: a number or one a label\. Received: 1\.5\."),
        (0.1, math.nan, r"rates of labels in \[0, 1\].*Received: nan"),
        (0.1, "many", r"rates of labels in \[0, 1\].*Received: 'many'"),
        (0.1, [[0.1, 0.2]], r"rates of labels in \[0, 1\].*Received: \[\[0\.1, 0\.2\]\]"),
        (0.1, RATES, r"Expected `prior` to have one rate a label: 2\. Received: 3 rates\."),
    ],
)
def test_bad_options(alpha, prior, message):
    with pytest.raises(ValueError, match=message):
        ops.binary_smoothed_crossentropy([[1, 0]], [[0.0, 1.0]], alpha, prior)
