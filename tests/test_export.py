"""Exported models: their numbers in a process without Keras, their signatures, and the directory they replace."""

import os
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.export import export_saved_model

SERVER = pathlib.Path(__file__).with_name("export_server.py")
ROWS = 5


class Divide(keras.layers.Layer):
    """The smallest calibrator: logits divided by a variable."""

    def __init__(self, temperature, **kwargs):
        super().__init__(**kwargs)
        self.temperature = self.add_weight(shape=(), initializer=keras.initializers.Constant(temperature))

    def call(self, inputs):
        return inputs / self.temperature


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalize = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.5)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs, training=False):
        return self.dense(self.dropout(self.normalize(inputs, training=training), training=training))


class OnDict(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs["left side"]) + self.dense(inputs["right"])


def features(width=4, rows=ROWS, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype("float32")


def classifier(classes=3, activation=None, **kwargs):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh", kernel_initializer="normal", **kwargs),
            keras.layers.Dense(
                classes, activation, kernel_initializer=keras.initializers.RandomNormal(stddev=3.0), **kwargs
            ),
        ]
    )


def called(model, inputs):
    model(inputs)
    return model


def functional_dict():
    inputs = {"image": keras.Input((4,), name="image"), "index": keras.Input((), dtype="int32", name="index")}
    embedded = keras.layers.Embedding(7, 8)(inputs["index"])
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(8)(inputs["image"]) + embedded))


def functional_list():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Subtract()(inputs)))


def flat_binary():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Reshape(())(keras.layers.Dense(1)(inputs)))


def vocabulary():
    inputs = keras.Input((), dtype="string")
    encode = keras.layers.StringLookup(vocabulary=["yes", "no"], output_mode="one_hot")
    return keras.Model(inputs, keras.layers.Dense(3)(encode(inputs)))


def of_sequences():
    inputs = keras.Input((None, 4))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs))


