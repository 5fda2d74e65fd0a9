"""`fold_temperature`: the same outputs from a model without the scaling layer, or an error that says why not."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import keras_ls as kls
from keras_ls.calibrators import TemperatureScaling, fold_temperature

T = 2.5


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


def random_inputs(*shape):
    return np.random.default_rng(0).normal(size=(7, *shape)).astype("float32")


def outputs(model, *arguments):
    return keras.ops.convert_to_numpy(model(*arguments, training=False))


def names(model):
    """Classes of all layers, nested ones too."""
    found = []
    for layer in model.layers:
        found += names(layer) if isinstance(layer, keras.Model) else [type(layer).__name__]
    return found


def randomised(model):
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomised(layer)
        elif not isinstance(layer, TemperatureScaling):
            layer.set_weights([0.5 * np.abs(rng.normal(size=w.shape)) for w in layer.get_weights()])
    return model


def sequential():
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, "relu"), layers.Dense(3), TemperatureScaling(T)])


def functional():
    inputs = keras.Input((4,))
    x = layers.BatchNormalization()(layers.Dense(5, "relu")(inputs))
    x = layers.Add()([x, layers.Dropout(0.5)(x)])
    return keras.Model(inputs, TemperatureScaling(T)(layers.Dense(3)(x)), name="mine")


def around_a_model():
    # what the guide says: a calibrated model is a Sequential of the model and the layer
    return keras.Sequential([kls.models.mlp((4,), 3, widths=(5,)), TemperatureScaling(T)])


def within_a_model():
    inputs = keras.Input((4,))
    return keras.Model(inputs, functional()(layers.Dense(4)(inputs)))


def deep_in_models():
    inner = keras.Sequential([keras.Input((4,)), keras.Sequential([keras.Input((4,)), layers.Dense(3)])])
    inputs = keras.Input((4,))
    return keras.Sequential([keras.Input((4,)), keras.Model(inputs, TemperatureScaling(T)(inner(inputs)))])


def with_linear_activation():
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(3), layers.Activation("linear"), TemperatureScaling(T), layers.Identity()]
    )


def with_softmax():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), TemperatureScaling(T), layers.Softmax()])


def with_two_temperatures():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), TemperatureScaling(T), TemperatureScaling(0.5)])


def without_bias():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, use_bias=False), TemperatureScaling(T)])


def of_sequences():
    return keras.Sequential([keras.Input((6, 4)), layers.Dense(3), TemperatureScaling(T)])


def binary():
    return keras.Sequential([keras.Input((4,)), layers.Dense(1), TemperatureScaling(T), layers.Activation("sigmoid")])


MODELS = [
    *(sequential, functional, around_a_model, within_a_model, deep_in_models, with_linear_activation, with_softmax),
    *(with_two_temperatures, without_bias, of_sequences, binary),
]


@pytest.mark.parametrize("make", MODELS)
def test_equal_outputs_without_the_layer(make):
    model = randomised(make())
    before = [np.copy(w) for w in model.get_weights()]
    folded = fold_temperature(model)
    x = random_inputs(*model.input_shape[1:])
    np.testing.assert_allclose(outputs(folded, x), outputs(model, x), rtol=1e-6, atol=1e-6)
    assert type(folded) is type(model) and folded.name == model.name
    assert names(folded) == [name for name in names(model) if name != "TemperatureScaling"]
    # the given one stays, and shares nothing
    for now, then in zip(model.get_weights(), before):
        np.testing.assert_array_equal(now, then)
    assert not {id(v) for v in folded.variables} & {id(v) for v in model.variables}


@pytest.mark.parametrize("make", MODELS)
def test_saved_without_this_package(make, tmp_path):
    model = randomised(make())
    folded = fold_temperature(model)
    folded.save(tmp_path / "folded.keras")
    with zipfile.ZipFile(tmp_path / "folded.keras") as archive:
        assert "keras_ls" not in json.dumps(json.loads(archive.read("config.json")))
    x = random_inputs(*model.input_shape[1:])
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(outputs(loaded, x), outputs(folded, x))


def test_loaded_where_this_package_is_not_imported(tmp_path):
    model = randomised(around_a_model())
    model.compile("sgd", kls.losses.SmoothedCrossentropy(0.1))
    fold_temperature(model).save(tmp_path / "folded.keras")
    x = random_inputs(4)
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1]);"
        "assert 'keras_ls' not in sys.modules; np.save(sys.argv[3], m.predict(np.load(sys.argv[2]), verbose=0))"
    )
    paths = [str(tmp_path / name) for name in ("folded.keras", "x.npy", "y.npy")]
    run = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), outputs(model, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["linear", "softmax"])
def test_a_fitted_calibrator(activation):
    # labels drawn at three times the temperature
    inputs = keras.Input((4,))
    model = randomised(keras.Model(inputs, layers.Dense(3, activation)(layers.Dense(4, "tanh")(inputs))))
    x = np.random.default_rng(2).normal(size=(200, 4)).astype("float32")
    plain = outputs(model, x) if activation == "linear" else np.log(outputs(model, x))
    labels = (plain / 3 + np.random.default_rng(3).gumbel(size=plain.shape)).argmax(axis=1)
    scaling = TemperatureScaling().fit(plain, labels)
    folded = fold_temperature(model, scaling)
    expected = keras.ops.convert_to_numpy(scaling(plain))
    if activation == "softmax":
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(expected))
    np.testing.assert_allclose(outputs(folded, x), expected, rtol=1e-5, atol=1e-6)
    assert folded.layers[-1].activation.__name__ == activation
    assert scaling.temperature > 1.5


def test_sigmoid_as_the_activation():
    # z = 3 x, T = 2: sigmoid(1.5 x)
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "sigmoid")])
    model.set_weights([np.array([[3.0]]), np.array([0.0])])
    found = outputs(fold_temperature(model, TemperatureScaling(2.0)), np.array([[1.0], [-2.0]], "float32"))
    np.testing.assert_allclose(found[:, 0], [1 / (1 + np.exp(-1.5)), 1 / (1 + np.exp(3.0))], rtol=1e-6)


def test_a_calibrator_of_a_model_that_is_scaled_already():
    # 2.5 and 2 are 5
    model = randomised(sequential())
    folded = fold_temperature(model, TemperatureScaling(2.0))
    np.testing.assert_allclose(outputs(folded, random_inputs(4)), outputs(model, random_inputs(4)) / 2, atol=1e-6)


@pytest.mark.parametrize("policy, digit", [("mixed_float16", 2**-11), ("mixed_bfloat16", 2**-8), ("float16", 2**-11)])
def test_half_precision_becomes_float32(policy, digit):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=policy), TemperatureScaling(T)])
    randomised(model)
    folded = fold_temperature(model)
    x = random_inputs(4)
    found = outputs(folded, x)
    assert found.dtype == "float32" and folded.layers[0].compute_dtype == "float32"
    kernel, bias = (np.asarray(w, "float64") for w in model.get_weights()[:2])
    np.testing.assert_allclose(found, (x @ kernel + bias) / T, rtol=1e-5, atol=1e-6)
    # the given model rounds its inputs, kernel, products and sum, each of some units, to the digit
    np.testing.assert_allclose(found, outputs(model, x), atol=8 * digit * np.abs(x @ kernel).max())


def test_a_dense_layer_that_is_shared_within_the_model_is_refused():
    inputs = keras.Input((3,))
    tied = layers.Dense(3, name="tied")
    model = keras.Model(inputs, TemperatureScaling(T)(tied(keras.ops.tanh(tied(inputs)))))
    with pytest.raises(ValueError, match=r"to be used once. Received: 'tied', used 2 times"):
        fold_temperature(model)


def test_a_model_around_the_dense_layer_that_is_used_twice_is_refused():
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3)], name="inner")
    model = keras.Model(inputs, TemperatureScaling(T)(inner(inner(inputs))))
    with pytest.raises(ValueError, match=r"to be used once. Received: 'inner', used 2 times"):
        fold_temperature(model)


def test_a_temperature_that_is_used_twice_is_refused():
    inputs = keras.Input((3,))
    scaling = TemperatureScaling(T, name="scaling")
    model = keras.Model(inputs, scaling(layers.Dense(3)(scaling(inputs))))
    with pytest.raises(ValueError, match=r"to be used once. Received: 'scaling', used 2 times"):
        fold_temperature(model)


def test_layers_shared_with_another_model_are_no_matter():
    # the templates and features of a model share its layers; folding copies them
    model = randomised(kls.models.mlp((4,), 3, widths=(5,)))
    features = kls.models.penultimate(model)
    before = keras.ops.convert_to_numpy(features(random_inputs(4))[1])
    folded = fold_temperature(model, TemperatureScaling(T))
    np.testing.assert_allclose(outputs(folded, random_inputs(4)), before / T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(features(random_inputs(4))[1]), before)


def test_a_layer_used_twice_before_the_dense_one():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, "tanh")
    model = randomised(keras.Model(inputs, TemperatureScaling(T)(layers.Dense(3)(shared(shared(inputs))))))
    folded = fold_temperature(model)
    assert len(folded.weights) == 4
    np.testing.assert_allclose(outputs(folded, random_inputs(4)), outputs(model, random_inputs(4)), atol=1e-6)


def test_a_mask_and_a_pooled_sequence():
    model = keras.Sequential(
        [
            *(keras.Input((5,), dtype="int32"), layers.Embedding(9, 4, mask_zero=True)),
            *(layers.GlobalAveragePooling1D(), layers.Dense(3), TemperatureScaling(T)),
        ]
    )
    ids = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]])
    np.testing.assert_allclose(outputs(fold_temperature(model), ids), outputs(model, ids), atol=1e-6)


@pytest.mark.tensorflow
def test_the_folded_model_is_exported(tmp_path):
    import tensorflow as tf

    model = randomised(around_a_model())
    kls.export.export_saved_model(fold_temperature(model), tmp_path / "mine")
    served = tf.saved_model.load(str(tmp_path / "mine")).signatures["serving_default"]
    x = random_inputs(4)
    found = served(**{next(iter(served.structured_input_signature[1])): tf.constant(x)})
    np.testing.assert_allclose(found["logits"], outputs(model, x), rtol=1e-5, atol=1e-6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class Own(keras.Sequential):
    def call(self, x, training=None):
        return 2 * super().call(x)


def ends(*last):
    return keras.Sequential([keras.Input((4,)), *last])


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(2)(inputs)])


def summed():
    inputs = keras.Input((4,))
    return keras.Model(inputs, TemperatureScaling(T)(layers.Add()([layers.Dense(3)(inputs), layers.Dense(3)(inputs)])))


@pytest.mark.parametrize(
    "make, message",
    [
        (Subclassed, "Sequential or Functional.*Received: Subclassed. Divide"),
        (lambda: Own([keras.Input((4,)), layers.Dense(3)]), "Sequential or Functional.*Received: Own"),
        (lambda: ends(Subclassed(), TemperatureScaling(T)), "Received: Subclassed"),
        (lambda: layers.Dense(3), "Received: Dense"),
        (lambda: keras.Sequential([layers.Dense(3), TemperatureScaling(T)]), "built model.*Call it on a batch"),
        (two_outputs, "one output. Received: 2"),
        (lambda: ends(layers.Dense(3)), "TemperatureScaling layer after the last Dense. Received: none.*calibrator"),
        (lambda: ends(layers.Dense(3), layers.Softmax()), "Received: none after Dense"),
        (lambda: ends(layers.Dense(3, "softmax"), TemperatureScaling(T)), "Received: Dense.* with softmax"),
        (lambda: ends(layers.Dense(3, "relu"), TemperatureScaling(T)), "Received: Dense.* with relu"),
        (lambda: ends(layers.Dense(3), layers.ReLU(), TemperatureScaling(T)), "Received: ReLU.*before them"),
        (lambda: ends(layers.Dense(3), layers.Softmax(), TemperatureScaling(T)), "Received: Softmax.*before them"),
        (lambda: ends(layers.Dense(3), TemperatureScaling(T), layers.Dropout(0.1)), "Received: Dropout.*at its end"),
        (lambda: ends(layers.EinsumDense("ab,bc->ac", 3), TemperatureScaling(T)), "Received: EinsumDense"),
        (summed, "Received: Add"),
        (lambda: ends(TemperatureScaling(T)), "a Dense layer at its end. Received: none"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        fold_temperature(make())


def test_errors_with_a_calibrator():
    with pytest.raises(ValueError, match=r"fitted TemperatureScaling, or None. Received: <HistogramBinning"):
        fold_temperature(sequential(), kls.calibrators.HistogramBinning())
    with pytest.raises(ValueError, match=r"Received: Dense.* with relu"):
        fold_temperature(ends(layers.Dense(3, "relu")), TemperatureScaling(T))
    with pytest.raises(ValueError, match=r"Received: Dense.* with softmax"):
        fold_temperature(ends(layers.Dense(3, "softmax"), TemperatureScaling(T)), TemperatureScaling(T))


def test_lora_is_refused():
    model = sequential()
    model.layers[1].enable_lora(2)
    with pytest.raises(ValueError, match=r"plain kernel. Received: .*quantized or with LoRA"):
        fold_temperature(model)
