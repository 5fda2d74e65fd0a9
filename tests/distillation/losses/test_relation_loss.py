"""Losses that relate examples: one replica equals two, and what is dropped does not count."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.distillation import CorrelationDistillation, RelationalDistillation, SimilarityPreserving
from tests.equivalence.training import ragged
from tests.gradients import value_and_gradient
from tests.masking import masked
from tests.ops import plain_relations as plain

RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(size=(2, 7, 5)).astype("float32")
WEIGHT = np.array([1, 0.5, 0, 2, 1, 3, 0.25], "float32")
LOSSES = {
    "correlation": lambda **k: CorrelationDistillation(1.0, 2.0, 2.0, **k),
    "relational": lambda **k: RelationalDistillation(1.0, 2.0, **k),
    "similarity": lambda **k: SimilarityPreserving(**k),
}
each = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)


def distiller(make, seed=0):
    keras.utils.set_random_seed(seed)
    teacher, student = (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(width, "tanh"), keras.layers.Dense(5)])
        for width in (9, 6)
    )
    model = kls.Distiller(teacher, student, [make()], student_loss_weight=0.3)
    model.compile(keras.optimizers.SGD(0.05), kls.losses.SmoothedCrossentropy(0.1), jit_compile=False)
    return model


@pytest.mark.tensorflow
@each
def test_steps_and_their_logs_on_two_replicas(two_replicas, make):
    data = ragged()
    one = distiller(make)
    history = one.fit(data, epochs=2, verbose=0, shuffle=False).history
    with two_replicas.scope():
        two = distiller(make)
        logs = two.fit(data, epochs=2, verbose=0, shuffle=False).history
    for a, b in zip(two.get_weights(), one.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for key in history:
        np.testing.assert_allclose(logs[key], history[key], rtol=1e-6, err_msg=key)


@pytest.mark.tensorflow
@each
def test_the_values_of_a_replicas_own_examples(two_replicas, make):
    # "none": each replica returns the values of its 4 or 3 examples, which depend on all 7
    import tensorflow as tf

    loss = make(reduction="none")

    def share(x):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(x[:4] if context.replica_id_in_sync_group == 0 else x[4:])
        )

    def gradient(teacher, student, weight):
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = loss(teacher, student, weight)
        return values, tape.gradient(values, student)

    values, slopes = tf.function(lambda *a: two_replicas.run(gradient, args=a), autograph=False)(
        *map(share, (TEACHER, STUDENT, WEIGHT))
    )
    one, one_slopes = value_and_gradient(lambda x: loss(TEACHER, x, WEIGHT), STUDENT)
    values, slopes = (np.concatenate(two_replicas.experimental_local_results(x)) for x in (values, slopes))
    np.testing.assert_allclose(values, one, atol=1e-6)
    np.testing.assert_allclose(slopes, one_slopes, atol=1e-6)


@each
def test_the_mean_of_single_values_is_the_loss(make):
    values = keras.ops.convert_to_numpy(make(reduction="none")(TEACHER, STUDENT, WEIGHT))
    assert float(make()(TEACHER, STUDENT, WEIGHT)) == pytest.approx(values.mean(), rel=1e-6)
    weighted_mean = make(reduction="mean_with_sample_weight")(TEACHER, STUDENT, WEIGHT)
    assert float(weighted_mean) == pytest.approx(values.sum() / WEIGHT.sum(), rel=1e-6)


@each
def test_an_example_of_weight_0_may_hold_nan(make):
    kept = WEIGHT != 0
    teacher, student = TEACHER.copy(), STUDENT.copy()
    teacher[~kept], student[~kept] = np.nan, np.nan
    loss = make(reduction="sum")
    value, gradient = value_and_gradient(lambda x: loss(teacher, x, WEIGHT), student)
    expected, slopes = value_and_gradient(lambda x: loss(TEACHER[kept], x, WEIGHT[kept]), STUDENT[kept])
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient[kept], slopes, atol=1e-6)
    assert (gradient[~kept] == 0).all()


@each
def test_a_nan_that_counts_is_seen(make):
    student = STUDENT.copy()
    student[1, 0] = np.nan
    assert np.isnan(float(make()(TEACHER, student, WEIGHT)))


@each
def test_nothing_left(make):
    value, gradient = value_and_gradient(lambda x: make()(TEACHER, x, np.zeros(7)), STUDENT)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_maps_are_compared_as_they_are_and_widths_may_differ():
    teacher, student = RNG.normal(size=(4, 2, 3, 2)), RNG.normal(size=(4, 5))
    value = RelationalDistillation(25.0, 50.0)(teacher, student)
    flat = teacher.reshape(4, -1)
    expected = 25 * plain.relational_distance(flat, student) + 50 * plain.relational_angle(flat, student)
    assert float(value) == pytest.approx(expected, rel=1e-4)
    assert float(SimilarityPreserving()(teacher, student)) == pytest.approx(
        plain.similarity_preserving(teacher, student), rel=1e-5
    )


def test_a_mask_of_steps_zeroes_them_and_drops_an_example_without_any():
    teacher, student = RNG.normal(size=(2, 3, 4, 5)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    zeroed = [np.where(mask[..., None], x, 0)[[0, 2]] for x in (teacher, student)]
    expected = plain.similarity_preserving(*zeroed)
    assert float(SimilarityPreserving()(teacher, masked(student, mask))) == pytest.approx(expected, rel=1e-5)


def test_correlation_takes_every_step_as_an_example():
    teacher, student = RNG.normal(size=(2, 3, 4, 5)).astype("float32")
    mask = np.arange(12).reshape(3, 4) % 5 != 0
    value = CorrelationDistillation()(teacher, masked(student, mask))
    assert float(value) == pytest.approx(plain.dist(teacher[mask], student[mask]), rel=1e-5)


@each
def test_numbers_of_examples_must_agree(make):
    with pytest.raises(ValueError, match=r"Expected teacher and student (features of as many examples|logits of one)"):
        make()(TEACHER, STUDENT[:5])


@pytest.mark.parametrize("make", [LOSSES["relational"], LOSSES["similarity"]], ids=["relational", "similarity"])
def test_a_weight_a_step_counts_with_its_mean(make):
    # an example is a whole sequence: of 7 with 3 steps
    rng = np.random.default_rng(3)
    teacher, student = rng.normal(size=(2, 7, 3, 5)).astype("float32")
    steps = rng.integers(0, 4, size=(7, 3)).astype("float32")
    expected = make()(teacher, student, steps.mean(axis=1))
    np.testing.assert_allclose(make()(teacher, student, steps), expected, rtol=1e-6)
    np.testing.assert_allclose(make()(teacher, student, np.ones((7, 3))), make()(teacher, student), rtol=1e-6)
    np.testing.assert_allclose(make()(teacher, student, WEIGHT[:, None]), make()(teacher, student, WEIGHT), rtol=1e-6)
    keep = rng.integers(0, 2, size=(7, 3)).astype(bool)
    keep[:, 0], keep[2] = True, False  # one has nothing left
    means = np.array([w[k].mean() if k.any() else 0 for w, k in zip(steps, keep)], "float32")
    value = make()(teacher, masked(student, keep), steps)
    np.testing.assert_allclose(value, make()(teacher, masked(student, keep), means), rtol=1e-6)
