"""A network that ends in a softmax is no source of logits: the Distiller says so, and only then."""

import warnings

import keras
import pytest

import keras_ls as kls
from tests.distillation.networks import CLASSES, network

LOGITS = [
    kls.distillation.LogitsDistillation(),
    kls.distillation.SquaredLogitsDistillation(),
    kls.distillation.DecoupledDistillation(),
    kls.distillation.CorrelationDistillation(),
]
FEATURES = kls.distillation.FeatureDistillation("mse")


def activation():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, activation="softmax", name="end")])


def layer():
    return keras.Sequential([network(), keras.layers.Softmax(name="end")])


def nested():
    inputs = keras.Input((4,))
    return keras.Model(inputs, activation()(inputs))


def operation():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.ops.softmax(keras.layers.Dense(CLASSES)(inputs)))


def in_mixed_precision():
    return keras.Sequential([activation(), keras.layers.Activation("linear", dtype="float32")])


def of_two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, {"a": keras.layers.Dense(2)(inputs), "b": activation()(inputs)})


@pytest.mark.parametrize("model", [activation, layer, nested, operation, in_mixed_precision])
@pytest.mark.parametrize("loss", LOGITS, ids=lambda loss: loss.name)
def test_both_roles(model, loss):
    with pytest.warns(
        UserWarning, match=f"Expected logits for '{loss.name}', from the teacher.*in its layer '(end|softmax)"
    ):
        kls.Distiller(model(), network(), loss)
    with pytest.warns(UserWarning, match="logits for .*, from the student.*in its layer '(end|softmax)"):
        kls.Distiller(network(), model(), loss)


def test_one_of_several_outputs_and_a_teacher_set_later():
    with pytest.warns(UserWarning, match="logits for .*, from the teacher"):
        kls.Distiller([of_two_outputs()], of_two_outputs_without_softmax(), LOGITS[0])
    distiller = kls.Distiller(None, network(), LOGITS[0])
    with pytest.warns(UserWarning, match="logits for .*, from the teacher"):
        distiller.teacher = activation()


def of_two_outputs_without_softmax():
    inputs = keras.Input((4,))
    return keras.Model(inputs, {"a": keras.layers.Dense(2)(inputs), "b": keras.layers.Dense(CLASSES)(inputs)})


@pytest.mark.parametrize(
    "teacher, student, losses",
    [
        (network, network, LOGITS),
        (activation, activation, FEATURES),  # any two tensors
        (activation, network, kls.distillation.HardLabelDistillation()),  # the likeliest class stays it
        (of_two_outputs, of_two_outputs, {"a": LOGITS[0]}),
    ],
)
def test_nothing_to_say(teacher, student, losses):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kls.Distiller(teacher(), student(), losses)
