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
RTOL = 5e-6 if keras.backend.backend() == "jax" else 1e-11
LOG3 = math.log(3)


def margin(m):
    return lambda logits: ops.excess_margin(logits, m)


FORMS = {
    "entropy": (ops.entropy, plain_forms.entropy),
    "margin-0": (margin(0.0), lambda z: plain_forms.excess_margin(z, 0.0)),
    "margin-2.5": (margin(2.5), lambda z: plain_forms.excess_margin(z, 2.5)),
    "top": (ops.top_logit_excess, plain_forms.top_logit_excess),
}
each_form = pytest.mark.parametrize("function, plain", FORMS.values(), ids=FORMS)
convex_form = pytest.mark.parametrize("function", [margin(0.0), margin(2.5), ops.top_logit_excess])


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def random_logits(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape) * 3


# all three -----------------------------------------------------------------------------------------------------------


@each_form
@pytest.mark.parametrize("shape", [(5,), (7, 2), (2, 3, 4), (2, 3, 4, 5), (1, 1000)])
def test_equals_the_plain_form(function, plain, shape):
    logits = random_logits(*shape)
    expected = np.apply_along_axis(plain, -1, logits)
    np.testing.assert_allclose(numpy(function(logits)), expected, rtol=RTOL, atol=RTOL)
    single = logits.astype("float32")
    expected = np.apply_along_axis(plain, -1, single)
    np.testing.assert_allclose(numpy(function(single)), expected, rtol=5e-6, atol=1e-6)


@each_form
def test_gradient_by_central_differences(function, plain):
    logits = random_logits(4, 6)
    gradient = value_and_gradient(function, logits)[1]
    for row, z in zip(gradient, logits):
        np.testing.assert_allclose(row, plain_forms.central_differences(plain, z), rtol=1e-4, atol=1e-6)


@each_form
def test_constant_added_to_all_logits_changes_nothing(function, plain):
    # 2^10 is added to logits with few digits without rounding them
    logits = np.round(random_logits(4, 6) * 64).astype("float32") / 64
    value, gradient = value_and_gradient(function, logits)
    moved, same_gradient = value_and_gradient(function, logits + 1024)
    np.testing.assert_allclose(moved, value, rtol=2e-4)  # the mean is rounded at 1024
    np.testing.assert_allclose(same_gradient, gradient, atol=1e-6)
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-6)


@each_form
def test_empty_batch(function, plain):
    for shape in ((0, 4), (3, 0, 4)):
        value, gradient = value_and_gradient(function, np.zeros(shape, "float32"))
        assert (value.shape, gradient.shape) == (shape[:-1], shape)


