import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ls import models


def images(count=4, size=24, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, size, size, 3)).astype("float32")


def test_parameter_count():
    # 5·5·3·64 + 64, 5·5·64·64 + 64; two pools take 24 to 12 to 6: 6·6·64 = 2304 features;
    # 2304·384 + 384, 384·192 + 192, 192·10 + 10
    model = models.alexnet((24, 24, 3), 10)
    counts = [4_864, 102_464, 885_120, 73_920, 1_930]
    names = ["conv_1", "conv_2", "dense_1", "penultimate", "logits"]
    assert [model.get_layer(name).count_params() for name in names] == counts
    assert model.count_params() == sum(counts) == 1_068_298


def test_outputs_are_those_of_the_layers_in_the_papers_order():
    model = models.alexnet((8, 8, 3), 5)
    x = images(3, 8)
    weights = {layer.name: [w.numpy() for w in layer.weights] for layer in model.layers if layer.weights}
    h = tf.image.per_image_standardization(x)
    h = tf.nn.relu(tf.nn.conv2d(h, weights["conv_1"][0], 1, "SAME") + weights["conv_1"][1])
    h = tf.nn.local_response_normalization(tf.nn.max_pool2d(h, 3, 2, "SAME"), 4, 1.0, 0.001 / 9, 0.75)
    h = tf.nn.relu(tf.nn.conv2d(h, weights["conv_2"][0], 1, "SAME") + weights["conv_2"][1])
    h = tf.nn.max_pool2d(tf.nn.local_response_normalization(h, 4, 1.0, 0.001 / 9, 0.75), 3, 2, "SAME")
    h = tf.reshape(h, (3, -1))
    for name in ("dense_1", "penultimate"):
        h = tf.nn.relu(h @ weights[name][0] + weights[name][1])
    features, logits = models.penultimate(model)(x)
    np.testing.assert_allclose(features, h, atol=1e-5)
    np.testing.assert_allclose(logits, h @ models.templates(model).T, atol=1e-5)  # the bias starts at 0
    np.testing.assert_array_equal(model(x), logits)


def plain_lrn(x, radius, bias, alpha, beta):
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        window = x[..., max(0, c - radius) : c + radius + 1]
        y[..., c] = x[..., c] / (bias + alpha * (window**2).sum(axis=-1)) ** beta
    return y


@pytest.mark.parametrize(
    "settings", [(4, 1.0, 0.001 / 9, 0.75), (1, 2.0, 0.5, 0.5), (0, 1.0, 1.0, 1.0), (20, 1, 0.1, 2)]
)
def test_lrn_is_the_plain_formula(settings):
    x = np.random.default_rng(1).normal(0, 3, (2, 3, 3, 12))
    layer = models.LocalResponseNormalization(*settings, dtype="float64")
    np.testing.assert_allclose(layer(x), plain_lrn(x, *settings), rtol=1e-12)


def test_lrn_and_its_gradient_are_tensorflows():
    x = tf.constant(np.random.default_rng(2).normal(0, 20, (2, 4, 4, 64)), "float32")
    w = tf.constant(np.random.default_rng(3).normal(size=x.shape), "float32")

    def value_and_gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x, w)

    ours = value_and_gradient(models.LocalResponseNormalization())
    theirs = value_and_gradient(lambda x: tf.nn.local_response_normalization(x, 4, 1.0, 0.001 / 9, 0.75))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


def test_lrn_widens_half_precision():
    # 9 squares of 100 sum to 90,000, beyond float16: 1 + 90,000·.001/9 = 11, and 11^-.75 = .16556
    y = models.LocalResponseNormalization(dtype="float16")(np.full((1, 9), 100.0, "float16"))
    assert y.dtype == tf.float16
    assert float(y[0, 4]) == pytest.approx(16.556, rel=1e-3)


def test_standardisation_by_hand():
    # 0, 0, 1, 3 has mean 1 and variance (1 + 1 + 0 + 4) / 4 = 1.5; an image of one colour becomes 0
    x = np.array([[0, 0, 1, 3], [0.5, 0.5, 0.5, 0.5]], "float32").reshape(2, 2, 2, 1)
    y = models.ImageStandardization()(x)
    expected = np.array([[-1, -1, 0, 2], [0, 0, 0, 0]]) / np.sqrt(1.5)
    np.testing.assert_allclose(np.reshape(y, (2, 4)), expected, atol=1e-6)
    # a standard deviation of .1 is below the floor 1 / √4, so it is divided by 0.5
    y = models.ImageStandardization()(np.reshape([0.4, 0.6, 0.6, 0.4], (1, 2, 2, 1)))
    np.testing.assert_allclose(np.ravel(y), [-0.2, 0.2, 0.2, -0.2], atol=1e-6)


def test_brightness_and_contrast_do_not_matter():
    model = models.alexnet((24, 24, 3), 10)
    np.testing.assert_allclose(model(images()), model(0.5 * images() + 0.1), atol=1e-5)


def test_saved_and_loaded_it_gives_the_same_logits(tmp_path):
    model = models.alexnet((12, 12, 1), 3, name="small")
    x = images(5, 12)[..., :1]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert loaded.name == "small"


def test_layers_keep_their_settings():
    layer = models.LocalResponseNormalization(2, 3.0, 0.5, 0.25, name="lrn")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.depth_radius, again.bias, again.alpha, again.beta, again.name) == (2, 3.0, 0.5, 0.25, "lrn")


def test_every_weight_learns():
    model = models.alexnet((24, 24, 3), 10)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(np.arange(8) % 10, model(images(8), training=True))
        )
    for variable, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights.copy())):
        assert np.abs(gradient).max() > 0, variable.path


@pytest.mark.parametrize(
    "shape, classes, message",
    [
        ((24, 24), 10, r"`input_shape` as \(height, width, channels\). Received: \(24, 24\). Grey"),
        ((24, 0, 3), 10, "`input_shape` to be an integer of at least 1. Received: 0"),
        ((24, 24, 3), 1, "`num_classes` to be an integer of at least 2. Received: 1"),
    ],
)
def test_bad_sizes(shape, classes, message):
    with pytest.raises(ValueError, match=message):
        models.alexnet(shape, classes)


@pytest.mark.parametrize("settings", [{"depth_radius": -1}, {"bias": 0.0}, {"alpha": -1.0}, {"beta": "1"}])
def test_bad_lrn_settings(settings):
    with pytest.raises(ValueError, match=rf"Expected `{next(iter(settings))}`.*Received: "):
        models.LocalResponseNormalization(**settings)
