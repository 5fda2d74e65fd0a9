"""`DistillationLoss`: what a subclass with `call` alone gets."""

import keras
import numpy as np
import pytest
from keras import ops as K

from keras_ls.distillation import DistillationLoss


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
