"""`Distiller` with losses of `keras.distillation`: their values, one pass of the student a step, migration."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.distillation import Distiller
from tests.distillation.networks import CLASSES, WEIGHT, X, Y, crossentropy, kl, network, teacher

PEER = keras.distillation
HARD = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def named(model):
    """The model with its hidden layer under a name of its own."""
    model.layers[0].name = "hidden"
    return model


def evaluated(distiller, **arguments):
    distiller.compile(keras.optimizers.SGD(0.0), HARD, jit_compile=False)
    return distiller.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True, **arguments)


def test_changing_the_import_is_the_migration():
    # positional arguments as theirs; features of equal widths
    t, s = named(network(1)), named(network())
    losses = [
        PEER.LogitsDistillation(temperature=2.0, loss=keras.losses.KLDivergence()),
        PEER.FeatureDistillation(teacher_layer_name="hidden", student_layer_name="hidden"),
    ]
    logs = evaluated(Distiller(t, s, losses, [1.0, 0.5], 0.3, "mine"))
    student_loss, logits = crossentropy(Y, s(X)).mean(), 4 * kl(t(X), s(X), 2.0).mean()
    features = ((t.layers[0](X) - s.layers[0](X)).numpy() ** 2).mean()
    expected = {"student_loss": student_loss, "logits_distillation": logits, "feature_distillation": features}
    total = 0.3 * student_loss + 0.7 * (logits + 0.5 * features)
    assert logs == pytest.approx({"loss": total, **expected}, rel=1e-4)  # theirs clips probabilities at 1e-7


class Gap(PEER.DistillationLoss):
    """A user's own: it sees all outputs at once."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return sum(keras.ops.mean((t - s) ** 2) for t, s in zip(teacher_outputs, student_outputs))


def test_a_loss_of_a_users_own_sees_all_outputs():
    def two_heads(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((4,))
        return keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)])

    t, s = two_heads(1), two_heads(0)
    distiller = Distiller(t, s, Gap(), student_loss_weight=0.0)
    distiller.compile("sgd", jit_compile=False)
    expected = sum(((a - b).numpy() ** 2).mean() for a, b in zip(t(X), s(X)))
    logs = distiller.evaluate(X, batch_size=21, verbose=0, return_dict=True)
    assert logs["gap"] == logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_weights_do_not_reach_them_and_a_warning_says_so():
    t, s = teacher(), network()
    distiller = Distiller(t, s, PEER.FeatureDistillation("mae"), student_loss_weight=0.5)
    with pytest.warns(UserWarning, match="Weights of examples do not reach 'feature_distillation'") as warned:
        logs = evaluated(distiller, sample_weight=WEIGHT)
        evaluated(distiller, sample_weight=WEIGHT)
    assert sum("do not reach" in str(one.message) for one in warned) == 1
    assert logs["feature_distillation"] == pytest.approx(np.abs(t(X) - s(X)).mean(), rel=1e-5)
    assert logs["student_loss"] == pytest.approx((WEIGHT * crossentropy(Y, s(X))).mean(), rel=1e-5)


def test_half_precision_of_one_model():
    keras.utils.set_random_seed(0)
    s = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, dtype="mixed_float16")])
    t = teacher()
    logs = evaluated(Distiller(t, s, PEER.FeatureDistillation("mse")))
    expected = ((t(X).numpy() - s(X).numpy().astype("float32")) ** 2).mean()
    assert logs["feature_distillation"] == pytest.approx(expected, rel=1e-5)


def test_saving(tmp_path):
    t, s = named(network(1)), named(network())
    losses = [PEER.FeatureDistillation("mse", "hidden", "hidden"), kls.distillation.LogitsDistillation()]
    saved = Distiller(t, s, losses)
    logs = evaluated(saved)
    saved.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    loaded.teacher = t
    assert loaded.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-6)
