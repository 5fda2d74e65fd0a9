"""`FeatureDistillation`: distances by hand, the projector, what it refuses."""

import json

import keras
import numpy as np
import pytest
from scipy.spatial.distance import cosine

from keras_ls.distillation import FeatureDistillation
from tests.gradients import value_and_gradient

RNG = np.random.default_rng(3)
TEACHER, STUDENT = RNG.normal(size=(2, 3, 4, 5)).astype("float32")  # 3 examples, 4 positions, 5 channels
WEIGHT = np.array([1.0, 0.0, 2.5], "float32")


@pytest.mark.parametrize(
    "loss, distance",
    [
        ("mse", lambda t, s: np.mean((s - t) ** 2)),
        ("l1", lambda t, s: np.mean(abs(s - t))),
        ("mae", lambda t, s: np.mean(abs(s - t))),
        ("cosine", cosine),
        (keras.losses.Huber(delta=0.5), lambda t, s: np.mean([_huber(a, 0.5) for a in s - t])),
        (keras.losses.log_cosh, lambda t, s: np.mean(np.log(np.cosh(s - t)))),
        ("cosine_similarity", lambda t, s: cosine(t, s) - 1),
    ],
    ids=["mse", "l1", "mae", "cosine", "object", "function", "name"],
)
def test_the_mean_distance_of_positions_with_weights(loss, distance):
    each = np.array([[distance(t, s) for t, s in zip(*maps)] for maps in zip(TEACHER, STUDENT)])
    value = FeatureDistillation(loss)(TEACHER, STUDENT, WEIGHT)
    assert float(value) == pytest.approx((WEIGHT[:, None] * each).mean(), rel=1e-5)
    np.testing.assert_allclose(FeatureDistillation(loss, reduction="none")(TEACHER, STUDENT), each, rtol=1e-4)


def _huber(a, delta):
    return 0.5 * a * a if abs(a) <= delta else delta * abs(a) - 0.5 * delta**2


def test_the_arguments_of_keras_distillation():
    loss = FeatureDistillation("mse", "conv_3", "block/conv_1")
    peer = keras.distillation.FeatureDistillation("mse", "conv_3", "block/conv_1")
    assert (loss.teacher_layer_name, loss.student_layer_name) == (peer.teacher_layer_name, peer.student_layer_name)
    assert float(loss.compute_loss(TEACHER, STUDENT)) == pytest.approx(
        float(peer.compute_loss(TEACHER, STUDENT)), rel=1e-6
    )


def test_a_projector_for_other_widths():
    loss = FeatureDistillation(projector="auto")
    assert loss.projector is None and loss.trainable_variables == []
    loss.build((None, 4, 5), (None, 4, 2))
    kernel, bias = loss.trainable_variables
    assert (tuple(kernel.shape), tuple(bias.shape)) == ((2, 5), (5,))
    bias.assign(np.arange(5.0))
    student = STUDENT[..., :2]
    projected = student @ keras.ops.convert_to_numpy(kernel) + np.arange(5)
    assert float(loss(TEACHER, student)) == pytest.approx(np.mean((projected - TEACHER) ** 2), rel=1e-5)
    loss.build((None, 4, 5), (None, 4, 2))
    assert loss.trainable_variables[0] is kernel


def test_the_projector_is_not_needed_for_equal_widths():
    loss = FeatureDistillation(projector="auto")
    assert float(loss(TEACHER, STUDENT)) == float(FeatureDistillation()(TEACHER, STUDENT))
    assert loss.projector is None


def test_a_projector_that_pools():
    pool = keras.layers.AveragePooling1D(2)
    pooled = STUDENT.reshape(3, 2, 2, 5).mean(axis=2)
    value = FeatureDistillation(projector=pool)(TEACHER[:, :2], STUDENT)
    assert float(value) == pytest.approx(np.mean((pooled - TEACHER[:, :2]) ** 2), rel=1e-5)


def test_configurations():
    projector = keras.layers.Dense(5, use_bias=False, name="mine")
    loss = FeatureDistillation(keras.losses.LogCosh(), "a", "b", projector)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(loss))))
    assert (again.projector.name, again.projector.units, again.projector.use_bias) == ("mine", 5, False)
    assert (again.teacher_layer_name, again.student_layer_name) == ("a", "b")
    loss.projector = again.projector = None
    assert float(again(TEACHER, STUDENT)) == float(loss(TEACHER, STUDENT))
    built = FeatureDistillation(projector="auto")
    built.build((None, 5), (None, 2))
    assert built.get_config()["projector"] == "auto"


def test_zero_features_have_no_direction():
    # and are drawn to the teacher's, by 1 over the 12 positions
    value, gradient = value_and_gradient(lambda x: FeatureDistillation("cosine")(TEACHER, x), np.zeros_like(STUDENT))
    assert float(value) == 1
    unit = TEACHER / np.linalg.norm(TEACHER, axis=-1, keepdims=True)
    np.testing.assert_allclose(gradient, -unit / 12, atol=1e-6)


@pytest.mark.parametrize(
    "teacher, student, message",
    [
        (
            (3, 4, 5),
            (3, 4, 2),
            r'teacher \(3, 4, 5\), student \(3, 4, 2\)\. For widths that differ, .* projector="auto"',
        ),
        (
            (3, 4, 5),
            (3, 2, 5),
            r"\(3, 4, 5\), student \(3, 2, 5\)\. Choose layers of one resolution, or give `projector`",
        ),
        ((3, 5), (3, 4, 5), r"features of one shape.*Choose layers of one resolution"),
    ],
)
def test_shapes_that_differ(teacher, student, message):
    with pytest.raises(ValueError, match=message):
        FeatureDistillation()(np.ones(teacher, "float32"), np.ones(student, "float32"))


def test_errors():
    with pytest.raises(ValueError, match=r"Expected `loss` to be one of 'mse', .* Received: 'no_such_loss'"):
        FeatureDistillation("no_such_loss")
    with pytest.raises(ValueError, match=r"Expected `loss` .* Received: None"):
        FeatureDistillation(None)
    with pytest.raises(ValueError, match=r'Expected `projector` to be None, "auto" or a Keras layer. Received: 3'):
        FeatureDistillation(projector=3)
    with pytest.raises(ValueError, match=r"to be names or None\. Received: \['a'\]"):
        FeatureDistillation("mse", ["a"], ["b"])
