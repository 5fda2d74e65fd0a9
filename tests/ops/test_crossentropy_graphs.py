"""`smoothed_crossentropy` in traced and compiled functions."""

import math

import keras
import numpy as np
import pytest

from keras_ls import ops
from keras_ls.ops.crossentropy import FEW_CLASSES
from tests.ops.test_crossentropy import batch, plain, softmax, target


def graph(K, alpha=0.1, **options):
    import tensorflow as tf

    @tf.function(**options)
    def step(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = ops.smoothed_crossentropy(labels, logits, alpha)
        return value, tape.gradient(value, logits)

    return step


@pytest.mark.tensorflow
def test_no_one_hot_target_in_the_graph():
    import tensorflow as tf

    step = graph(1000).get_concrete_function(tf.TensorSpec([None], "int64"), tf.TensorSpec([None, 1000]))
    definition = step.graph.as_graph_def()
    used = {
        node.op for nodes in (definition.node, *(f.node_def for f in definition.library.function)) for node in nodes
    }
    assert "OneHot" not in used and "ScatterNdNonAliasingAdd" in used
    labels, logits = batch((4,), 1000)
    value, gradient = step(tf.constant(labels), tf.constant(logits, "float32"))
    np.testing.assert_allclose(value, plain(labels, logits, 0.1, None), rtol=3e-6)
    np.testing.assert_allclose(gradient, softmax(logits) - target(labels, 1000, 0.1, None), atol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_labels_of_few_bits_in_a_graph(dtype):
    # as many classes as would wrap around in the labels' dtype
    import tensorflow as tf

    for K in (128, 256, 1000):
        value = graph(K)(tf.constant([3, 100], dtype), tf.zeros((2, K)))[0]
        np.testing.assert_allclose(value, [math.log(K)] * 2, rtol=1e-6)


@pytest.mark.parametrize("K", [4, FEW_CLASSES + 8])
def test_label_out_of_range_is_nan_when_compiled(K):
    labels, logits = np.array([0, K, 1, -1]), np.zeros((4, K), "float32")
    if keras.backend.backend() == "tensorflow":
        value, gradient = (t.numpy() for t in graph(K, jit_compile=True)(labels, keras.ops.convert_to_tensor(logits)))
    elif keras.backend.backend() == "jax":
        import jax

        def total(z, y):
            value = ops.smoothed_crossentropy(y, z, 0.1)
            return value.sum(), value

        (_, value), gradient = map(
            jax.tree.map, (np.asarray,) * 2, jax.jit(jax.value_and_grad(total, has_aux=True))(logits, labels)
        )
    else:
        pytest.skip("PyTorch runs the checks, which raise")
    np.testing.assert_allclose(value, [math.log(K), np.nan, math.log(K), np.nan], rtol=1e-6)
    assert np.isnan(gradient[[1, 3]]).all()
    np.testing.assert_allclose(gradient[[0, 2]], 1 / K - target([0, 1], K, 0.1, None), atol=1e-6)


@pytest.mark.tensorflow
def test_a_function_inside_one_that_xla_compiles():
    # the in-place scatter has no XLA kernel: the inner graph has to know of the outer one
    import tensorflow as tf

    labels, logits = batch((4,), 1000)
    step = graph(1000)
    labels, single = tf.constant(labels), tf.constant(logits, "float32")
    expected = softmax(logits) - target(labels, 1000, 0.1, None)
    for run in (tf.function(step, jit_compile=True), step):
        np.testing.assert_allclose(run(labels, single)[1], expected, atol=1e-6)


@pytest.mark.tensorflow
def test_prior_and_alpha_of_unknown_batch():
    import tensorflow as tf

    spec = tf.TensorSpec([None, None], "int32"), tf.TensorSpec([None, None, 40])
    step = graph(40, 0.25).get_concrete_function(*spec)
    for shape in ((2, 3), (0, 4), (1, 1)):
        labels, logits = batch(shape, 40)
        value, gradient = step(tf.constant(labels, "int32"), tf.constant(logits, "float32"))
        np.testing.assert_allclose(value, plain(labels, logits, 0.25, None), rtol=3e-6)
        np.testing.assert_allclose(gradient, softmax(logits) - target(labels, 40, 0.25, None), atol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("K", [5, FEW_CLASSES + 5])
def test_gradients_of_a_persistent_tape_are_the_same(K):
    import tensorflow as tf

    labels, logits = batch((4,), K)

    @tf.function
    def both(z):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            value = ops.smoothed_crossentropy(labels, z, 0.2)
        return tape.gradient(value, z), tape.gradient(value, z)

    for gradient in both(tf.constant(logits)):
        np.testing.assert_allclose(gradient, softmax(logits) - target(labels, K, 0.2, None), atol=1e-12)
