"""Logits from probabilities, and how probabilities that were taken for logits are told."""

import functools
import math
import warnings

import keras
import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls.ops._logits import LogitsCheck, are_probabilities
from keras_ls.ops._output_layers import probability_outputs

LOGITS = np.random.default_rng(0).normal(size=(40, 3)).astype("float32") * 2


def softmax(z):
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


P = softmax(LOGITS)


def test_probabilities_to_logits_of_classes_and_of_one():
    z = K.convert_to_numpy(kls.ops.probabilities_to_logits([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(z[0], np.log([0.5, 0.25, 0.25]), rtol=1e-6)
    np.testing.assert_allclose(z[1], [0.0, math.log(1e-7), math.log(1e-7)], rtol=1e-6)  # finite
    odds = [math.log(4), 0.0, -math.log(3)]  # of .8, .5 and .25
    for shape in [(3,), (3, 1)]:
        z = kls.ops.probabilities_to_logits(np.reshape([0.8, 0.5, 0.25], shape))
        assert tuple(z.shape) == shape
        np.testing.assert_allclose(np.ravel(K.convert_to_numpy(z)), odds, atol=1e-6)
    labels = kls.ops.probabilities_to_logits([[0.8, 0.5, 0.25]], binary=True)  # three labels an example
    np.testing.assert_allclose(K.convert_to_numpy(labels)[0], odds, atol=1e-6)


def test_what_is_no_probability_is_refused():
    for wrong, words in (
        ([[2.0, -1.0]], r"in \[0, 1\]"),
        ([0.5, np.nan], "without NaN"),
        ([[0.9, 0.8]], "a sum of 1"),
    ):
        with pytest.raises(ValueError, match=f"Expected `probabilities` .*{words}"):
            kls.ops.probabilities_to_logits(wrong)


def told(predictions, **k):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check = LogitsCheck("it", **k)
        for _ in range(3):  # batches
            check.see(predictions)
    assert len(caught) == int(check.found)
    return check.found


@pytest.mark.parametrize(
    "predictions",
    [
        P,
        P[:2],
        P.tolist(),
        P.reshape(10, 4, 3),
        P.astype("float16"),
        np.concatenate([np.zeros((1, 3)), P]),  # a padded row
        np.linspace(0.05, 0.95, 20),
        np.linspace(0.05, 0.95, 20)[:, None],
    ],
    ids=lambda p: str(np.shape(p)),
)
def test_values_that_tell(predictions):
    assert told(predictions)
    if keras.backend.backend() != "torch":
        assert told(K.convert_to_tensor(np.asarray(predictions, "float32")))


def test_values_that_tell_along_another_axis_and_of_several_labels():
    check = LogitsCheck("it")
    with pytest.warns(UserWarning, match="sum to 1, as after a softmax"):
        check.see(np.moveaxis(P.reshape(10, 4, 3), -1, 1), axis=1)
    labels = np.random.default_rng(1).uniform(size=(10, 4))
    assert told(labels, multi_label=True) and not told(labels)


@pytest.mark.parametrize(
    "predictions",
    [
        LOGITS,
        P[:1],  # one row may sum to 1 by chance
        np.eye(4),  # one-hot logits
        np.zeros((5, 3)),
        np.abs(LOGITS),
        2 * P,
        np.concatenate([P, LOGITS[:1]]),
        np.full(20, 0.5),
        np.linspace(0.05, 0.95, 8),  # few
        np.repeat([0.0, 1.0], 10),
        np.linspace(-1, 1, 20),
        np.where(P > 0.9, np.nan, P),
        np.zeros((0, 3)),
        [[0.5, 0.5], [1.0]],
        "nonsense",
    ],
    ids=lambda p: str(type(p).__name__),
)
def test_values_that_do_not(predictions):
    assert not told(predictions)


def test_are_probabilities_looks_at_all_rows():
    many = np.concatenate([np.tile(P, (10, 1)), LOGITS[:1]])
    assert are_probabilities(many[:-1]) and not are_probabilities(many)


def dense(*layers, activation=None):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=activation, name="end"), *layers])


def functional(function, activation="softmax"):
    inputs = keras.Input((4,))
    return keras.Model(inputs, function(dense(activation=activation)(inputs)))


def subclassed():
    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.end = keras.layers.Dense(3)

        def call(self, x):
            return K.softmax(self.end(x))

    return Network()


