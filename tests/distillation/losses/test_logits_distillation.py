"""`LogitsDistillation` against hand derivations, SciPy and `keras.distillation`."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import rel_entr, softmax

from keras_ls.distillation import LogitsDistillation
from tests.distillation.networks import kl

RNG = np.random.default_rng(0)
TEACHER, STUDENT = (3 * RNG.normal(size=(2, 7, 5))).astype("float32")


def value_and_gradient(loss, teacher, student):
    student = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = loss(teacher, student)
    return float(value), tape.gradient(value, student).numpy()


def test_by_hand():
    # KL((1/2, 1/2) || (1/4, 3/4)) = ½ log 2 + ½ log ⅔ = ½ log 4/3, times T² = 4
    loss = LogitsDistillation(temperature=2.0)
    assert float(loss([[0.0, 0.0]], [[0.0, 2 * math.log(3)]])) == pytest.approx(4 * 0.5 * math.log(4 / 3), rel=1e-6)


def test_the_default_is_a_softmax_kl_times_the_square_of_temperature_3():
    value = float(LogitsDistillation()(TEACHER, STUDENT))
    divergence = rel_entr(softmax(TEACHER / 3, axis=1), softmax(STUDENT / 3, axis=1)).sum(axis=1)
    assert value == pytest.approx(9 * divergence.mean(), rel=1e-6)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("student_temperature", [None, 1.0, 5.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_values_and_gradients(temperature, student_temperature, scaled):
    t_s = student_temperature or temperature
    factor = temperature**2 if scaled else 1
    loss = LogitsDistillation(temperature, student_temperature, scaled)
    value, gradient = value_and_gradient(loss, TEACHER, STUDENT)
    p_t, p_s = softmax(TEACHER / temperature, axis=1), softmax(STUDENT / t_s, axis=1)
    assert value == pytest.approx(factor * rel_entr(p_t, p_s).sum(axis=1).mean(), rel=1e-5)
    # d/dz_s of -Σ p_t log softmax(z_s / T_s) is (p_s - p_t) / T_s; times T², divided by N = 7
    np.testing.assert_allclose(gradient, factor / t_s * (p_s - p_t) / 7, atol=2e-6)


def test_the_papers_setting_is_the_crossentropy_less_the_teachers_entropy():
    # H(p_t(T), p) with the student at temperature 1 and no T²
    loss = LogitsDistillation(4.0, student_temperature=1, scale_by_temperature=False)
    p_t, log_p = softmax(TEACHER / 4.0, axis=1), np.log(softmax(STUDENT, axis=1))
    crossentropy, entropy = -(p_t * log_p).sum(axis=1), -(p_t * np.log(p_t)).sum(axis=1)
    assert float(loss(TEACHER, STUDENT)) == pytest.approx((crossentropy - entropy).mean(), rel=1e-6)
    peer = keras.losses.CategoricalCrossentropy(from_logits=True)(p_t, STUDENT)
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(float(peer) - entropy.mean(), rel=1e-5)


def test_a_student_that_agrees_has_no_loss():
    # its logits may differ by a constant an example
    value, gradient = value_and_gradient(LogitsDistillation(), TEACHER, TEACHER + np.arange(7)[:, None])
    assert value == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_high_temperatures_match_logits():
    # T² KL tends to 1/(2K) Σ_k (centred logit difference)² (Hinton et al., section 2.1), here to within 1/T
    teacher, student = TEACHER.astype("float64"), STUDENT.astype("float64")
    d = teacher - student
    expected = ((d - d.mean(axis=1, keepdims=True)) ** 2).sum(axis=1).mean() / (2 * 5)
    assert float(LogitsDistillation(1e4)(teacher, student)) == pytest.approx(expected, rel=1e-3)


def test_a_true_divergence_of_60_reads_60_with_a_gradient():
    # p_t = (1, 0) to float precision, log p_s = (-60, 0). keras.distillation clips p_s at 1e-7: -log 1e-7 = 16.1
    teacher, student = np.array([[200.0, 0.0]], "float32"), np.array([[0.0, 60.0]], "float32")
    value, gradient = value_and_gradient(LogitsDistillation(1.0), teacher, student)
    assert value == pytest.approx(60.0, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-1.0, 1.0]], rtol=1e-6)
    peer = keras.distillation.LogitsDistillation(1.0, loss=keras.losses.KLDivergence())
    clipped, vanished = value_and_gradient(peer.compute_loss, teacher, student)
    assert clipped == pytest.approx(-math.log(1e-7), rel=1e-4)
    assert np.abs(vanished).max() < 1e-6


def test_keras_agrees_where_nothing_is_clipped():
    peer = keras.distillation.LogitsDistillation(4.0, loss=keras.losses.KLDivergence())
    assert float(LogitsDistillation(4.0)(TEACHER, STUDENT)) == pytest.approx(
        float(peer.compute_loss(TEACHER, STUDENT)), rel=1e-4
    )


def test_a_class_that_the_teacher_rules_out():
    # p_t = (1/2, 1/2, 0), p_s = (1/3, 1/3, 1/3): KL = log 3/2; gradient p_s - p_t
    value, gradient = value_and_gradient(LogitsDistillation(1.0), [[0.0, 0.0, -np.inf]], np.zeros((1, 3), "float32"))
    assert value == pytest.approx(math.log(1.5), rel=1e-6)
    np.testing.assert_allclose(gradient, [[-1 / 6, -1 / 6, 1 / 3]], rtol=1e-5)


def test_sequences_average_over_steps():
    teacher, student = RNG.normal(size=(2, 3, 4, 5)).astype("float32")
    expected = 9 * kl(teacher, student, 3.0)
    assert float(LogitsDistillation()(teacher, student)) == pytest.approx(expected.mean(), rel=1e-5)
    per_example = LogitsDistillation(reduction="none")(teacher, student)
    np.testing.assert_allclose(per_example, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "reduction, divisor", [("sum_over_batch_size", 7), ("sum", 1), ("mean_with_sample_weight", 0.5 * 21)]
)
def test_sample_weight(reduction, divisor):
    weight = 0.5 * np.arange(7, dtype="float32")  # their sum is 10.5
    value = LogitsDistillation(2.0, reduction=reduction)(TEACHER, STUDENT, sample_weight=weight)
    assert float(value) == pytest.approx((weight * 4 * kl(TEACHER, STUDENT, 2.0)).sum() / divisor, rel=1e-5)


def test_compute_loss_takes_the_arguments_of_keras_distillation():
    loss = LogitsDistillation()
    assert float(loss.compute_loss(TEACHER, STUDENT)) == float(loss(TEACHER, STUDENT))
    assert float(loss.compute_loss(STUDENT, TEACHER)) != pytest.approx(float(loss(TEACHER, STUDENT)), rel=1e-2)
    weighted = loss.compute_loss(TEACHER, STUDENT, sample_weight=np.arange(7))
    assert float(weighted) == pytest.approx((np.arange(7) * 9 * kl(TEACHER, STUDENT, 3.0)).mean(), rel=1e-5)


@pytest.mark.parametrize("teacher_dtype, student_dtype", [("float64", "float32"), ("float32", "float64")])
def test_teacher_and_student_of_other_dtypes(teacher_dtype, student_dtype):
    value = LogitsDistillation()(tf.constant(TEACHER, teacher_dtype), tf.constant(STUDENT, student_dtype))
    assert float(value) == pytest.approx(9 * kl(TEACHER, STUDENT, 3.0).mean(), rel=1e-6)


def test_half_precision_teacher_of_a_float32_student():
    half = tf.cast(TEACHER, "float16")
    value = LogitsDistillation()(half, STUDENT)
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(9 * kl(half.numpy(), STUDENT, 3.0).mean(), rel=1e-5)


@pytest.mark.parametrize("teacher, student", [((7, 5), (7, 4)), ((7, 5), (7, 1)), ((5,), (7, 5)), ((7, 1, 5), (7, 5))])
def test_shapes_must_agree(teacher, student):
    import re

    message = f"logits of one shape. Received: teacher {teacher}, student {student}"
    with pytest.raises(ValueError, match=re.escape(message)):
        LogitsDistillation()(np.zeros(teacher, "float32"), np.zeros(student, "float32"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"temperature": 0.0}, "`temperature` > 0. Received: 0.0"),
        ({"temperature": -2}, "`temperature` > 0. Received: -2"),
        ({"temperature": "3"}, "`temperature` > 0. Received: '3'"),
        ({"temperature": True}, "`temperature` > 0. Received: True"),
        ({"student_temperature": 0}, "`student_temperature` > 0. Received: 0"),
        ({"divergence": "forward"}, "`divergence` to be one of 'forward_kl', 'reverse_kl', 'jensen_shannon'"),
        ({"dtype": "float16"}, "`dtype` to be one of 'float32', 'float64'. Received: 'float16'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        LogitsDistillation(**arguments)


@pytest.mark.parametrize("divergence", ["reverse_kl", "jensen_shannon"])
def test_other_divergences(divergence):
    p_t, p_s = softmax(TEACHER / 4, axis=1), softmax(STUDENT / 2, axis=1)
    middle = (p_t + p_s) / 2
    expected = {
        "reverse_kl": rel_entr(p_s, p_t),
        "jensen_shannon": (rel_entr(p_t, middle) + rel_entr(p_s, middle)) / 2,
    }[divergence].sum(axis=1)
    value = LogitsDistillation(4.0, 2.0, divergence=divergence)(TEACHER, STUDENT, np.arange(7))
    assert float(value) == pytest.approx((np.arange(7) * 16 * expected).mean(), rel=1e-5)


def test_standardized_logits_hide_the_teachers_scale():
    loss = LogitsDistillation(2.0, standardize=True)
    z_t, z_s = ((z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True) for z in (TEACHER, STUDENT))
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(4 * kl(z_t, z_s, 2.0).mean(), rel=1e-5)
    assert float(loss(10 * TEACHER - 5, STUDENT)) == pytest.approx(float(loss(TEACHER, STUDENT)), rel=1e-5)


def test_temperatures_are_read_anew_in_a_traced_function():
    loss, traces = LogitsDistillation(2.0, 3.0), []

    @tf.function
    def value(teacher, student):
        traces.append(1)
        return loss(teacher, student)

    for t, t_s in ((2.0, 3.0), (5.0, 3.0), (5.0, 1.0)):
        loss.temperature, loss.student_temperature = t, t_s
        assert float(value(TEACHER, STUDENT)) == pytest.approx(t**2 * kl(TEACHER, STUDENT, t, t_s).mean(), rel=1e-5)
    assert len(traces) == 1
    with pytest.raises(ValueError, match=r"Expected `temperature` > 0. Received: 0"):
        loss.temperature = 0


def test_a_callback_schedules_the_temperature_during_fit():
    import keras_ls as kls
    from tests.distillation import networks

    teacher = networks.teacher()
    loss = LogitsDistillation(2.0)
    distiller = kls.Distiller(teacher, networks.network(), loss, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.0))  # it stays as it is: the logs tell the temperature

    class Schedule(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            loss.temperature = 2.0 + epoch

    logs = distiller.fit(networks.X, networks.Y, epochs=3, callbacks=[Schedule()], verbose=0).history
    z_t, z_s = teacher.predict(networks.X, verbose=0), distiller.student.predict(networks.X, verbose=0)
    expected = [t**2 * kl(z_t, z_s, t).mean() for t in (2.0, 3.0, 4.0)]
    np.testing.assert_allclose(logs["logits_distillation"], expected, rtol=1e-5)
    assert loss.get_config()["temperature"] == 4.0


def test_a_student_temperature_of_none_follows_the_teachers():
    loss = LogitsDistillation(2.0)
    assert loss.student_temperature is None and loss.get_config()["student_temperature"] is None
    loss.temperature = 4.0
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(16 * kl(TEACHER, STUDENT, 4.0).mean(), rel=1e-5)
    loss.student_temperature = 1.0
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(16 * kl(TEACHER, STUDENT, 4.0, 1.0).mean(), rel=1e-5)
    loss.student_temperature = None
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(16 * kl(TEACHER, STUDENT, 4.0).mean(), rel=1e-5)
