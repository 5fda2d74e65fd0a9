"""Training under a policy of half precision follows that of float32: the loss is scaled and nothing is lost."""

import math

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence import registry
from tests.gradients import value_and_gradient

EXAMPLES = 16
BACKEND = keras.backend.backend()


@pytest.fixture(autouse=True)
def policy_afterwards():
    before = keras.mixed_precision.dtype_policy()
    yield
    keras.mixed_precision.set_dtype_policy(before)


def network(component):
    keras.utils.set_random_seed(0)
    shape = component.batch((EXAMPLES,))[1].shape[1:]
    outputs = [keras.layers.Dense(math.prod(shape)), keras.layers.Reshape(shape)]
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="tanh"), *outputs])


def trained(component, policy):
    """A small network after six steps, and the loss it was trained with."""
    keras.mixed_precision.set_dtype_policy(policy)
    model = network(component)
    loss = component.make()
    optimizer = keras.optimizers.SGD(0.5)
    if "Squared" in component.name:  # whose gradients are logits, not probabilities
        optimizer = keras.optimizers.SGD(0.02)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**9)
    model.compile(optimizer, loss, jit_compile="auto" if BACKEND == "jax" else False)
    x = np.random.default_rng(0).normal(size=(EXAMPLES, 4)).astype("float32")
    y_true = component.batch((EXAMPLES,))[0]
    online = isinstance(loss, kls.losses.OnlineLabelSmoothing) and BACKEND != "jax"
    callbacks = [kls.callbacks.SoftLabelUpdate()] if online else []
    history = model.fit(x, y_true, 8, 3, verbose=0, shuffle=False, callbacks=callbacks).history
    return model, loss, history["loss"]


SCALE = 2.0**15  # that which Keras's optimizer starts with


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_scaled_gradient_of_half_precision_logits(component):
    y_true, logits = component.batch((EXAMPLES,))
    half = keras.ops.cast(logits, "float16")
    loss = component.make()
    scale = 2.0**9 if "Squared" in component.name else SCALE  # whose gradients are logits, not probabilities
    value, gradient = value_and_gradient(lambda z: scale * loss(y_true, z), half)
    full_value, full = value_and_gradient(lambda z: loss(y_true, z), keras.ops.cast(half, "float32"))
    np.testing.assert_allclose(value / scale, full_value, rtol=1e-6)
    # of 11 bits, none of which is lost to numbers too small
    np.testing.assert_allclose(gradient / scale, full, rtol=1e-3, atol=2**-24 / scale)
    assert np.abs(full).max() > 1e-3


# one of each base class, and those whose training differs: that learns, that takes another scale, with a projector. Of
# the others the gradient is tried, above: what trains them is the same
TRAINED = [
    *("SmoothedCrossentropy", "OnlineLabelSmoothing", "BinarySmoothedCrossentropy", "LogitsDistillation"),
    *("SquaredLogitsDistillation", "FeatureDistillation-projector"),
]


@pytest.mark.parametrize("component", [c for c in registry.LOSSES if c.name in TRAINED], ids=str)
def test_fit(component):
    model, loss, values = trained(component, "float32")
    half, half_loss, half_values = trained(component, "mixed_float16")
    assert keras.backend.standardize_dtype(half.outputs[0].dtype) == "float16"
    # numbers have 11 bits: every layer's output and gradient is rounded by 5e-4 of its size, in six steps, and the
    # weights are some tenths
    np.testing.assert_allclose(half_values, values, rtol=4e-3, atol=4e-3)
    for a, b in zip(half.get_weights(), model.get_weights()):
        np.testing.assert_allclose(a, b, atol=2e-3 * max(1.0, np.abs(b).max()))
    moves = [np.abs(b - start).max() for b, start in zip(model.get_weights(), network(component).get_weights())]
    assert max(moves) > 20 * 2e-3  # it went a long way
    if isinstance(loss, kls.losses.OnlineLabelSmoothing):
        soft, half_soft = (keras.ops.convert_to_numpy(x.soft_labels) for x in (loss, half_loss))
        np.testing.assert_allclose(half_soft, soft, atol=4e-3)
    # no step overflowed: one that does is left out and halves the scale
    assert isinstance(half.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(half.optimizer.dynamic_scale) == half.optimizer.initial_scale
    assert int(half.optimizer.iterations) == 6
