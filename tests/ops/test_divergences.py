import math

import keras
import numpy as np
import pytest

from keras_ls import ops
from tests.gradients import value_and_gradient
from tests.ops import plain_relations as plain
from tests.ops.plain_forms import central_differences, softmax
from tests.precision import digits

approx = pytest.approx


def test_by_hand():
    # KL((¼, ¾) ‖ (½, ½)) = ¼ log ½ + ¾ log 3/2
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert float(ops.kl_divergence([[0.0, math.log(3)]], [[7.0, 7.0]])[0]) == approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperatures", [(1.0, None), (4.0, None), (4.0, 1.0)])
def test_equals_the_plain_form_and_tensorflow_probability(temperatures):
    tfp = pytest.importorskip("tensorflow_probability")
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 3, 6, 5)) * 3
    T, S = temperatures[0], temperatures[1] or temperatures[0]
    got = ops.kl_divergence(teacher, student, *temperatures)
    expected = np.zeros((3, 6))
    for i in np.ndindex(3, 6):
        p = np.exp(teacher[i] / T) / sum(math.exp(z / T) for z in teacher[i])
        q = np.exp(student[i] / S) / sum(math.exp(z / S) for z in student[i])
        for k in range(5):
            expected[i] += p[k] * math.log(p[k] / q[k])
    np.testing.assert_allclose(got, expected, rtol=digits(1e-9, 2e-5))
    distributions = tfp.distributions
    peer = distributions.kl_divergence(
        distributions.Categorical(logits=teacher / T), distributions.Categorical(logits=student / S)
    )
    np.testing.assert_allclose(got, peer, rtol=digits(1e-9, 2e-5))


@pytest.mark.parametrize("gap", [60.0, 5000.0])
def test_a_large_divergence_is_not_clipped(gap):
    # the teacher is sure of class 0, to which the student gives e^-gap: KL = gap, gradient q - p = (-1, 1)
    value, gradient = value_and_gradient(lambda z: ops.kl_divergence([[2 * gap, 0.0]], z), [[0.0, gap]])
    assert float(value[0]) == approx(gap, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-1.0, 1.0]], atol=1e-6)


def test_gradient_by_the_formula():
    # d KL / d z_s = (softmax(z_s / S) - softmax(z_t / T)) / S
    rng = np.random.default_rng(1)
    teacher, student = rng.normal(size=(2, 4, 3))
    gradient = value_and_gradient(lambda z: ops.kl_divergence(teacher, z, 3.0, 2.0), student)[1]
    p, q = np.exp(teacher / 3), np.exp(student / 2)
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, (q - p) / 2, atol=digits(1e-12, 1e-7))


def test_switched_off_classes():
    inf = np.inf
    # off for both: KL((½, ½) ‖ (¼, ¾)) = ½ log 2 + ½ log ⅔
    off_for_both = ops.kl_divergence([[0.0, 0.0, -inf]], [[0.0, math.log(3), -inf]])
    assert float(off_for_both[0]) == approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-5)
    # off for the teacher alone: p = (½, ½, 0), q = (⅓, ⅓, ⅓): log 3/2
    assert float(ops.kl_divergence([[0.0, 0.0, -inf]], [[0.0] * 3])[0]) == approx(math.log(1.5), rel=1e-6)
    # off for the student alone: infinitely far
    assert float(ops.kl_divergence([[0.0] * 3], [[0.0, 0.0, -inf]])[0]) == inf


def test_gradient_past_switched_off_classes():
    student = [[0.0, math.log(3), -np.inf]]
    gradient = value_and_gradient(lambda z: ops.kl_divergence([[0.0, 0.0, -np.inf]], z), student)[1]
    # q - p = (¼ - ½, ¾ - ½, 0)
    np.testing.assert_allclose(gradient, [[-0.25, 0.25, 0.0]], atol=1e-6)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, "2"])
def test_bad_temperatures(bad):
    with pytest.raises(ValueError, match=r"Expected `temperature` > 0\. Received"):
        ops.kl_divergence([[0.0, 1.0]], [[1.0, 0.0]], bad)
    with pytest.raises(ValueError, match=r"Expected `student_temperature` > 0\. Received"):
        ops.kl_divergence([[0.0, 1.0]], [[1.0, 0.0]], 2.0, bad)


def test_temperatures_may_be_tensors():
    teacher, student = np.random.default_rng(2).normal(size=(2, 4, 3)).astype("float32")
    tensors = keras.ops.convert_to_tensor(3.0), keras.ops.convert_to_tensor(2.0)
    np.testing.assert_allclose(
        ops.kl_divergence(teacher, student, *tensors), ops.kl_divergence(teacher, student, 3.0, 2.0), rtol=1e-6
    )


