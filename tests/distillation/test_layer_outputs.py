"""Layers whose output is no plain tensor: rematerialized, in a `tf.function`, several tensors, several calls."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, FeatureDistillation
from tests.distillation.networks import CLASSES, X, Y, network


class Student(keras.Model):
    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.logits = hidden, keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.logits(self.hidden(x))


class Compiled(Student):
    call = tf.function(Student.call)


class CompiledDense(keras.layers.Dense):
    @tf.function
    def call(self, inputs, training=None):
        return super().call(inputs)


class Several(keras.layers.Layer):
    """A layer within a layer, and what else it returns."""

    def __init__(self, others, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.others = keras.layers.Dense(6, name="inner"), others

    def call(self, x):
        y = self.inner(x)
        return {1: (y,), 2: (y, 2 * y)}.get(self.others, {"a": y, "b": y, "c": y})


class First(Student):
    def call(self, x):
        return self.logits(keras.tree.flatten(self.hidden(x))[0])


def distiller(student, name="hidden", **compiled):
    t = network(1)
    t.layers[0].name = "theirs"
    made = Distiller(t, student, FeatureDistillation("mse", "theirs", name), [10.0])
    made.compile(keras.optimizers.SGD(1.0), kls.losses.SmoothedCrossentropy(0.0), jit_compile=False, **compiled)
    return made


def step(student, kernel, **compiled):
    """What a step adds to the kernel of the compared layer, and the log of the loss."""
    made, before = distiller(student, **compiled), kernel.numpy().copy()
    logs = made.fit(X, Y, batch_size=21, shuffle=False, verbose=0).history
    return kernel.numpy() - before, logs["feature_distillation"][0]


def plain(layer=keras.layers.Dense, scope=contextlib.nullcontext, model=Student):
    keras.utils.set_random_seed(0)
    with scope():
        hidden = layer(6, name="hidden")
    student = model(hidden)
    student(X)
    return student, hidden.kernel


def test_a_rematerialized_layer_learns_as_any_other():
    expected, loss = step(*plain(), run_eagerly=True)
    scopes = [
        lambda: keras.RematScope(mode="full"),
        lambda: keras.RematScope(mode="list_of_layers", layer_names=["hidden"]),
        lambda: keras.RematScope(mode="activations"),
    ]
    for scope in scopes:  # with features of zero gradient the steps would differ by a factor of ten
        got, got_loss = step(*plain(scope=scope), run_eagerly=True)
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert got_loss == pytest.approx(loss)


def test_a_functional_student_of_rematerialized_layers():
    def student(scope):
        keras.utils.set_random_seed(0)
        with scope():
            hidden, logits = keras.layers.Dense(6, name="hidden"), keras.layers.Dense(CLASSES)
            norm = keras.layers.BatchNormalization()  # which has an argument `training`
        return keras.Sequential([keras.Input((4,)), hidden, norm, logits]), hidden.kernel

    expected, loss = step(*student(contextlib.nullcontext), run_eagerly=True)
    got, got_loss = step(*student(lambda: keras.RematScope(mode="full")), run_eagerly=True)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert got_loss == pytest.approx(loss)


def test_a_layer_within_a_rematerialized_one_is_refused():
    def student(mode):
        with keras.RematScope(**mode):
            outer = Several(1, name="outer")
        made = First(outer)
        made(X)
        return made

    within = student({"mode": "full"})
    with pytest.raises(
        ValueError, match=r"'inner' of 'first.*', inside of 'outer', which was made in a `keras.RematScope`"
    ):
        distiller(within, "inner", run_eagerly=True).fit(X, Y, verbose=0)
    distiller(within, "inner", run_eagerly=True).evaluate(X, Y, verbose=0)  # needs no gradient
    elsewhere = student({"mode": "list_of_layers", "layer_names": ["another"]})
    distiller(elsewhere, "inner", run_eagerly=True).fit(X, Y, verbose=0)


@pytest.mark.parametrize("eagerly", [True, False])
def test_a_layer_that_is_a_tf_function(eagerly):
    expected, loss = step(*plain(), run_eagerly=eagerly)
    got, got_loss = step(*plain(CompiledDense), run_eagerly=eagerly)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert got_loss == pytest.approx(loss)


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("traced_before", [True, False])
def test_a_layer_within_a_tf_function_is_refused(eagerly, traced_before):
    student = Compiled(keras.layers.Dense(6, name="hidden"))
    student(X[:4] if traced_before else X)
    with pytest.raises(ValueError, match=r"'hidden', which r.*take that off: Keras compiles the whole step"):
        distiller(student, run_eagerly=eagerly).fit(X, Y, batch_size=21, verbose=0)


def test_a_layer_of_several_tensors_is_refused():
    for others, received in [(2, "a tuple of 2"), (3, "a dict of 3")]:
        student = First(Several(others, name="outer"))
        with pytest.raises(ValueError, match=f"that returns one tensor. Received: 'outer', which returns {received}"):
            distiller(student, "outer").fit(X, Y, verbose=0)
    student = First(Several(1, name="outer"))  # a tuple of one is that one
    logs = distiller(student, "outer").evaluate(X, Y, batch_size=21, verbose=0, return_dict=True)
    hidden = np.tanh(X @ network(1).layers[0].kernel.numpy())
    assert logs["feature_distillation"] == pytest.approx(
        ((hidden - student.hidden(X)[0].numpy()) ** 2).mean(), rel=1e-5
    )
