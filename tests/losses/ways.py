"""A loss over classes against its slow form, in every way that examples can be weighed, dropped and laid out.

`make(**options)` makes the loss, `plain(label, logits)` is its value for one example in NumPy float64.
"""

import json

import keras
import numpy as np
import pytest

from tests.masking import masked

CLASSES = 4
RTOL = 3e-6


def batch(shape=(2, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, CLASSES, shape), (3 * rng.normal(size=(*shape, CLASSES))).astype("float32")


def plain_values(plain, labels, logits):
    shape = logits.shape[:-1]
    return np.reshape([plain(labels[i], logits[i]) for i in np.ndindex(shape)], shape)


def reduced(values, weight=None, keep=None, reduction="sum_over_batch_size"):
    """As Keras documents it: what is dropped counts nowhere, and only one reduction divides by the weights."""
    keep = np.ones(values.shape, bool) if keep is None else np.asarray(keep)
    weight = np.ones(values.shape) if weight is None else np.broadcast_to(weight, values.shape)
    weighted = np.where(keep, values * weight, 0.0)
    if reduction == "none":
        return weighted
    divisor = {"sum": 1.0, "sum_over_batch_size": keep.sum(), "mean_with_sample_weight": (weight * keep).sum()}
    return weighted.sum() / divisor[reduction]


def assert_equal(value, expected, rtol=RTOL):
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), expected, rtol=rtol, atol=1e-6)


def weights(make, plain):
    labels, logits = batch()
    values = plain_values(plain, labels, logits)
    one_an_example = np.array([[1.0, 0.5, 0.0], [2.0, 3.0, 0.25]], "float32")
    one_a_row = np.array([[2.0], [0.5]], "float32")
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight", "none"):
        for weight in (None, one_an_example, one_a_row):
            value = make(reduction=reduction)(labels, logits, weight)
            assert_equal(value, reduced(values, weight, None, reduction))


def ignored(make, plain):
    labels, logits = batch()
    values = plain_values(plain, labels, logits)
    weight = np.array([[1.0, 0.5, 0.5], [2.0, 3.0, 0.25]], "float32")
    mask = np.array([[True, True, False], [True, True, True]])
    ignored = np.array([[True, False, False], [False, True, False]])
    # -1 is no number of these labels, and none of them is to be taken for it
    assert_equal(make(ignore_class=-1)(labels.astype("uint8"), logits), values.mean())
    labels[ignored] = -1
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight", "none"):
        loss = make(reduction=reduction, ignore_class=-1)
        for y in (labels, labels[..., None]):
            assert_equal(loss(y, logits), reduced(values, None, ~ignored, reduction))
            assert_equal(loss(y, masked(logits, mask), weight), reduced(values, weight, ~ignored & mask, reduction))


def axis(make, plain):
    labels, logits = batch((2, 4, 3))  # as many rows as classes: a misplaced axis would fit
    expected = plain_values(plain, labels, logits).mean()
    for at in (1, -3, 2):
        moved = np.moveaxis(logits, -1, at)
        for y in (labels, np.expand_dims(labels, at)):
            assert_equal(make(axis=at)(y, moved), expected)


def probabilities(make, plain):
    labels, logits = batch()
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p = (p / p.sum(-1, keepdims=True)).astype("float32")
    # logits are taken to be log p
    expected = plain_values(plain, labels, np.log(p)).mean()
    assert_equal(make(from_logits=False)(labels, p), expected, rtol=1e-5)
    # Keras's ε of 1e-7 stands for 0
    certain = np.array([[1.0, 0.0, 0.0, 0.0]], "float32")
    expected = plain(1, np.log(np.maximum(certain[0], 1e-7)))
    assert_equal(make(from_logits=False)([1], certain), expected, rtol=1e-5)


def layer_of_half_precision(make, plain):
    """A loss called inside a layer: the layer's autocast must not round its coefficients."""
    labels, logits = batch()

    class Ending(keras.layers.Layer):
        def call(self, logits):
            return make()(labels, logits)

    half = logits.astype("float16")
    assert_equal(Ending(dtype="mixed_float16")(half), plain_values(plain, labels, half.astype("float32")).mean())


def no_examples(make, plain):
    assert float(make()(np.zeros(0, "int32"), np.zeros((0, CLASSES), "float32"))) == 0
    assert float(make(ignore_class=-1)([-1, -1], np.full((2, CLASSES), np.nan, "float32"))) == 0


# padding that holds NaN, and inputs of half precision: tests/equivalence
WAYS = (weights, ignored, axis, probabilities, layer_of_half_precision, no_examples)
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def assert_config_round_trip(loss, **expected):
    """Through JSON, as a saved model holds it, with every argument of the constructor."""
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert {key: again.get_config()[key] for key in expected} == expected


def fitted(loss, labels, outputs=CLASSES, **options):
    """Weights of a small network after some steps of `fit`, in the order of the examples."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs)])
    # XLA's compilations take seconds
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit_compile)
    x = np.random.default_rng(5).normal(size=(len(labels), 3)).astype("float32")
    model.fit(x, labels, 4, 2, verbose=0, shuffle=False, **options)
    return model.get_weights()


def assert_class_weight_is_sample_weight(make):
    labels = np.array([0, 1, 2, 3, 3, 2, 0])
    share = {0: 0.5, 1: 2.0, 2: 0.0, 3: 1.5}
    by_class = fitted(make(), labels, class_weight=share)
    by_sample = fitted(make(), labels, sample_weight=np.array([share[y] for y in labels], "float32"))
    without = fitted(make(), labels)
    for a, b, c in zip(by_class, by_sample, without):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.abs(a - c).max() > 0.01
