"""`DecoupledDistillation` by its paper, and where its labels come from."""

import numpy as np
import pytest

from keras_ls.distillation import DecoupledDistillation, LogitsDistillation
from tests.gradients import value_and_gradient
from tests.masking import masked
from tests.ops import plain_relations as plain

RNG = np.random.default_rng(2)
TEACHER, STUDENT = (3 * RNG.normal(size=(2, 6, 5))).astype("float32")
LABELS = np.array([0, 1, 2, 3, 4, 1])
WEIGHT = np.array([1, 2, 0.5, 0, 3, 1], "float32")


def expected(labels, alpha, beta, temperature, teacher=TEACHER, student=STUDENT):
    parts = np.array([plain.decoupled(*row, temperature) for row in zip(labels, teacher, student)])
    return temperature**2 * (alpha * parts[:, 0] + beta * parts[:, 1])


@pytest.mark.parametrize("alpha, beta, temperature", [(1.0, 8.0, 4.0), (0.5, 0.0, 1.0), (0.0, 2.0, 2.0)])
def test_the_papers_formula_with_weights(alpha, beta, temperature):
    loss = DecoupledDistillation(alpha, beta, temperature)
    value = loss(TEACHER, STUDENT, WEIGHT, labels=LABELS)
    assert float(value) == pytest.approx((WEIGHT * expected(LABELS, alpha, beta, temperature)).mean(), rel=1e-5)
    one_hot = loss.compute_loss(TEACHER, STUDENT, WEIGHT, labels=np.eye(5, dtype="float32")[LABELS])
    assert float(one_hot) == float(value)


def test_defaults_are_the_papers_for_cifar_100():
    assert float(DecoupledDistillation()(TEACHER, STUDENT, labels=LABELS)) == pytest.approx(
        expected(LABELS, 1, 8, 4.0).mean(), rel=1e-5
    )


def test_the_teachers_class_as_target():
    loss = DecoupledDistillation(target="teacher")
    assert not loss.needs_labels and DecoupledDistillation().needs_labels
    value = loss(TEACHER, STUDENT)
    assert float(value) == pytest.approx(expected(TEACHER.argmax(axis=1), 1, 8, 4.0).mean(), rel=1e-5)


def test_labels_are_never_guessed():
    with pytest.raises(ValueError, match=r"Expected `labels` for 'decoupled_distillation'. Received: None"):
        DecoupledDistillation()(TEACHER, STUDENT)
    with pytest.raises(ValueError, match=r"`target` to be one of 'label', 'teacher'"):
        DecoupledDistillation(target="student")


def test_a_mask_drops_examples_with_their_labels():
    keep = np.array([1, 0, 1, 1, 0, 1], bool)
    student, labels = STUDENT.copy(), LABELS.copy()
    student[~keep], labels[~keep] = np.nan, 99
    loss = DecoupledDistillation(2.0, 3.0, 2.0)
    value, gradient = value_and_gradient(lambda z: loss(TEACHER, masked(z, keep), WEIGHT, labels=labels), student)
    assert float(value) == pytest.approx((WEIGHT * expected(LABELS, 2, 3, 2.0))[keep].mean(), rel=1e-5)
    assert (gradient[~keep] == 0).all() and np.abs(gradient[keep]).max() > 0.01


@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3)])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_ignored_labels_drop_their_examples(shape, dtype):
    known = np.array([1, 0, 1, 1, 0, 1], bool)
    labels = np.where(known, LABELS, 255).astype(dtype).reshape(shape)
    teacher, student = TEACHER.copy(), STUDENT.copy()
    teacher[~known], student[~known] = np.nan, np.inf
    positions = (2, 3, 5) if shape == (2, 3) else (6, 5)
    loss = DecoupledDistillation(2.0, 3.0, 2.0, ignore_class=255)
    value, gradient = value_and_gradient(
        lambda z: loss(teacher.reshape(positions), z, WEIGHT.reshape(positions[:-1]), labels=labels),
        student.reshape(positions),
    )
    assert float(value) == pytest.approx((WEIGHT * expected(LABELS, 2, 3, 2.0))[known].mean(), rel=1e-5)
    gradient = gradient.reshape(6, 5)
    assert (gradient[~known] == 0).all() and np.abs(gradient[known]).max() > 0.01


def test_ignored_labels_and_a_mask():
    labels, keep = np.array([9, 1, 2, 9, 4, 1]), np.array([0, 0, 1, 1, 1, 1], bool)
    value = DecoupledDistillation(ignore_class=9)(TEACHER, masked(STUDENT, keep), labels=labels)
    assert float(value) == pytest.approx(expected(LABELS, 1, 8, 4.0)[[2, 4, 5]].mean(), rel=1e-5)


def test_ignore_class_is_of_labels():
    with pytest.raises(ValueError, match=r"Expected `ignore_class` with target='label'"):
        DecoupledDistillation(target="teacher", ignore_class=-1)
    one_hot = np.eye(5, dtype="float32")[LABELS]  # which has no class -1 to ignore
    value = DecoupledDistillation(ignore_class=-1)(TEACHER, STUDENT, labels=one_hot)
    assert float(value) == float(DecoupledDistillation()(TEACHER, STUDENT, labels=LABELS))


def test_sequences_have_a_label_a_step():
    teacher, student = TEACHER.reshape(2, 3, 5), STUDENT.reshape(2, 3, 5)
    value = DecoupledDistillation()(teacher, student, labels=LABELS.reshape(2, 3))
    assert float(value) == pytest.approx(expected(LABELS, 1, 8, 4.0).mean(), rel=1e-5)


def test_standardized():
    teacher, student = ([plain.standardized(z) for z in x] for x in (TEACHER, STUDENT))
    value = DecoupledDistillation(1.0, 2.0, 2.0, standardize=True)(TEACHER, STUDENT, labels=LABELS)
    assert float(value) == pytest.approx(expected(LABELS, 1, 2, 2.0, teacher, student).mean(), rel=1e-5)


def test_a_beta_of_what_is_left_makes_it_the_plain_divergence():
    # one example, with p_y = ½ at T = 1: KL = TCKD + ½ NCKD
    teacher, student = np.log([[4.0, 3.0, 1.0]]), np.log([[1.0, 3.0, 4.0]])
    decoupled = DecoupledDistillation(1.0, 0.5, 1.0)(teacher, student, labels=[0])
    assert float(decoupled) == pytest.approx(float(LogitsDistillation(1.0)(teacher, student)), rel=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("ignore_class", [None, 1])  # of 4 and 2 examples, one each
def test_under_replicas_and_xla(two_replicas, ignore_class):
    import tensorflow as tf

    loss = DecoupledDistillation(ignore_class=ignore_class)

    def gradient(teacher, student, weight, labels):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = loss(teacher, student, weight, labels)
        return tape.gradient(value, student)

    arrays = TEACHER, STUDENT, WEIGHT, LABELS
    one = gradient(*map(tf.constant, arrays))
    shares = [
        two_replicas.experimental_distribute_values_from_function(
            lambda c, a=a: tf.constant(a[:4] if c.replica_id_in_sync_group == 0 else a[4:])
        )
        for a in arrays
    ]
    two = tf.function(lambda *args: two_replicas.run(gradient, args=args), autograph=False)(*shares)
    np.testing.assert_allclose(np.concatenate(two_replicas.experimental_local_results(two)), one, atol=1e-6)
    compiled = tf.function(gradient, jit_compile=True)(*map(tf.constant, arrays))
    np.testing.assert_allclose(compiled, one, atol=1e-6)
