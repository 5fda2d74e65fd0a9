"""`HardLabelDistillation` and `SquaredLogitsDistillation`."""

import numpy as np
import pytest
from scipy.special import log_softmax

from keras_ls.distillation import HardLabelDistillation, LogitsDistillation, SquaredLogitsDistillation
from tests.gradients import value_and_gradient
from tests.ops import plain_relations as plain

RNG = np.random.default_rng(4)
TEACHER, STUDENT = (3 * RNG.normal(size=(2, 6, 5))).astype("float32")
WEIGHT = np.array([1, 2, 0.5, 0, 3, 1], "float32")


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_crossentropy_with_the_teachers_class(alpha):
    log_p = log_softmax(STUDENT.astype("float64"), axis=1)
    each = -(1 - alpha) * log_p[range(6), TEACHER.argmax(axis=1)] - alpha * log_p.mean(axis=1)
    loss = HardLabelDistillation(alpha)
    assert float(loss(TEACHER, STUDENT, WEIGHT)) == pytest.approx((WEIGHT * each).mean(), rel=1e-5)
    loss.label_smoothing = 0.5
    assert loss.get_config()["label_smoothing"] == 0.5


def test_an_undecided_teacher():
    teacher = TEACHER.copy()
    teacher[2, 1] = np.nan  # whatever the others are
    values = HardLabelDistillation(reduction="none")(teacher, STUDENT)
    assert np.isnan(np.asarray(values)).tolist() == [False, False, True, False, False, False]


def test_half_the_squared_distance():
    # the gradient is z_s - z_t, over N = 6 with the weights
    value, gradient = value_and_gradient(lambda z: SquaredLogitsDistillation()(TEACHER, z, WEIGHT), STUDENT)
    difference = STUDENT.astype("float64") - TEACHER
    assert float(value) == pytest.approx((WEIGHT * 0.5 * (difference**2).sum(axis=1)).mean(), rel=1e-6)
    np.testing.assert_allclose(gradient, WEIGHT[:, None] * difference / 6, rtol=1e-5)


def test_centered_logits_are_the_limit_of_high_temperatures():
    # Hinton et al., section 2.1: T² KL → ½ ‖centred difference‖² / K
    value = SquaredLogitsDistillation(center=True, dtype="float64")(TEACHER, STUDENT)
    centered = [z - z.mean(axis=1, keepdims=True) for z in (TEACHER, STUDENT)]
    assert float(value) == pytest.approx(0.5 * np.square(centered[1] - centered[0]).sum(axis=1).mean(), rel=1e-5)
    if value.dtype == "float64":
        assert float(value) / 5 == pytest.approx(
            float(LogitsDistillation(1e4, dtype="float64")(TEACHER, STUDENT)), 1e-3
        )


def test_standardized_logits():
    each = [0.5 * np.sum((plain.standardized(s) - plain.standardized(t)) ** 2) for t, s in zip(TEACHER, STUDENT)]
    assert float(SquaredLogitsDistillation(standardize=True)(TEACHER, STUDENT)) == pytest.approx(
        np.mean(each), rel=1e-5
    )
    # neither the teacher's mean nor its scale matters
    moved = SquaredLogitsDistillation(standardize=True)(7 * TEACHER + 3, STUDENT)
    assert float(moved) == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("loss", [HardLabelDistillation, SquaredLogitsDistillation])
def test_shapes_must_agree(loss):
    with pytest.raises(ValueError, match=r"logits of one shape. Received: teacher \(6, 5\), student \(6, 4\)"):
        loss()(TEACHER, STUDENT[:, :4])


def test_errors():
    with pytest.raises(ValueError, match=r"`label_smoothing` in \[0, 1\). Received: 1"):
        HardLabelDistillation(1)
