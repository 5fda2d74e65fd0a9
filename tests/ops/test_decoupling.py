import math

import numpy as np
import pytest
from keras import ops as K

from keras_ls import ops
from tests.gradients import value_and_gradient
from tests.ops import plain_relations as plain
from tests.ops.plain_forms import central_differences, softmax
from tests.precision import digits

RNG = np.random.default_rng(0)
TEACHER, STUDENT = 3 * RNG.normal(size=(2, 6, 5))
LABELS = np.array([0, 1, 2, 3, 4, 1])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_the_papers_formula(temperature):
    expected = [plain.decoupled(*row, temperature) for row in zip(LABELS, TEACHER, STUDENT)]
    got = ops.decoupled_divergences(LABELS, TEACHER, STUDENT, temperature)
    np.testing.assert_allclose(np.transpose(got), expected, rtol=digits(1e-9, 1e-4))


def test_they_make_up_the_divergence():
    # KL = TCKD + (1 - p_y) NCKD
    target, others = (np.asarray(part) for part in ops.decoupled_divergences(LABELS, TEACHER, STUDENT))
    rest = np.array([1 - softmax(z)[y] for z, y in zip(TEACHER, LABELS)])
    np.testing.assert_allclose(target + rest * others, ops.kl_divergence(TEACHER, STUDENT), rtol=digits(1e-9, 1e-4))


@pytest.mark.float64
def test_gradient():
    def weighted(z):
        target, others = ops.decoupled_divergences(LABELS, TEACHER, z, 2.0)
        return target + 8 * others

    def plainly(z):
        return sum(a + 8 * b for a, b in (plain.decoupled(*row, 2.0) for row in zip(LABELS, TEACHER, z)))

    np.testing.assert_allclose(
        value_and_gradient(weighted, STUDENT)[1], central_differences(plainly, STUDENT), atol=1e-7
    )


def test_a_teacher_that_is_sure_still_teaches_about_the_others():
    # 1 - p_y = e^-2000 is 0 in any precision: log(1 - p_y) is computed from the other logits, and NCKD is unmoved
    teacher, student = [[2000.0, math.log(3), 0.0]], [[2000.0, 0.0, 0.0]]
    target, others = ops.decoupled_divergences([0], teacher, student)
    assert float(target[0]) == 0
    assert float(others[0]) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


def test_labels_are_checked():
    with pytest.raises(ValueError, match=r"Expected integer labels in \[0, 5\)"):
        ops.decoupled_divergences([0, 1, 2, 3, 4, 5], TEACHER, STUDENT)


@pytest.mark.parametrize("classes", [2, 3])
def test_no_other_class_left(classes):
    # all others are masked: the teacher has nothing to tell of them, and the student agrees or is infinitely far
    sure = np.full((1, classes), -np.inf)
    sure[0, 0] = 1.0
    spread = np.zeros((1, classes))  # 1/K each
    target, others = (np.asarray(part) for part in ops.decoupled_divergences([0], sure, sure))
    assert target == [0] and others == [0]
    target, others = (np.asarray(part) for part in ops.decoupled_divergences([0], sure, spread))
    np.testing.assert_allclose(target, np.log(classes), rtol=1e-6)  # log 1 - log 1/K
    assert others == [0]
    target, _ = (np.asarray(part) for part in ops.decoupled_divergences([0], spread, sure))
    assert target == [np.inf]
    _, gradient = value_and_gradient(lambda z: sum(map(K.sum, ops.decoupled_divergences([0], sure, z))), spread)
    # of TCKD = -log p_0: p - (1, 0, ...)
    np.testing.assert_allclose(gradient, [[1 / classes - 1] + [1 / classes] * (classes - 1)], rtol=1e-5)
