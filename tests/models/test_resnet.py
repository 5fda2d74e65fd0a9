import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ls import models

FORMS = [
    {},
    {"projection": True},
    {"final_activation": False},
    {"preactivation": True},
    {"preactivation": True, "projection": True, "final_activation": False},
]


def images(count=3, size=8, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, size, size, 3)).astype("float32")


def with_other_weights(model, seed=1):
    """Scales, shifts and statistics that are not 1 and 0, so that leaving one out shows."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for w in layer.weights:
                w.assign(rng.uniform(0.5, 1.5, w.shape))
    return model


def trainable(model):
    return sum(math.prod(w.shape) for w in model.trainable_weights)


@pytest.mark.parametrize(
    "depth, convolutions, normalised, published",
    [
        # kernels 27·16 + 9·(2n·16² + 16·32 + (2n - 1)·32² + 32·64 + (2n - 1)·64²), a scale and a shift for each of
        # (2n + 1)·16 + 2n·32 + 2n·64 channels, and 64·10 + 10 in the last layer; the published numbers are millions
        (20, 432 + 9 * (6 * 256 + 512 + 5 * 1024 + 2048 + 5 * 4096), 7 * 16 + 6 * 32 + 6 * 64, 0.27),
        (32, 432 + 9 * (10 * 256 + 512 + 9 * 1024 + 2048 + 9 * 4096), 11 * 16 + 10 * 32 + 10 * 64, 0.46),
        (44, 432 + 9 * (14 * 256 + 512 + 13 * 1024 + 2048 + 13 * 4096), 15 * 16 + 14 * 32 + 14 * 64, 0.66),
        (56, 432 + 9 * (18 * 256 + 512 + 17 * 1024 + 2048 + 17 * 4096), 19 * 16 + 18 * 32 + 18 * 64, 0.85),
        (110, 432 + 9 * (36 * 256 + 512 + 35 * 1024 + 2048 + 35 * 4096), 37 * 16 + 36 * 32 + 36 * 64, 1.7),
    ],
)
def test_parameter_counts_are_those_of_he_et_al(depth, convolutions, normalised, published):
    model = models.resnet((32, 32, 3), 10, depth)
    assert trainable(model) == convolutions + 2 * normalised + 650
    assert model.count_params() - trainable(model) == 2 * normalised  # a mean and a variance
    assert trainable(model) / 1e6 == pytest.approx(published, abs=0.05 if published > 1 else 0.005)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    assert len(layers) == depth


def test_a_projection_has_a_kernel_and_a_normalisation():
    # 16·32 + 32·64 more in the kernels, scale and shift of 32 + 64 channels
    more = 16 * 32 + 32 * 64 + 2 * (32 + 64)
    assert trainable(models.resnet((32, 32, 3), 10, 20, projection=True)) == 269_722 + more


def test_preactivation_moves_weights_and_adds_none():
    # each stage has its 2n normalisations, the first with the channels of the stage before; the stem's is gone, and one
    # of 64 channels comes last
    model = models.resnet((32, 32, 3), 10, 20, preactivation=True)
    channels = 6 * 16 + (16 + 5 * 32) + (32 + 5 * 64) + 64
    assert trainable(model) == 267_696 + 2 * channels + 650
    without = models.resnet((32, 32, 3), 10, 20, preactivation=True, final_activation=False)
    assert trainable(model) - trainable(without) == 2 * 64


def test_blocks_of_zeros_pass_on_every_fourth_pixel_of_the_stem():
    # each block adds 0 to its input, which is not negative; two strides of 2 keep rows and columns 0 and 4 of 8, and
    # channels 16 to 63 are what the shortcuts append
    model = models.resnet((8, 8, 3), 5, 14)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.name != "stem_conv":
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    x = images()
    stem = keras.Model(model.inputs[0], model.get_layer("stem_relu").output)(x)
    features, _ = models.penultimate(model)(x)
    np.testing.assert_allclose(features[:, :16], np.mean(stem[:, ::4, ::4], axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(features[:, 16:], np.zeros((3, 48)))


def plain_outputs(model, x, n, projection=False, preactivation=False, final_activation=True):
    """Stages, pooled features and logits with TensorFlow's convolution, from the weights by name."""
    weights = {layer.name: [w.numpy() for w in layer.weights] for layer in model.layers if layer.weights}

    def conv(h, name, strides=1):
        return tf.nn.conv2d(h, weights[name][0], strides, "SAME")

    def norm(h, name):
        gamma, beta, mean, variance = weights[name]
        return (h - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def shortcut(h, name, strides, channels):
        if strides == 1:
            return h
        if projection:
            h = conv(h, f"{name}_shortcut_conv", strides)
            return h if preactivation else norm(h, f"{name}_shortcut_norm")
        return np.concatenate([h[:, ::2, ::2], np.zeros((*h[:, ::2, ::2].shape[:3], channels - h.shape[-1]))], -1)

    h, stages = conv(tf.image.per_image_standardization(x), "stem_conv"), []
    h = h if preactivation else tf.nn.relu(norm(h, "stem_norm"))
    for stage, channels in enumerate((16, 32, 64), start=1):
        for i in range(1, n + 1):
            name, strides = f"stage_{stage}_block_{i}", 2 if stage > 1 and i == 1 else 1
            if preactivation:
                a = tf.nn.relu(norm(h, f"{name}_norm_0"))
                residual = conv(a, f"{name}_conv_1", strides)
                residual = conv(tf.nn.relu(norm(residual, f"{name}_norm_1")), f"{name}_conv_2")
                h = residual + (shortcut(a, name, strides, channels) if i == 1 else h)
            else:
                residual = tf.nn.relu(norm(conv(h, f"{name}_conv_1", strides), f"{name}_norm_1"))
                h = shortcut(h, name, strides, channels) + norm(conv(residual, f"{name}_conv_2"), f"{name}_norm_2")
                if final_activation or (stage, i) != (3, n):
                    h = tf.nn.relu(h)
        stages.append(h)
    if preactivation and final_activation:
        h = tf.nn.relu(norm(h, "final_norm"))
    features = np.mean(h, axis=(1, 2))
    return [*stages, features, features @ weights["logits"][0] + weights["logits"][1]]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_outputs_are_those_of_the_formula(form):
    model = with_other_weights(models.resnet((8, 8, 3), 5, 14, **form))
    x = images()
    names = ["stage_1", "stage_2", "stage_3", "penultimate", "logits"]
    outputs = keras.Model(model.inputs[0], [model.get_layer(name).output for name in names])(x)
    for name, ours, plain in zip(names, outputs, plain_outputs(model, x, 2, **form)):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4, err_msg=name)
    features, logits = models.penultimate(model)(x)
    np.testing.assert_array_equal(features, outputs[3])
    np.testing.assert_allclose(logits, features @ models.templates(model).T, atol=1e-4)  # the bias starts at 0


