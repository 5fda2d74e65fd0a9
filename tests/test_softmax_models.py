"""A model that ends in a softmax, at every entry point that takes a model or a file: told, or read as it is."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from tests.test_cli import in_process

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype("float32")
KERNEL = RNG.normal(size=(4, 3)).astype("float32") * 2
Y = (X @ KERNEL / 2 + RNG.gumbel(size=(200, 3))).argmax(axis=1)  # the right temperature is about 2


def network(*last, activation=None):
    dense = keras.layers.Dense(3, activation=activation, name="end", use_bias=False)
    model = keras.Sequential([keras.Input((4,)), dense, *last])
    dense.set_weights([KERNEL])
    return model


class Subclassed(keras.Model):
    """Its layers tell nothing."""

    def __init__(self):
        super().__init__()
        self.network = network()
        self(X[:2])

    def call(self, x):
        return keras.ops.softmax(self.network(x))


MODELS = [lambda: network(activation="softmax"), Subclassed]
both = pytest.mark.parametrize("make", MODELS, ids=["layers", "subclassed"])


def told(call, name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    said = [str(w.message) for w in caught if str(w.message).startswith("Expected logits for")]
    assert [text.startswith(f"Expected logits for {name}. Received: ") for text in said] == ([True] if name else [])
    return value


@both
def test_calibrators(make):
    scaling = kls.calibrators.TemperatureScaling()
    told(lambda: scaling.fit(make(), (X, Y)), "TemperatureScaling.fit")
    expected = told(lambda: kls.calibrators.TemperatureScaling().fit(network(), (X, Y)), None)
    found = told(lambda: kls.calibrators.TemperatureScaling(from_logits=False).fit(make(), (X, Y)), None)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-4)
    assert found.fit_report.nll_after == pytest.approx(expected.fit_report.nll_after, rel=1e-5)
    # behind the model, as a layer that is saved with it
    whole = told(lambda: keras.Sequential([network(activation="softmax"), found]), None)
    told(lambda: keras.Sequential([network(activation="softmax"), expected]), "TemperatureScaling")
    z = whole.predict(X, verbose=0)
    again = keras.Sequential([network(), expected]).predict(X, verbose=0)
    np.testing.assert_allclose(keras.ops.softmax(z), keras.ops.softmax(again), atol=1e-4)


@both
def test_the_callback(make):
    def trained(**k):
        model = make()
        model.compile("sgd", kls.losses.SmoothedCrossentropy(0.0, from_logits=False))
        model.optimizer.learning_rate = 0.0
        return model.fit(X, Y, verbose=0, callbacks=[kls.callbacks.CalibrationCallback((X, Y), **k)], epochs=2).history

    told(trained, "CalibrationCallback")
    history = told(lambda: trained(from_logits=False), None)
    expected = kls.calibrators.TemperatureScaling().fit(network(), (X, Y))
    assert history["val_temperature"][-1] == pytest.approx(expected.temperature, rel=1e-4)


@both
def test_export(make, tmp_path):
    told(lambda: kls.export.export_saved_model(make(), tmp_path / "wrong"), "export_saved_model")
    z = X @ KERNEL
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    for from_logits in (True, False):  # what the calibrator takes
        arguments = (
            make(),
            tmp_path / "right",
            kls.calibrators.TemperatureScaling(2.0, from_logits=from_logits),
            False,
        )
        path = told(lambda arguments=arguments: kls.export.export_saved_model(*arguments), None)
        served = tf.saved_model.load(path).signatures["serving_default"](inputs=X)
        np.testing.assert_allclose(served["logits"], np.maximum(log_p, np.log(1e-7)) / 2, atol=1e-4)


def test_folding():
    expected = kls.calibrators.TemperatureScaling().fit(network(), (X, Y))
    fitted = kls.calibrators.TemperatureScaling().fit(network(activation="softmax"), (X, Y), from_logits=False)
    p = kls.calibrators.fold_temperature(network(activation="softmax"), fitted).predict(X, verbose=0)
    np.testing.assert_allclose(p, keras.ops.softmax(X @ KERNEL / expected.temperature), atol=1e-4)
    with pytest.warns(UserWarning, match="Expected logits"):
        wrong = kls.calibrators.TemperatureScaling().fit(network(activation="softmax"), (X, Y))
    with pytest.raises(ValueError, match=r"fitted to probabilities taken for logits.*`from_logits=False`"):
        kls.calibrators.fold_temperature(network(activation="softmax"), wrong)
    with pytest.raises(ValueError, match="with from_logits=False"):
        kls.calibrators.fold_temperature(network(fitted))


def test_files_and_the_command_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.npz"
    np.savez(file, labels=Y, predictions=np.asarray(keras.ops.softmax(X @ KERNEL)))
    told(lambda: kls.data.read_predictions(file, from_logits=True), "read_predictions")
    told(lambda: kls.data.read_predictions(file, from_logits=False), None)
    assert in_process(monkeypatch, "calibrate", file, "--logits", "--out", tmp_path / "out") == 2
    assert "--probabilities" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@both
def test_distillation(make):
    loss = kls.distillation.LogitsDistillation()
    layers = make is not Subclassed
    distiller = told(
        lambda: kls.Distiller(make(), network(), loss, student_loss_weight=0.0),
        "'logits_distillation', from the teacher" if layers else None,
    )
    distiller.compile("sgd")
    told(lambda: distiller.fit(X, Y, verbose=0, epochs=2), None if layers else "LogitsDistillation")


def test_a_distillation_loss_of_one_s_own_loop():
    p = keras.ops.softmax(X @ KERNEL)
    told(lambda: kls.distillation.LogitsDistillation()(X @ KERNEL, p), "LogitsDistillation")  # of the student
    told(lambda: kls.distillation.LogitsDistillation()(X @ KERNEL, X @ KERNEL), None)
    told(lambda: kls.distillation.HardLabelDistillation()(p, p), None)
