import numpy as np
import pytest

import keras_ls as kls
from tests.distillation.networks import kl
from tests.metrics.streams import each_way, streamed, traced

approx = pytest.approx
TeacherAgreement = kls.metrics.TeacherAgreement
TEACHER, STUDENT = 2 * np.random.default_rng(0).normal(size=(2, 50, 4)).astype("float32")


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_top_class_by_hand(batch):
    teacher = [[3.0, 1, 0], [0, 1, 2], [5, 6, 0], [0, 0, 9]]
    student = [[0.2, 0.1, 0], [2, 1, 0], [0, 1, 0], [0, 0, 1]]  # the second differs
    assert streamed(TeacherAgreement(), teacher, student, batch=batch) == approx(0.75)
    assert streamed(TeacherAgreement(), teacher, student, [1, 3, 1, 1], batch) == approx(0.5)


@pytest.mark.parametrize("batch", [None, 1])
def test_kl_by_hand(batch):
    # KL((¼, ¾) ‖ (½, ½)) = ¼ log ½ + ¾ log 3/2; twice that with weight 1 beside an agreeing one of weight 1
    expected = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    p, q = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([[0.5, 0.5], [0.5, 0.5]])
    assert streamed(TeacherAgreement("kl"), np.log(p), np.log(q), batch=batch) == approx(expected / 2, rel=1e-5)
    assert streamed(TeacherAgreement("kl", from_logits=False), p, q, [3, 1], batch) == approx(0.75 * expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@each_way
def test_kl_equals_the_plain_form(jit_compile, temperature):
    metric = TeacherAgreement("kl", temperature)
    update = traced(metric.update_state, jit_compile)
    for rows in np.array_split(np.arange(50), 4):
        update(TEACHER[rows], STUDENT[rows])
    assert float(metric.result()) == approx(kl(TEACHER, STUDENT, temperature).mean(), rel=1e-5)


def test_probabilities_have_the_same_top_class():
    same = (TEACHER.argmax(1) == STUDENT.argmax(1)).mean()
    p, q = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (TEACHER, STUDENT))
    assert streamed(TeacherAgreement(), TEACHER, STUDENT) == approx(same)
    assert streamed(TeacherAgreement(from_logits=False), p, q, batch=7) == approx(same)


@pytest.mark.parametrize("measure", ["top1", "kl"])
def test_a_nan_of_either_is_an_error(measure):
    spoilt = TEACHER.copy()
    spoilt[3, 1] = np.nan
    for pair in ((spoilt, STUDENT), (STUDENT, spoilt)):
        with pytest.raises(ValueError, match=r"without NaN\. Received: 1 NaN"):
            TeacherAgreement(measure).update_state(*pair)
        weight = np.ones(50)
        weight[3] = 0
        kept = streamed(TeacherAgreement(measure), *pair, weight)
        without = streamed(TeacherAgreement(measure), *(np.delete(z, 3, axis=0) for z in pair))
        assert kept == approx(without, rel=1e-6)


def test_classes_that_are_switched_off():
    # KL((½, ½, 0) ‖ (⅓, ⅓, ⅓)) = log 3/2, and the first class is the top of both
    teacher, student = [[0.0, 0.0, -np.inf]], [[0.0, 0.0, 0.0]]
    assert streamed(TeacherAgreement("kl"), teacher, student) == approx(np.log(1.5), rel=1e-6)
    assert streamed(TeacherAgreement(), teacher, student) == 1


def test_names_and_errors():
    assert (TeacherAgreement().name, TeacherAgreement("kl").name, TeacherAgreement("kl", name="x").name) == (
        "teacher_agreement",
        "teacher_kl",
        "x",
    )
    with pytest.raises(ValueError, match=r"Expected `measure` to be one of 'top1', 'kl'\. Received: 'KL'"):
        TeacherAgreement("KL")
    with pytest.raises(ValueError, match=r"Received: shapes \(50,\) and \(50, 4\).*teacher_metrics"):
        TeacherAgreement().update_state(np.zeros(50), STUDENT)
    with pytest.raises(ValueError, match="with K ≥ 2"):
        TeacherAgreement().update_state(TEACHER[:, :1], STUDENT[:, :1])