layers = keras.layers
SOFTMAX = {
    "activation": lambda: dense(activation="softmax"),
    "function": lambda: dense(activation=K.softmax),
    "partial": lambda: dense(activation=functools.partial(keras.activations.softmax, axis=-1)),
    "layer as activation": lambda: dense(activation=layers.Softmax()),
    "sparsemax": lambda: dense(activation="sparsemax"),
    "Activation": lambda: dense(layers.Activation("softmax")),
    "Softmax": lambda: dense(layers.Softmax()),
    "operation": lambda: functional(K.softmax, activation=None),
    "nested": lambda: keras.Sequential([keras.Input((4,)), dense(activation="softmax")]),
    "unbuilt": lambda: keras.Sequential([layers.Dense(3, activation="softmax"), layers.Activation("linear")]),
    "identity": lambda: dense(layers.Identity(), layers.Dropout(0.5), activation="softmax"),
    "dtype": lambda: dense(layers.Activation("linear", dtype="float16"), activation="softmax"),
    "cast": lambda: functional(lambda p: K.cast(p, "float16")),
    "reshape": lambda: dense(layers.Reshape((3, 1)), layers.Reshape((3,)), activation="softmax"),
    "clip": lambda: functional(lambda p: K.clip(p, 1e-7, 1.0)),
    "nested reshape": lambda: functional(keras.Sequential([keras.Input((3,)), layers.Reshape((1, 3))])),
    "average": lambda: functional(lambda p: layers.Average()([p, p])),
    "time": lambda: keras.Sequential(
        [keras.Input((5, 4)), layers.TimeDistributed(layers.Dense(3, activation="softmax"))]
    ),
    "times model": lambda: keras.Sequential([keras.Input((5, 4)), layers.TimeDistributed(dense(layers.Softmax()))]),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_layers_that_end_in_a_softmax(name):
    assert [activation for activation, _, _ in probability_outputs(SOFTMAX[name]())] == ["softmax"]


@pytest.mark.parametrize(
    "make",
    [
        dense,
        lambda: dense(layers.Activation("relu"), activation="softmax"),
        lambda: dense(layers.Dense(3), activation="softmax"),
        lambda: dense(activation="log_softmax"),
        lambda: functional(K.log),
        lambda: keras.Sequential([keras.Input((5, 4)), layers.LSTM(3, activation="sigmoid")]),
        subclassed,
    ],
)
def test_layers_that_do_not(make):
    assert list(probability_outputs(make())) == []


def test_of_several_outputs_the_one_that_is_used():
    inputs = keras.Input((4,))
    both = keras.Model(inputs, [dense()(inputs), dense(activation="softmax")(inputs)])
    logits, p = both(inputs)
    assert not list(probability_outputs(keras.Model(inputs, logits)))
    assert [layer for _, layer, _ in probability_outputs(keras.Model(inputs, p))] == ["end"]


def test_a_sigmoid_matters_where_one_logit_is_expected():
    one = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid", name="end")])
    with pytest.warns(
        UserWarning, match=r"ends in a sigmoid, in its layer 'end'\. Pass `from_logits=False`, or take the s"
    ):
        LogitsCheck("it").see_model(one)
    several = dense(activation="sigmoid")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogitsCheck("it").see_model(several)
    with pytest.warns(UserWarning, match="ends in a sigmoid"):
        LogitsCheck("it", multi_label=True).see_model(several)


@pytest.mark.tensorflow
def test_graphs_tell_by_their_operations():
    import tensorflow as tf

    found = {}

    def see(name, tensor, **k):
        check = LogitsCheck("it", **k)
        check.see(tensor)
        found[name] = check.found

    @tf.function
    def graph(z):
        p = tf.nn.softmax(z)
        see("plain", p)
        see("moved", tf.reshape(tf.cast(tf.identity(p), "float16"), (-1, 3)))
        see("subclassed", subclassed()(z))
        see("logits", z)
        see("log", tf.math.log(p))
        see("one", tf.sigmoid(z[:, 0]))
        see("labels", tf.sigmoid(z), multi_label=True)
        see("classes", tf.sigmoid(z))
        return p

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph.get_concrete_function(tf.TensorSpec((None, 3)))
    assert [name for name in found if found[name]] == ["plain", "moved", "subclassed", "one", "labels"]
