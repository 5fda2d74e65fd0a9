"""`jit_compile=True` changes nothing."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence import registry
from tests.equivalence.training import batches, classifier

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss(component):
    y_true, y_pred = map(tf.constant, component.batch())
    weight = tf.constant(np.linspace(0.5, 2.0, 7, dtype="float32"))
    loss = component.make()

    def value_and_gradient(p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(y_true, p, weight)
        return value, tape.gradient(value, p)

    eager = value_and_gradient(y_pred)
    compiled = tf.function(value_and_gradient, jit_compile=True)(y_pred)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-6)
    np.testing.assert_allclose(compiled[1], eager[1], atol=1e-6)


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_made_in_traced_code(component):
    # as in a `train_step`, a lambda or the call of a layer
    if component.name == "FeatureDistillation-projector":
        pytest.skip("makes a layer")
    y_true, y_pred = map(tf.constant, component.batch())
    made_inside = tf.function(lambda y, p: component.make()(y, p))
    if component.name.startswith("OnlineLabelSmoothing"):
        with pytest.raises(ValueError, match="Expected OnlineLabelSmoothing to be made outside traced code"):
            made_inside(y_true, y_pred)
    else:
        assert float(made_inside(y_true, y_pred)) == pytest.approx(float(component.make()(y_true, y_pred)), rel=1e-6)


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric(component):
    y_true, y_pred = map(tf.constant, component.batch())
    eager, compiled = component.make(), component.make()
    eager.update_state(y_true, y_pred)
    tf.function(compiled.update_state, jit_compile=True)(y_true, y_pred)
    result = tf.function(lambda: compiled.result(), jit_compile=True)()
    assert float(result) == pytest.approx(float(eager.result()), rel=1e-6)


@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator(component):
    labels, logits = component.batch()
    calibrator = component.make().fit(logits, labels)
    compiled = tf.function(lambda z: calibrator(z), jit_compile=True)(tf.constant(logits))
    np.testing.assert_allclose(compiled, calibrator(logits), rtol=1e-6)


def test_distiller_fit():
    def trained(jit_compile):
        student = classifier()
        distiller = kls.Distiller(classifier(1), student, kls.distillation.LogitsDistillation())
        distiller.compile(keras.optimizers.SGD(0.5), kls.losses.SmoothedCrossentropy(0.1), jit_compile=jit_compile)
        history = distiller.fit(batches(24), epochs=2, verbose=0, shuffle=False).history
        return student.get_weights(), history

    (weights, history), (compiled_weights, compiled_history) = trained(False), trained(True)
    for a, b in zip(weights, compiled_weights):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for key in history:
        np.testing.assert_allclose(compiled_history[key], history[key], rtol=1e-5)


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_traced_nan_prediction_makes_the_result_nan(component):
    # inside a traced function no error can be raised: the NaN must show, never fall into a bin
    y_true, y_pred = component.batch()
    y_pred = y_pred.copy()
    y_pred[1] = np.nan
    metric = component.make()
    tf.function(metric.update_state, jit_compile=True)(tf.constant(y_true), tf.constant(y_pred))
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize(
    "component", [c for c in registry.LOSSES + registry.METRICS if c.batch is registry.integers], ids=str
)
def test_traced_label_out_of_range_raises_in_a_graph_and_gives_nan_under_xla(component):
    y_true, y_pred = component.batch()
    y_true = y_true.copy()
    y_true[1] = registry.CLASSES
    made = component.make()
    update = getattr(made, "update_state", made.__call__)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Expected integer labels in \[0, 5\)"):
        tf.function(update)(tf.constant(y_true), tf.constant(y_pred))
    if isinstance(made, keras.metrics.Metric):
        tf.function(made.update_state, jit_compile=True)(tf.constant(y_true), tf.constant(y_pred))
        value = made.result()
    else:
        value = tf.function(made.__call__, jit_compile=True)(tf.constant(y_true), tf.constant(y_pred))
    assert np.isnan(float(value))
