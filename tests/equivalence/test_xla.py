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

    def value_and_gradient(y, p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(y, p, weight)
        return value, tape.gradient(value, p)

    eager = value_and_gradient(y_true, y_pred)
    compiled = tf.function(value_and_gradient, jit_compile=True, autograph=False)  # as `fit` traces
    value, gradient = compiled(y_true, y_pred)
    np.testing.assert_allclose(value, eager[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, eager[1], atol=1e-6)
    if component.batch is registry.integers:  # no error can be raised: the value must show it
        assert np.isnan(float(compiled(one_too_high(y_true), y_pred)[0])), "a label out of range"


def one_too_high(labels):
    labels = labels.numpy()
    labels[1] = registry.CLASSES
    return tf.constant(labels)


@pytest.mark.parametrize("component", [c for c in registry.LOSSES if "-" not in c.name], ids=str)
def test_loss_made_in_traced_code(component):
    # as in a `train_step`, a lambda or the call of a layer
    y_true, y_pred = map(tf.constant, component.batch())
    made_inside = tf.function(lambda y, p: component.make()(y, p))
    if component.name == "OnlineLabelSmoothing":
        with pytest.raises(ValueError, match="Expected OnlineLabelSmoothing to be made outside traced code"):
            made_inside(y_true, y_pred)
    else:
        assert float(made_inside(y_true, y_pred)) == pytest.approx(float(component.make()(y_true, y_pred)), rel=1e-6)


# of the metrics' forms those that bin, sum or divide otherwise; labels that are dense or ignored come to all of them in
# one way, which the losses try with XLA
FORMS = [c for c in registry.METRICS if not c.name.endswith(("-dense", "-ignore")) or c.name.startswith("Class")]


@pytest.mark.parametrize("component", FORMS, ids=str)
def test_metric(component):
    y_true, y_pred = map(tf.constant, component.batch())
    eager, compiled = component.make(), component.make()
    eager.update_state(y_true, y_pred)
    update = tf.function(compiled.update_state, jit_compile=True, autograph=False)
    update(y_true, y_pred)
    result = tf.function(lambda: compiled.result(), jit_compile=True, autograph=False)()
    assert float(result) == pytest.approx(float(eager.result()), rel=1e-6)

    # no error can be raised: the result must show it, and neither may fall into a bin
    def result_of(y_true, y_pred):
        compiled.reset_state()
        update(y_true, y_pred)
        return float(compiled.result())

    assert result_of(y_true, y_pred) == pytest.approx(float(eager.result()), rel=1e-6)
    spoilt = y_pred.numpy()
    spoilt[1] = np.nan
    assert np.isnan(result_of(y_true, tf.constant(spoilt))), "a NaN prediction"
    if component.batch is registry.integers:
        assert np.isnan(result_of(one_too_high(y_true), y_pred)), "a label out of range"


@pytest.mark.parametrize("component", registry.CALIBRATORS, ids=str)
def test_calibrator(component):
    labels, logits = component.batch()
    calibrator = component.make().fit(logits, labels)
    compiled = tf.function(lambda z: calibrator(z), jit_compile=True, autograph=False)(tf.constant(logits))
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
