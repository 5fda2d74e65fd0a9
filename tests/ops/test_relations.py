"""The relational functions against the papers' formulas, one pair after the other."""

import keras
import numpy as np
import pytest

from keras_ls import ops
from tests.gradients import value_and_gradient
from tests.ops import plain_relations as plain
from tests.ops.plain_forms import central_differences, softmax
from tests.precision import digits

approx = pytest.approx
RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 3))
TIMES = np.array([1, 0, 3, 1, 2, 1])
ERRORS = [
    (ops.distance_error, plain.relational_distance),
    (ops.angle_error, plain.relational_angle),
    (ops.similarity_error, plain.similarity_preserving),
]
each = pytest.mark.parametrize("error, form", ERRORS, ids=lambda f: f.__name__)


@each
def test_the_mean_is_the_papers_formula(error, form):
    assert np.mean(keras.ops.convert_to_numpy(error(TEACHER, STUDENT))) == approx(
        form(TEACHER, STUDENT), rel=digits(1e-10, 1e-4)
    )


@each
def test_a_weight_repeats_the_example(error, form):
    expected = form(np.repeat(TEACHER, TIMES, 0), np.repeat(STUDENT, TIMES, 0))
    values = np.asarray(error(TEACHER, STUDENT, TIMES))
    assert (TIMES * values).sum() / TIMES.sum() == approx(expected, rel=digits(1e-8, 1e-4))


@pytest.mark.float64
@each
def test_gradient(error, form):
    gradient = value_and_gradient(lambda x: error(TEACHER, x), STUDENT)[1]
    slopes = central_differences(lambda x: len(x) * form(TEACHER, x), STUDENT)
    np.testing.assert_allclose(gradient, slopes, atol=1e-8)


@pytest.mark.slow_on_jax
@each
def test_no_difference_where_both_see_the_same(error, form):
    np.testing.assert_allclose(error(TEACHER, TEACHER), 0, atol=1e-6)
    gradient = value_and_gradient(lambda x: error(TEACHER, x), TEACHER)[1]
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@each
def test_what_does_not_fit(error, form):
    student = STUDENT.copy()
    student[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"Expected `student` to be finite numbers\. Received: nan, in 1 of"):
        error(TEACHER, student)
    with pytest.raises(ValueError, match=r"of as many examples\. Received: \("):
        error(TEACHER, STUDENT[:-1])
    with pytest.raises(ValueError, match=r"Expected `weight` of shape \(6,\)\. Received: \(2,\)"):
        error(TEACHER, STUDENT, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"`weight` without negative numbers, infinite ones or NaN\. Received: -1"):
        error(TEACHER, STUDENT, [1.0, -1.0, 1.0, 1.0, 1.0, 1.0])


@each
def test_examples_that_coincide(error, form):
    # for the student three of six; neither value nor gradient breaks
    student = STUDENT.copy()
    student[1] = student[4] = student[0]
    value, gradient = value_and_gradient(lambda x: error(TEACHER, x), student)
    assert value.mean() == approx(form(TEACHER, student), rel=digits(1e-8, 1e-4))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-3


def test_distances_far_from_the_origin():
    # differences of 1 at 1000: squares of the coordinates alone would lose them in float32
    shift = np.full(4, 1000.0)
    error = ops.distance_error((TEACHER + shift).astype("float32"), STUDENT)
    expected = plain.relational_distance((TEACHER + shift).astype("float32").astype("float64"), STUDENT)
    assert np.mean(keras.ops.convert_to_numpy(error)) == approx(expected, rel=digits(1e-8, 1e-3))


def test_one_example_has_no_relations():
    for error in (ops.distance_error, ops.angle_error, ops.similarity_error):
        value, gradient = value_and_gradient(lambda x, error=error: error([[1.0, 2.0]], x), [[3.0, 1.0]])
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_correlation_distance_along_rows_and_weighted():
    x, y = RNG.normal(size=(2, 3, 6))
    expected = [1 - plain.pearson(a, b) for a, b in zip(x, y)]
    np.testing.assert_allclose(ops.correlation_distance(x, y), expected, rtol=digits(1e-10, 1e-4))
    expected = [1 - plain.pearson(np.repeat(a, TIMES), np.repeat(b, TIMES)) for a, b in zip(x, y)]
    np.testing.assert_allclose(ops.correlation_distance(x, y, TIMES), expected, rtol=digits(1e-10, 1e-4))


def test_correlation_of_what_does_not_vary_is_zero():
    # .1 has no exact mean: rounding leaves something, which is no correlation
    value, gradient = value_and_gradient(
        lambda x: ops.correlation_distance(x, [[1.0, 2.0, 4.0]] * 2, [0.1, 0.7, 0.2]), [[0.1, 0.1, 0.1], [0.0] * 3]
    )
    np.testing.assert_array_equal(value, [1.0, 1.0])
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.float64
def test_correlation_of_what_varies_little_is_not_pulled_to_zero():
    # probabilities around 1e-9: 1e-8 in the denominator would make the distance nearly 1
    p_t, p_s = (softmax([20.0, 0.0, z, -1.0])[1:] for z in (0.5, 0.4))
    assert float(ops.correlation_distance(p_t, p_s)) == approx(1 - plain.pearson(p_t, p_s), rel=1e-6)
    assert float(ops.correlation_distance(p_t, p_s)) < 0.05