def test_standardized_logits():
    teacher, student = np.random.default_rng(3).normal(size=(2, 4, 3)) * 5
    expected = [
        plain.divergence(softmax(plain.standardized(t) / 2), softmax(plain.standardized(s)))
        for t, s in zip(teacher, student)
    ]
    np.testing.assert_allclose(
        ops.kl_divergence(teacher, student, 2.0, 1.0, standardize=True), expected, rtol=digits(1e-9, 1e-4)
    )


def test_jensen_shannon_equals_the_plain_form():
    teacher, student = np.random.default_rng(4).normal(size=(2, 6, 5)) * 3
    expected = [plain.jensen_shannon(softmax(t / 4), softmax(s)) for t, s in zip(teacher, student)]
    got = ops.jensen_shannon_divergence(teacher, student, 4.0, 1.0)
    np.testing.assert_allclose(got, expected, rtol=digits(1e-9, 1e-4))
    swapped = ops.jensen_shannon_divergence(student, teacher, 1.0, 4.0)
    np.testing.assert_allclose(got, swapped, rtol=1e-6)


@pytest.mark.float64
def test_gradient_of_jensen_shannon():
    teacher, student = np.random.default_rng(5).normal(size=(2, 4, 3))
    gradient = value_and_gradient(lambda z: ops.jensen_shannon_divergence(teacher, z, 2.0), student)[1]
    slopes = central_differences(
        lambda x: sum(plain.jensen_shannon(softmax(t / 2), softmax(s / 2)) for t, s in zip(teacher, x)), student
    )
    np.testing.assert_allclose(gradient, slopes, atol=1e-9)


def test_jensen_shannon_of_switched_off_classes():
    # off for both; off for the teacher alone: p = (1, 0), q = (½, ½), m = (¾, ¼): ½ log 4/3 + ½ (½ log ⅔ + ½ log 2)
    inf = np.inf
    expected = 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * math.log(2)
    value, gradient = value_and_gradient(
        lambda z: ops.jensen_shannon_divergence([[0.0, -inf, -inf]], z), [[0.0, 0.0, -inf]]
    )
    assert float(value[0]) == approx(expected, rel=1e-6)
    # dJS/dz_k = ½ q_k (log q_k/m_k - Σ_j q_j log q_j/m_j): ± ⅛ log (⅔ / 2)
    np.testing.assert_allclose(gradient, [[math.log(1 / 3) / 8, -math.log(1 / 3) / 8, 0.0]], rtol=1e-5)


def test_binary_by_hand_and_its_gradient():
    # of each label: KL(Bernoulli(¼) ‖ Bernoulli(½)) = ¼ log ½ + ¾ log 3/2; dKL/dz_s = σ(z_s) - σ(z_t) = ¼
    teacher, student = [[-math.log(3), 0.0, 80.0]], [[0.0, 0.0, -80.0]]
    value, gradient = value_and_gradient(lambda z: ops.binary_kl_divergence(teacher, z), student)
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    np.testing.assert_allclose(value, [[expected, 0.0, 80.0]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, [[0.25, 0.0, -1.0]], atol=1e-6)
    # temperatures of their own: σ(2 log 3 / 2) = ¾ against σ(0)
    value = ops.binary_kl_divergence([2 * math.log(3)], [0.0], 2.0, 1.0)
    assert float(value[0]) == approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


LOGITS = np.random.default_rng(0).normal(size=(4, 5)) * 3


def test_standardize_logits_equals_the_papers_formula():
    expected = [plain.standardized(z) for z in LOGITS]
    np.testing.assert_allclose(ops.standardize_logits(LOGITS), expected, rtol=digits(1e-12, 1e-5))


@pytest.mark.float64
def test_gradient_of_standardize_logits():
    weight = np.arange(5.0)
    gradient = value_and_gradient(lambda z: ops.standardize_logits(z) * keras.ops.convert_to_tensor(weight), LOGITS)[1]
    slopes = central_differences(lambda z: sum((plain.standardized(row) * weight).sum() for row in z), LOGITS)
    np.testing.assert_allclose(gradient, slopes, atol=1e-8)


def test_equal_logits_standardize_to_zeros():
    # .1 in float32: the mean of seven differs from it by rounding
    value, gradient = value_and_gradient(ops.standardize_logits, np.full((2, 7), 0.1, "float32"))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_squared_logit_error():
    teacher, student = LOGITS[:2], LOGITS[2:]
    for form, options in (
        (lambda z: z, {}),
        (lambda z: z - z.mean(), {"center": True}),
        (plain.standardized, {"standardize": True}),
    ):
        expected = [0.5 * sum((form(s) - form(t)) ** 2) for t, s in zip(teacher, student)]
        np.testing.assert_allclose(
            ops.squared_logit_error(teacher, student, **options), expected, rtol=digits(1e-12, 1e-5)
        )