@each_form
def test_nan_shows(function, plain):
    logits = np.array([[np.nan, 0.0, 1.0], [0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match=r"Expected `logits` without NaN and \+inf\. Received: nan, in 1 of 6 numbers"):
        function(logits)
    if keras.backend.backend() == "tensorflow":  # in a graph it shows
        import tensorflow as tf

        value = tf.function(function)(tf.constant(logits)).numpy()
        assert np.isnan(value[0]) and value[1] == approx(plain([0.0, 1.0, 2.0]), rel=1e-6)


@each_form
def test_integers_are_float32(function, plain):
    value = function(np.array([[4, 0, -1]]))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value[0]) == approx(plain([4, 0, -1]), rel=1e-6)


# entropy -------------------------------------------------------------------------------------------------------------


def test_entropy_by_hand():
    # p = (¼, ¾): ¼ log 4 + ¾ log 4/3
    expected = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    assert float(ops.entropy([[0.0, LOG3]])[0]) == approx(expected, rel=1e-6)


@pytest.mark.parametrize("K", [2, 10, 1000])
def test_entropy_of_the_uniform_distribution_is_log_k_and_its_maximum(K):
    value, gradient = value_and_gradient(ops.entropy, np.full((1, K), 7.0, "float32"))
    assert value[0] == approx(math.log(K), rel=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=2e-7)


def test_entropy_gradient_by_the_product_rule():
    logits = np.concatenate([random_logits(3, 5), [[0.0, 20.0, -20.0, 5.0, 5.0], [50.0, 0.0, 0.0, 0.0, 0.0]]])
    gradient = value_and_gradient(ops.entropy, logits)[1]
    for row, z in zip(gradient, logits):
        np.testing.assert_allclose(row, plain_forms.entropy_gradient(z), rtol=1e-4, atol=1e-6)


@pytest.mark.float64
def test_entropy_keeps_the_digits_of_a_confident_prediction():
    # ε = e^-50: H = -(1-ε) log(1-ε) + 50 ε (1-ε) = 51 ε to first order
    value, gradient = value_and_gradient(ops.entropy, np.array([[50.0, 0.0]]))
    assert value[0] == approx(plain_forms.entropy([50.0, 0.0]), rel=1e-4)
    # -p_2 (log p_2 + H) = 50 e^-50
    assert gradient[0, 1] == approx(50 * math.exp(-50), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_entropy_of_huge_logits_is_0(dtype):
    logits = keras.ops.cast(np.array([[9984.0, -9984.0], [-9984.0, 9984.0]]), dtype)
    value, gradient = value_and_gradient(ops.entropy, logits)
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_entropy_of_classes_switched_off():
    # 1 : 3 over two classes, the third at -inf
    logits = np.array([[0.0, LOG3, -np.inf], [-np.inf, 2.0, -np.inf]], "float32")
    value, gradient = value_and_gradient(ops.entropy, logits)
    h = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    np.testing.assert_allclose(value, [h, 0], rtol=1e-6)
    # -p_k (log p_k + H)
    expected = [[0.25 * (math.log(4) - h), 0.75 * (math.log(4 / 3) - h), 0], [0, 0, 0]]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_entropy_second_derivative():
    logits, direction = random_logits(3, 4), random_logits(3, 4)[::-1].copy()
    logits[2] = [3.0, -np.inf, 1.0, 0.0]
    result = hessian_times(ops.entropy, logits, direction)
    for row, z, d in zip(result[:2], logits, direction):
        hessian = plain_forms.central_differences(plain_forms.entropy_gradient, z)
        np.testing.assert_allclose(row, hessian @ d, rtol=1e-4, atol=1e-6)
    # the class that is off takes no part
    three = plain_forms.central_differences(plain_forms.entropy_gradient, logits[2, [0, 2, 3]])
    np.testing.assert_allclose(result[2, [0, 2, 3]], three @ direction[2, [0, 2, 3]], rtol=1e-4, atol=1e-6)
    assert result[2, 1] == 0


# excess_margin -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m, expected", [(0, (5 + 12) / 4), (3, (2 + 9) / 4), (5, 7 / 4), (12, 0), (100, 0)])
def test_excess_margin_by_hand(m, expected):
    # distances 0, 5, 12 and 0
    assert float(ops.excess_margin([[12.0, 7.0, 0.0, 12.0]], m)[0]) == expected


def test_excess_margin_gradient_by_hand():
    # two of four classes lie beyond the margin: +2/4 for the largest, -1/4 for each of them
    gradient = value_and_gradient(margin(4.0), np.array([[12.0, 7.0, 0.0, 11.0]]))[1]
    np.testing.assert_allclose(gradient, [[0.5, -0.25, -0.25, 0.0]], atol=1e-7)


def test_nothing_beyond_the_margin_has_no_gradient():
    # also at a distance of exactly the margin
    value, gradient = value_and_gradient(margin(10.0), np.array([[10.0, 0.0, 3.0], [-5.0, -5.0, -5.0]]))
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_excess_margin_of_huge_logits(dtype):
    # (19968 - 8) / 2, within float32's 24 bits
    logits = keras.ops.cast(np.array([[9984.0, -9984.0]]), dtype)
    value, gradient = value_and_gradient(margin(8.0), logits)
    assert value[0] == 9980
    np.testing.assert_array_equal(gradient, [[0.5, -0.5]])


def test_a_class_switched_off_does_not_count():
    # distances 3 and 0, of two possible classes: (3 - 1 + 0) / 2, and 3 - 3/2; the second row has all three
    logits = np.array([[0.0, 3.0, -np.inf], [0.0, 3.0, 3.0]], "float32")
    value, gradient = value_and_gradient(margin(1.0), logits)
    np.testing.assert_allclose(value, [1, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-1 / 2, 1 / 2, 0], [-1 / 3, 1 / 6, 1 / 6]], atol=1e-7)
    value, gradient = value_and_gradient(ops.top_logit_excess, logits)
    np.testing.assert_allclose(value, [1.5, 1], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-1 / 2, 1 / 2, 0], [-1 / 3, 1 / 6, 1 / 6]], atol=1e-7)