def test_equal_widths_need_no_zeros_but_strides():
    model = models.resnet((8, 8, 1), 2, 8, widths=(4, 4, 4))
    # 9·(1 + 6·4)·4 in the kernels, 2·7·4 and 2·4 + 2
    assert trainable(model) == 900 + 56 + 10
    assert [model.get_layer(f"stage_{i}").output.shape[1:] for i in (1, 2, 3)] == [(8, 8, 4), (4, 4, 4), (2, 2, 4)]


def test_initial_kernels_have_he_variance():
    # 2 / (9 · 64) over 36,864 weights, so within 2 % at three standard errors (cut normals have lighter tails)
    keras.utils.set_random_seed(0)
    kernel = models.resnet((8, 8, 3), 2, 8).get_layer("stage_3_block_1_conv_2").kernel.numpy()
    assert kernel.var() == pytest.approx(2 / 576, rel=0.02)


def test_statistics_move_by_a_tenth():
    model = models.resnet((8, 8, 3), 2, 8)
    x = images()
    stem = keras.Model(model.inputs[0], model.get_layer("stem_conv").output)(x)
    model(x, training=True)
    mean = model.get_layer("stem_norm").moving_mean
    np.testing.assert_allclose(mean, 0.1 * np.mean(stem, axis=(0, 1, 2)), atol=1e-5)


def test_every_weight_learns():
    model = models.resnet((8, 8, 3), 10, 14, projection=True)
    with tf.GradientTape() as tape:
        logits = model(images(8), training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(np.arange(8) % 10, logits))
    for variable, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights.copy())):
        assert np.abs(gradient).max() > 0, variable.path


def test_saved_and_loaded_it_gives_the_same_logits(tmp_path):
    model = with_other_weights(models.resnet((8, 8, 3), 3, 8, name="small"))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert loaded.name == "small"


def test_a_padded_shortcut_keeps_odd_edges_and_the_dtype():
    # rows and columns 0 and 2 of 3: pixels 0, 2, 6, 8
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    y = models.PaddedShortcut(2, dtype="float16")(x)
    assert y.dtype == tf.float16
    np.testing.assert_array_equal(np.reshape(y, (4, 2)), [[0, 0], [2, 0], [6, 0], [8, 0]])
    with pytest.raises(ValueError, match=r"at most 2 channels. Received: shape \(1, 3, 3, 4\). A shortcut appends"):
        models.PaddedShortcut(2)(np.ones((1, 3, 3, 4)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 18}, "`depth` as 6n \\+ 2, such as 8, 20, .*Received: 18"),
        ({"depth": 2}, "`depth` to be an integer of at least 8. Received: 2"),
        ({"widths": (16, 32)}, "`widths` as three that do not fall.*Received: \\[16, 32\\]"),
        ({"widths": (32, 16, 64)}, "`widths` as three that do not fall"),
        ({"widths": (0, 16, 64)}, "`widths` to be an integer of at least 1. Received: 0"),
        ({"num_classes": 1}, "`num_classes` to be an integer of at least 2. Received: 1"),
        ({"input_shape": (32, 32)}, r"`input_shape` as \(height, width, channels\). Received: \(32, 32\)"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.resnet(**{"input_shape": (32, 32, 3), "num_classes": 10, **arguments})