X, Y = features(), features(seed=1)
# name: (model, inputs as the model takes them, inputs as served, keyword arguments)
CASES = {
    "sequential": lambda: (classifier(), X, {"inputs": X}, {}),
    "calibrated": lambda: (classifier(), X, {"inputs": X}, {"calibrator": Divide(2.5)}),
    "temperature": lambda: (classifier(), X, {"inputs": X}, {"calibrator": kls.calibrators.TemperatureScaling(2.5)}),
    "probabilities": lambda: (classifier(3, "softmax"), X, {"inputs": X}, {"from_logits": False}),
    "probabilities_calibrated": lambda: (
        classifier(3, "softmax"),
        X,
        {"inputs": X},
        {"from_logits": False, "calibrator": Divide(0.5)},
    ),
    "binary": lambda: (classifier(1), X, {"inputs": X}, {"calibrator": Divide(2.5)}),
    "binary_flat": lambda: (flat_binary(), X, {"inputs": X}, {}),
    "binary_probabilities": lambda: (classifier(1, "sigmoid"), X, {"inputs": X}, {"from_logits": False}),
    "half": lambda: (classifier(dtype="mixed_float16"), X, {"inputs": X}, {"calibrator": Divide(2.5)}),
    "bfloat16": lambda: (classifier(dtype="bfloat16"), X, {"inputs": X}, {}),
    "dict": lambda: (
        functional_dict(),
        {"image": X, "index": np.arange(ROWS, dtype="int32")},
        {"image": X, "index": np.arange(ROWS, dtype="int32")},
        {},
    ),
    "list": lambda: (functional_list(), [X, Y], {"inputs_0": X, "inputs_1": Y}, {}),
    "subclassed": lambda: (called(Subclassed(), X[:2]), X, {"inputs": X}, {}),
    "subclassed_dict": lambda: (
        called(OnDict(), {"left side": X, "right": Y}),
        {"left side": X, "right": Y},
        {"left_side": X, "right": Y},
        {},
    ),
    "strings": lambda: (vocabulary(), tf.constant(["no", "yes", "?"]), {"inputs": np.array([b"no", b"yes", b"?"])}, {}),
    "sequences": lambda: (of_sequences(), X.reshape(1, ROWS, 4), {"inputs": X.reshape(1, ROWS, 4)}, {}),
}


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def expected_outputs(predictions, from_logits=True, calibrator=None):
    """The four outputs, in NumPy and float64."""
    z = np.asarray(predictions, "float64")
    binary = z.ndim == 1 or z.shape[-1] == 1
    if not from_logits:
        z = np.log(z / (1 - z)) if binary else np.log(z)
    if calibrator is not None:
        z = z / float(calibrator.temperature)
    p = 1 / (1 + np.exp(-z)) if binary else softmax(z)
    if binary:
        single = p.reshape(len(p))
        return {
            "logits": z,
            "probabilities": p,
            "confidence": np.maximum(single, 1 - single),
            "class": np.where(single > 0.5, 1, 0),
        }
    return {"logits": z, "probabilities": p, "confidence": p.max(axis=-1), "class": z.argmax(axis=-1)}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Expected and served outputs of every case; one process without Keras serves them all."""
    folder = tmp_path_factory.mktemp("served")
    expected = {}
    for name, make in CASES.items():
        model, inputs, as_served, kwargs = make()
        expected[name] = expected_outputs(model.predict(inputs, verbose=0), **kwargs)
        assert export_saved_model(model, folder / name, **kwargs) == folder / name
        np.savez(folder / f"{name}.inputs.npz", **as_served)
    run([SERVER, folder])
    return {name: (expected[name], dict(np.load(folder / f"{name}.outputs.npz"))) for name in CASES}


def run(arguments, status=0):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == status, done.stderr[-3000:]


@pytest.mark.parametrize("name", CASES)
def test_served_without_keras(served, name):
    expected, received = served[name]
    assert set(received) == {"logits", "probabilities", "confidence", "class"}
    assert received["class"].dtype == np.int64
    for key in ["logits", "probabilities", "confidence"]:
        assert received[key].dtype == np.float32
        assert received[key].shape == expected[key].shape
        np.testing.assert_allclose(received[key], expected[key], rtol=2e-5, atol=2e-6, err_msg=key)
    np.testing.assert_array_equal(received["class"], expected["class"])
    assert len(np.unique(received["class"])) > 1 or name in ("strings",)


def signature(path):
    return tf.saved_model.load(str(path)).signatures["serving_default"]


def test_batch_size_is_free(tmp_path):
    serve = signature(export_saved_model(classifier(), tmp_path / "model"))
    for rows in (1, 3, 64):
        assert serve(inputs=tf.zeros((rows, 4)))["class"].shape == (rows,)


def test_serve_endpoint(tmp_path):
    model = classifier()
    loaded = tf.saved_model.load(str(export_saved_model(model, tmp_path / "model")))
    np.testing.assert_allclose(loaded.serve(X)["logits"], model.predict(X, verbose=0), atol=1e-6)


def test_certain_probabilities_stay_finite(tmp_path):
    # p clipped at 1e-7: log 1e-7 = -16.118
    model = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    certain = signature(export_saved_model(model, tmp_path / "classes", from_logits=False))(inputs=tf.eye(2))
    np.testing.assert_allclose(certain["logits"], [[0, -16.118096], [-16.118096, 0]], rtol=1e-6)
    np.testing.assert_array_equal(certain["class"], [0, 1])
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    certain = signature(export_saved_model(model, tmp_path / "binary", from_logits=False))
    np.testing.assert_allclose(
        certain(inputs=tf.constant([[0.0], [0.5], [1.0]]))["logits"], [[-16.118096], [0], [16.118096]], rtol=1e-6
    )


def test_binary_tie_is_class_0(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    outputs = signature(export_saved_model(model, tmp_path / "model"))(inputs=tf.constant([[-30.0], [0.0], [1e-3]]))
    np.testing.assert_array_equal(outputs["class"], [0, 0, 1])
    np.testing.assert_allclose(outputs["confidence"], [1.0, 0.5, 0.50025], rtol=1e-6)


def test_trained_on_two_replicas(tmp_path, two_replicas):
    with two_replicas.scope():
        normalize = keras.layers.BatchNormalization(synchronized=True)
        model = keras.Sequential([keras.Input((4,)), normalize, keras.layers.Dense(3)])
        model.compile("adam", kls.losses.SmoothedCrossentropy(0.1))
    model.fit(X, np.arange(ROWS) % 3, batch_size=4, verbose=0)
    outputs = signature(export_saved_model(model, tmp_path / "model"))(inputs=tf.constant(X))
    assert np.isfinite(outputs["logits"]).all()
    np.testing.assert_allclose(outputs["logits"], model.predict(X, verbose=0), atol=1e-6)


def test_loaded_subclassed_model(tmp_path):
    model = called(Subclassed(), X)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Subclassed": Subclassed})
    outputs = signature(export_saved_model(loaded, tmp_path / "model"))(inputs=tf.constant(X[:2]))
    np.testing.assert_allclose(outputs["logits"], model(X[:2]), atol=1e-6)


def test_distiller_exports_its_student(tmp_path):
    student = classifier()
    distiller = kls.Distiller(classifier(), student, kls.distillation.LogitsDistillation())
    distiller.compile("adam", kls.losses.SmoothedCrossentropy(0.0))
    distiller.fit(X, np.arange(ROWS) % 3, verbose=0)
    outputs = signature(export_saved_model(distiller, tmp_path / "model"))(inputs=tf.constant(X))
    np.testing.assert_allclose(outputs["logits"], student.predict(X, verbose=0), atol=1e-6)


def test_the_model_stays_as_it_was(tmp_path):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    )
    model.layers[0].trainable = False
    model.compile("adam", kls.losses.SmoothedCrossentropy(0.1), metrics=["accuracy"])
    model.fit(X, np.arange(ROWS) % 3, verbose=0)
    calibrator = Divide(2.0)

    def state():
        return {
            "weights": [weight.tolist() for weight in model.get_weights()],
            "optimizer": [variable.numpy().tolist() for variable in model.optimizer.variables],
            "trainable": [layer.trainable for layer in model.layers] + [model.trainable],
            "variables": [variable.path for variable in model.trainable_variables],
            "metrics": model.get_metrics_result(),
            "compiled": (model.compiled, id(model.optimizer), id(model.loss), id(model.train_function)),
            "layers": [id(layer) for layer in model.layers],
            "attributes": sorted(vars(model)),
            "calibrator": [calibrator.temperature.numpy(), calibrator.trainable],
        }

    before = state()
    export_saved_model(model, tmp_path / "model", calibrator)
    assert state() == before
    model.fit(X, np.arange(ROWS) % 3, verbose=0)


def test_quiet(tmp_path, capfd):
    export_saved_model(classifier(), tmp_path / "model", Divide(2.0))
    assert capfd.readouterr() == ("", "")


def leave_only(folder, *names):
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(names)


def logits_at(path):
    return signature(path)(inputs=tf.constant(X))["logits"].numpy()


def test_replaces_a_saved_model_and_keeps_other_files(tmp_path):
    path = export_saved_model(classifier(), tmp_path / "model")
    (path / "provenance.json").write_text("{}")
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "labels.txt").write_text("cat")
    old = logits_at(path)
    export_saved_model(classifier(), path, Divide(4.0))
    np.testing.assert_allclose(logits_at(path), old / 4, rtol=1e-6)
    assert (path / "provenance.json").read_text() == "{}"
    assert (path / "assets.extra" / "labels.txt").read_text() == "cat"
    leave_only(tmp_path, "model")


def test_empty_directory_new_parents_and_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert export_saved_model(classifier(), "empty") == pathlib.Path("empty")
    assert export_saved_model(classifier(), "new/parents/model") == pathlib.Path("new/parents/model")
    np.testing.assert_array_equal(logits_at("empty"), logits_at("new/parents/model"))
    leave_only(tmp_path, "empty", "new")
    # readable by whoever may read a directory made here
    assert (tmp_path / "empty").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_through_a_symbolic_link(tmp_path):
    export_saved_model(classifier(), tmp_path / "first")
    (tmp_path / "current").symlink_to("first")
    export_saved_model(classifier(), tmp_path / "current", Divide(4.0))
    assert (tmp_path / "current").is_symlink()
    np.testing.assert_array_equal(logits_at(tmp_path / "first"), logits_at(tmp_path / "current"))


@pytest.mark.parametrize(
    "error", [tf.errors.ResourceExhaustedError(None, None, "No space left on device"), KeyboardInterrupt()]
)
def test_failure_while_writing(tmp_path, monkeypatch, error):
    path = export_saved_model(classifier(), tmp_path / "model")
    old = logits_at(path)
    write = tf.saved_model.save

    def fail(*args, **kwargs):
        write(*args, **kwargs)
        raise error

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises((OSError, KeyboardInterrupt), match="No space left on device" if str(error) else None):
        export_saved_model(classifier(), path, Divide(4.0))
    with pytest.raises((OSError, KeyboardInterrupt)):
        export_saved_model(classifier(), tmp_path / "new" / "model")
    np.testing.assert_array_equal(logits_at(path), old)
    leave_only(tmp_path, "model")


@pytest.mark.parametrize("failing", [1, 2])
def test_failure_while_renaming(tmp_path, monkeypatch, failing):
    path = export_saved_model(classifier(), tmp_path / "model")
    old, rename, calls = logits_at(path), os.rename, []

    def fail(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError("Device or resource busy")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="busy"):
        export_saved_model(classifier(), path, Divide(4.0))
    np.testing.assert_array_equal(logits_at(path), old)
    leave_only(tmp_path, "model")


def test_killed_when_all_is_written(tmp_path):
    path = export_saved_model(classifier(), tmp_path / "model")
    old = logits_at(path)
    script = """
        import os, signal, sys, keras
        from keras_ls.export import export_saved_model
        os.rename = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        export_saved_model(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), sys.argv[1])
    """
    run(["-c", textwrap.dedent(script), path], status=-9)
    np.testing.assert_array_equal(logits_at(path), old)


def test_refuses_what_is_not_a_saved_model(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("cat")
    (tmp_path / "file").write_text("file")
    with pytest.raises(ValueError, match=r"new, empty or a SavedModel. Received: .*photos, a directory with cat.png"):
        export_saved_model(classifier(), tmp_path / "photos")
    with pytest.raises(ValueError, match=r"Expected `path` to be a directory. Received: .*file, which is a file"):
        export_saved_model(classifier(), tmp_path / "file")
    with pytest.raises(ValueError, match=r"Expected a local directory. Received: gs://bucket/model"):
        export_saved_model(classifier(), "gs://bucket/model")
    assert (tmp_path / "photos" / "cat.png").read_text() == "cat"
    leave_only(tmp_path, "photos", "file")


def test_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("file")
    with pytest.raises(
        OSError, match=r"Expected a directory that can be written. Received: .*file/deep \(Not a directory"
    ):
        export_saved_model(classifier(), tmp_path / "file" / "deep" / "model")
    leave_only(tmp_path, "file")


class Text(keras.Model):
    def __init__(self):
        super().__init__()
        self.tokens = keras.layers.StringLookup(vocabulary=["good", "bad"], output_mode="one_hot")
        self.dense = keras.layers.Dense(3)

    def call(self, words):
        return self.dense(self.tokens(words))


class LargeIds(keras.Model):
    """Tells an id above 2²⁴ from the next, which float32 does not."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        ids = keras.ops.cast(inputs["ids"], "int64")
        return self.dense(keras.ops.cast(ids % 2, "float32") + 0 * inputs["x"])