@pytest.mark.parametrize("m", [-1, -1e-9, math.nan, math.inf, "10", None, True])
def test_bad_margin(m):
    with pytest.raises(ValueError) as error:
        ops.excess_margin([[0.0, 1.0]], m)
    assert str(error.value) == f"Expected `margin` >= 0. Received: {m!r}."


# top_logit_excess ----------------------------------------------------------------------------------------------------


def test_top_logit_excess_by_hand():
    # 4 - (4 + 0 - 1 + 1)/4 = 3, gradient [k is the largest] - 1/4
    value, gradient = value_and_gradient(ops.top_logit_excess, np.array([[4.0, 0.0, -1.0, 1.0]]))
    assert value[0] == 3
    np.testing.assert_array_equal(gradient, [[0.75, -0.25, -0.25, -0.25]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_top_logit_excess_of_huge_logits(dtype):
    # sums of 9984s overflow float16: 9984 - 2·9984/4
    logits = keras.ops.cast(np.array([[9984.0, -9984.0, 9984.0 / 2, 9984.0 / 2]]), dtype)
    value, gradient = value_and_gradient(ops.top_logit_excess, logits)
    assert value[0] == 9984 - 9984 / 4
    np.testing.assert_array_equal(gradient, [[0.75, -0.25, -0.25, -0.25]])


@pytest.mark.parametrize("K", [2, 1000])
def test_top_logit_excess_for_few_and_many_classes(K):
    # one logit of 1 among zeros: 1 - 1/K
    logits = np.zeros((1, K), "float32")
    logits[0, 1] = 1
    value, gradient = value_and_gradient(ops.top_logit_excess, logits)
    assert value[0] == approx(1 - 1 / K, rel=1e-6)
    np.testing.assert_allclose(gradient, (logits - 1 / K), atol=1e-7)


# ties of the largest logit -------------------------------------------------------------------------------------------


@convex_form
@pytest.mark.parametrize("logits", [[2.0, 2.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0], [5.0, 2.5, 5.0, 0.0]])
def test_gradient_at_ties_is_a_subgradient(function, logits):
    # both penalties are convex: f(z + d) >= f(z) + g·d for every step d, if g is worth to be called a gradient there
    logits = np.array([logits])
    value, gradient = value_and_gradient(function, logits)
    assert gradient.sum() == approx(0, abs=1e-6)
    steps = np.random.default_rng(0).normal(size=(200, 4)) * np.logspace(-3, 2, 200)[:, None]
    after = numpy(function(logits + steps))
    assert (after >= value + steps @ gradient[0] - 1e-5 * (1 + np.abs(steps).max(-1))).all()


@convex_form
def test_ties_share_the_gradient(function):
    # three largest ones and one that lies 6 behind: they share what it gets
    gradient = value_and_gradient(function, np.array([[2.0, 2.0, -4.0, 2.0]]))[1]
    np.testing.assert_allclose(gradient, [[1 / 12, 1 / 12, -1 / 4, 1 / 12]], atol=1e-7)


@convex_form
def test_second_derivative_is_0(function):
    logits = random_logits(3, 4)
    np.testing.assert_array_equal(hessian_times(function, logits, np.ones((3, 4))), np.zeros((3, 4)))
