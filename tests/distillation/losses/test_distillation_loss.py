"""What every distillation loss has from `DistillationLoss`: reductions, weights, masks of either model, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops as K

import keras_ls as kls
from keras_ls.distillation import DistillationLoss, Distiller, LogitsDistillation
from tests.distillation.networks import CLASSES, kl
from tests.equivalence.registry import LOSSES

DISTILLATION = [one for one in LOSSES if hasattr(kls.distillation, one.name.split("-")[0])]
TOKENS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 4], [4, 3, 2, 0]])
REAL = TOKENS != 0


class HalfSquares(DistillationLoss):
    """`½‖z_s - z_t‖²` an example."""

    def call(self, y_true, y_pred):
        return 0.5 * K.sum(K.square(y_pred - y_true), axis=-1)


TEACHER = np.array([[1.0, 2.0], [0.0, 0.0], [5.0, 5.0]], "float32")
STUDENT = np.array([[1.0, 4.0], [1.0, 1.0], [5.0, 8.0]], "float32")  # losses 2, 1, 4.5


def test_reduction():
    assert float(HalfSquares()(TEACHER, STUDENT)) == 2.5
    assert float(HalfSquares(reduction="sum")(TEACHER, STUDENT)) == 7.5
    assert HalfSquares(reduction="none")(TEACHER, STUDENT).numpy().tolist() == [2.0, 1.0, 4.5]


def test_weights():
    assert float(HalfSquares().compute_loss(TEACHER, STUDENT, [1.0, 2.0, 0.0])) == pytest.approx((2 + 2) / 3)
    assert float(HalfSquares(reduction="mean_with_sample_weight")(TEACHER, STUDENT, [1.0, 2.0, 0.0])) == pytest.approx(
        (2 + 2) / 3
    )


def test_the_students_mask():
    student = K.convert_to_tensor(STUDENT)
    student._keras_mask = K.convert_to_tensor([True, False, True])
    assert float(HalfSquares()(TEACHER, student)) == pytest.approx((2 + 4.5) / 2)


def test_argument_order():
    class Signed(DistillationLoss):
        def call(self, teacher_outputs, student_outputs):
            return K.sum(student_outputs - teacher_outputs, axis=-1)

    # differences 2, 2, 3
    assert float(Signed(reduction="sum").compute_loss(TEACHER, STUDENT)) == 7.0


def test_it_is_a_keras_loss_with_a_name():
    loss = HalfSquares(name="half_squares")
    assert isinstance(loss, keras.losses.Loss)
    assert loss.name == "half_squares"
    with pytest.raises(NotImplementedError):
        DistillationLoss()(TEACHER, STUDENT)


def masked(x, mask):
    x = tf.identity(x)
    x._keras_mask = tf.constant(mask)
    return x


@pytest.mark.parametrize("component", DISTILLATION, ids=str)
def test_the_teachers_mask_counts_as_the_students(component):
    t, s = component.batch((7,) if component.whole else (3, 4))
    mask = np.random.default_rng(0).random(7 if component.whole else (3, 4)) < 0.6
    value = float(component.make()(masked(t, mask), s))
    assert value == pytest.approx(float(component.make()(t, masked(s, mask))), rel=1e-6)
    assert value != pytest.approx(float(component.make()(t, s)), rel=1e-3)
    both = float(component.make()(masked(t, mask), masked(s, ~mask)))
    assert both == 0.0  # nothing is left


@pytest.mark.parametrize("component", DISTILLATION, ids=str)
def test_ragged_tensors_are_refused(component):
    ragged = tf.RaggedTensor.from_row_lengths(component.batch((7,))[1], [3, 4])
    with pytest.raises(ValueError, match=r"Expected outputs of teacher and student as dense tensors.*a RaggedTensor"):
        component.make()(ragged, ragged)


def tagger(seed, mask_zero):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Embedding(5, 8, mask_zero=mask_zero), keras.layers.Dense(CLASSES, dtype="float32")]
    return keras.Sequential([keras.Input((4,), dtype="int32"), *layers])


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_teacher_with_a_mask_teaches_a_student_without(eagerly):
    t, s = tagger(1, True), tagger(0, False)
    z_t, z_s = t(TOKENS).numpy(), s(TOKENS).numpy()
    losses = [LogitsDistillation(1.0, name="ours"), keras.losses.MeanSquaredError(name="keras")]
    distiller = Distiller(t, s, losses, student_loss_weight=0.5)
    distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0), jit_compile=False, run_eagerly=eagerly)
    logs = distiller.evaluate(TOKENS, np.zeros((4, 4), int), verbose=0, return_dict=True)
    assert logs["ours"] == pytest.approx(kl(z_t, z_s)[REAL].mean(), rel=1e-3)
    assert logs["keras"] == pytest.approx(((z_t - z_s) ** 2).mean(axis=-1)[REAL].mean(), rel=1e-5)
    # labels are there at every step: no mask of the student's drops one
    expected = -np.log(np.exp(z_s[..., 0]) / np.exp(z_s).sum(axis=-1)).mean()
    assert logs["student_loss"] == pytest.approx(expected, rel=1e-5)


def test_ragged_inputs_and_outputs():
    class Mean(keras.Model):
        """Of the embeddings of sequences of any length."""

        def __init__(self, seed):
            super().__init__()
            keras.utils.set_random_seed(seed)
            self.table = self.add_weight(shape=(5, CLASSES), initializer="normal")

        def call(self, x):
            return tf.reduce_mean(tf.gather(tf.convert_to_tensor(self.table), x), axis=1)

    class Steps(Mean):
        def call(self, x):
            return tf.gather(tf.convert_to_tensor(self.table), x)

    x = tf.ragged.constant([row[row != 0].tolist() for row in TOKENS], dtype="int32")
    distiller = Distiller(Mean(1), Mean(0), LogitsDistillation(1.0), student_loss_weight=0.0)
    distiller.compile("sgd", jit_compile=False)
    z_t, z_s = (
        np.stack([model.table.numpy()[row[row != 0]].mean(axis=0) for row in TOKENS])
        for model in (distiller.teacher, distiller.student)
    )
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(4)
    assert distiller.fit(dataset, verbose=0).history["loss"] == pytest.approx([kl(z_t, z_s).mean()], rel=1e-4)

    distiller = Distiller(Steps(1), Steps(0), keras.losses.MeanSquaredError(), student_loss_weight=0.0)
    distiller.compile("sgd", jit_compile=False)
    with pytest.raises(ValueError, match="Expected outputs of teacher and student as dense tensors"):
        distiller.fit(dataset, verbose=0)