class TracedIds(keras.Model):
    """Makes integers of its inputs inside a function of its own."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    @tf.function
    def parity(self, ids):
        return tf.cast(tf.cast(ids, "int64") % 2, "float32")

    def call(self, inputs):
        return self.dense(self.parity(inputs))


@pytest.mark.parametrize(
    ("make", "batch", "signature"),
    [
        (TracedIds, tf.constant([[2**24], [2**24 + 1]], "int64"), [tf.TensorSpec((None, 1), "int64")]),
        (Text, tf.constant([["good"], ["bad"], ["ugly"]]), [tf.TensorSpec((None, 1), "string")]),
        (
            LargeIds,
            {"ids": tf.constant([[2**24], [2**24 + 1]], "int64"), "x": tf.zeros((2, 1))},
            [{"ids": tf.TensorSpec((None, 1), "int64"), "x": keras.InputSpec(dtype="float32", shape=(None, 1))}],
        ),
    ],
)
def test_inputs_of_a_subclassed_model_that_are_no_floats(tmp_path, make, batch, signature):
    model = make()
    expected = model(batch).numpy()
    with pytest.raises(ValueError, match=r"Expected `input_signature` for a subclassed model .*TensorSpec"):
        export_saved_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    served = tf.saved_model.load(export_saved_model(model, tmp_path / "model", input_signature=signature))
    inputs = batch if isinstance(batch, dict) else {"inputs": batch}
    np.testing.assert_array_equal(served.signatures["serving_default"](**inputs)["logits"], expected)


@keras.saving.register_keras_serializable(package="tests")
class Sum(keras.layers.Layer):
    """x, or x + y."""

    def call(self, x, y=None):
        return x if y is None else x + y

    def compute_output_spec(self, x, y=None):
        return keras.KerasTensor(x.shape, x.dtype)


class SumOfKeys(keras.Model):
    def __init__(self):
        super().__init__()
        self.sum, self.dense = Sum(), keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(self.sum(inputs["a"], inputs["b"]))


def functional_sum(in_a_dict):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    return keras.Model({"a": a, "b": b} if in_a_dict else [a, b], keras.layers.Dense(3)(Sum()(a, b)))


@pytest.mark.parametrize("kind", ["dict", "list", "subclass"])
def test_optional_input_that_is_left_out(tmp_path, kind):
    x, spec = np.random.default_rng(0).normal(size=(5, 4)).astype("float32"), tf.TensorSpec((None, 4))
    together = (lambda a, b: [a, b]) if kind == "list" else (lambda a, b: {"a": a, "b": b})
    model = SumOfKeys() if kind == "subclass" else functional_sum(kind == "dict")
    model(together(x, x))
    path = export_saved_model(model, tmp_path / "model", input_signature=[together(spec, None)])
    served = tf.saved_model.load(path).signatures["serving_default"]
    name = "inputs_0" if kind == "list" else "a"
    assert set(served.structured_input_signature[1]) == {name}
    np.testing.assert_allclose(served(**{name: x})["logits"], model(together(x, None)), rtol=1e-6)


def test_first_call_without_an_optional_input(tmp_path):
    model = SumOfKeys()
    model({"a": np.zeros((5, 4), "float32"), "b": None})
    with pytest.raises(ValueError, match=r"Expected a model whose first call had all its inputs. .*'b': None"):
        export_saved_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("signature", [(4,), [], [tf.TensorSpec((None, 4))] * 2, tf.TensorSpec((None, 4)), ["float32"]])
def test_bad_input_signature(tmp_path, signature):
    with pytest.raises(ValueError, match=r"Expected `input_signature` as a list of the one argument"):
        export_saved_model(classifier(), tmp_path / "model", input_signature=signature)


@pytest.mark.parametrize("kind", ["TemperatureScaling", "VectorScaling", "IsotonicCalibration"])
@pytest.mark.parametrize("built", [False, True])
def test_an_unfitted_calibrator_is_refused(tmp_path, kind, built):
    calibrator = getattr(kls.calibrators, kind)()
    if built:
        calibrator.build((None, 3))
    with pytest.raises(
        ValueError, match=rf"Expected a fitted calibrator. Received: {kind} .*Fit it first, or leave it"
    ):
        export_saved_model(classifier(), tmp_path / "model", calibrator)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export_saved_model(classifier(), "~/models/mine") == tmp_path / "models" / "mine"
    assert tf.saved_model.contains_saved_model(str(tmp_path / "models" / "mine"))


class TwoArguments(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, left, right):
        return self.dense(left + right)


class Unfitted(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, inputs):
        return inputs * self.scale


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, {"a": keras.layers.Dense(3)(inputs), "b": keras.layers.Dense(3)(inputs)})


def integer_output():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.ops.argmax(inputs, axis=-1))


@pytest.mark.parametrize(
    ("make", "kwargs", "message"),
    [
        (lambda: "model.keras", {}, "Expected `model` to be a keras.Model. Received: 'model.keras'"),
        (Subclassed, {}, "Expected a built model. Received: Subclassed .*Call it once on a batch"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), {}, "Expected a built model. Received: Sequential"),
        (two_outputs, {}, r"one output: \[N, K\], \[N, 1\] or \[N\]. Received: 2 outputs \(a, b\). Export keras.Model"),
        (integer_output, {}, "Expected logits or probabilities, floats .*Received: int"),
        (classifier, {"calibrator": lambda z: z}, "Expected `calibrator` to be a keras.layers.Layer"),
        (classifier, {"calibrator": Unfitted()}, "Expected a fitted calibrator. Received: Unfitted"),
        (
            classifier,
            {"calibrator": keras.layers.Reshape((3, 1))},
            r"from logits to logits, of shape \(None, 3\). Received: \(None, 3, 1\)",
        ),
    ],
)
def test_invalid_arguments(tmp_path, make, kwargs, message):
    with pytest.raises(ValueError, match=message):
        export_saved_model(make(), tmp_path / "model", **kwargs)
    leave_only(tmp_path)


def test_several_arguments(tmp_path):
    model = TwoArguments()
    model(X, Y)
    with pytest.raises(ValueError, match=r"Received: TwoArguments.call\(left, right\). Put its inputs into one dict"):
        export_saved_model(model, tmp_path / "model")


def test_other_backend(tmp_path, monkeypatch):
    model = classifier()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"Expected the TensorFlow backend.*Received: 'jax'"):
        export_saved_model(model, tmp_path / "model")
