import keras
import numpy as np
import pytest

from keras_ls import ops
from tests.gradients import value_and_gradient
from tests.ops import plain_relations as plain
from tests.ops.plain_forms import central_differences
from tests.precision import digits

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
