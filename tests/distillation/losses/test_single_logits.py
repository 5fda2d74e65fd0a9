"""One logit an example, `[N, 1]` or `[N]`: two classes `[0, z]`, or an error; for every distillation loss there is."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence.registry import LOSSES

D = kls.distillation
TEACHER, STUDENT = np.array([3.0, -3.0, 1.0], "float32"), np.array([-3.0, 3.0, 0.5], "float32")
DISTILLATION = [one for one in LOSSES if hasattr(D, one.name.split("-")[0])]
# what relates examples or compares features has a meaning for vectors of one number
OF_FEATURES = {"RelationalDistillation", "SimilarityPreserving", "FeatureDistillation"}


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, "float64")))


def kl(p, q):
    """Of Bernoullis."""
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_the_binary_forms(shape):
    t, s = TEACHER.reshape(shape), STUDENT.reshape(shape)
    p, q = sigmoid(TEACHER / 2), sigmoid(STUDENT / 2)
    m = (p + q) / 2
    expected = {
        "forward_kl": 4 * kl(p, q),
        "reverse_kl": 4 * kl(q, p),
        "jensen_shannon": 2 * (kl(p, m) + kl(q, m)),
    }
    for divergence, values in expected.items():
        loss = D.LogitsDistillation(2.0, divergence=divergence, reduction="none")
        np.testing.assert_allclose(loss(t, s), values, rtol=1e-4)
    np.testing.assert_allclose(D.BinaryLogitsDistillation(2.0, reduction="none")(t, s), 4 * kl(p, q), rtol=1e-4)
    # ½ (z_s - z_t)²: (36 + 36 + ¼) / 6; centred, of (-z/2, z/2), half of it
    assert float(D.SquaredLogitsDistillation()(t, s)) == pytest.approx(72.25 / 6)
    assert float(D.SquaredLogitsDistillation(center=True)(t, s)) == pytest.approx(72.25 / 12)


@pytest.mark.parametrize("component", DISTILLATION, ids=str)
def test_every_loss_is_that_of_two_classes_or_refuses(component):
    loss, refused = component.make(), 0
    two = [np.stack([0 * z, z], axis=-1) for z in (TEACHER, STUDENT)]
    for shape in ((3, 1), (3,)):
        try:
            value = float(loss(TEACHER.reshape(shape), STUDENT.reshape(shape)))
        except ValueError as error:
            assert "Expected" in str(error) and "Received" in str(error)
            refused += 1
            continue
        if component.name.split("-")[0] in OF_FEATURES:
            assert value > 0
        else:  # for BinaryLogitsDistillation the 0 is a label of ½ for both, which costs nothing
            assert value == pytest.approx(float(loss(*two)), rel=1e-5) and value > 0.1
    assert refused in (0, 2) or component.name.startswith("FeatureDistillation")  # which has no channels in [N]


def test_weights_of_one_output():
    weight = np.array([0.0, 2.0, 1.0], "float32")
    expected = (weight * 9 * kl(sigmoid(TEACHER / 3), sigmoid(STUDENT / 3))).mean()
    for shape in ((3, 1), (3,)):
        value = D.LogitsDistillation()(TEACHER.reshape(shape), STUDENT.reshape(shape), weight)
        assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("squeezed", [False, True])
def test_a_student_of_one_output_learns_from_its_teacher(squeezed):
    def network(width):
        layers = [keras.layers.Dense(width, activation="tanh"), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((4,)), *layers, *([keras.layers.Reshape(())] if squeezed else [])])

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(1).normal(size=(16, 4)).astype("float32")
    distiller = kls.Distiller(network(8), network(2), D.LogitsDistillation(2.0), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    p, q = (sigmoid(model(x).numpy().ravel() / 2) for model in (distiller.teacher, distiller.student))
    losses = distiller.fit(x, epochs=20, batch_size=16, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(4 * kl(p, q).mean(), rel=1e-4)
    assert losses[-1] < 0.5 * losses[0]


def test_labels_that_do_not_compete():
    # T = 2, T_s = 1: each label on its own, summed, times T²
    t, s = np.array([[3.0, -2.0, 0.5], [-1.0, 0.0, 2.0]]), np.array([[1.0, 1.0, -1.0], [0.0, 2.0, 1.0]])
    expected = 4 * kl(sigmoid(t / 2), sigmoid(s)).sum(axis=-1)
    loss = D.BinaryLogitsDistillation(2.0, 1.0, reduction="none")
    np.testing.assert_allclose(loss(t.astype("float32"), s.astype("float32")), expected, rtol=1e-5)
    # the teacher rules a label out, the student is as sure of it: 100 nats for each, nothing clipped
    sure = D.BinaryLogitsDistillation(1.0)
    assert float(sure(np.array([[-100.0, 100.0]]), np.array([[100.0, -100.0]]))) == pytest.approx(200.0)
    assert float(sure(np.array([[-100.0, 100.0]]), np.array([[-100.0, 100.0]]))) == 0.0
    with pytest.raises(ValueError, match="Expected teacher and student logits of one shape"):
        sure(t, s[:, :2])
    with pytest.raises(ValueError, match="Expected `temperature` > 0"):
        D.BinaryLogitsDistillation(0.0)
