import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ls import models


def trainable(model):
    return sum(math.prod(w.shape) for w in model.trainable_weights)


@pytest.fixture(scope="module")
def whole():
    return models.inception_v4()


@pytest.fixture(scope="module")
def small():
    """A sixteenth of the filters, with scales, shifts and statistics that are not 1 and 0."""
    model = models.inception_v4((80, 75, 3), 5, width=1 / 16)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for w in layer.weights:
                w.assign(rng.uniform(0.5, 1.5, w.shape))
    return model


def images(model, count=3):
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(-1, 1, size=shape).astype("float32")


def test_sizes_are_the_published_ones(whole):
    # weights of the kernels and channels of the convolutions, block by block, from the figures 3 to 9 of the paper
    kernels_and_channels = {
        "stem": (
            27 * 32
            + 288 * 32
            + 288 * 64
            + 576 * 96
            + 160 * 64
            + 576 * 96
            + (160 + 2 * 448) * 64
            + 576 * 96
            + 1728 * 192,
            32 + 32 + 64 + 96 + 64 + 96 + 3 * 64 + 96 + 192,
        ),
        "inception_a": (384 * (96 + 64 + 64 + 96) + 576 * 96 + 576 * 96 + 864 * 96, 96 + 160 + 256 + 96),
        "reduction_a": (3456 * 384 + 384 * 192 + 1728 * 224 + 2016 * 256, 384 + 192 + 224 + 256),
        "inception_b": (
            1024 * (384 + 192 + 192 + 128)
            + 7 * (192 * 224 + 224 * 256)
            + 7 * (192 * 192 + 192 * 224 + 224 * 224 + 224 * 256),
            384 + (192 + 224 + 256) + (192 + 192 + 224 + 224 + 256) + 128,
        ),
        "reduction_b": (
            1024 * 192 + 1728 * 192 + 1024 * 256 + 7 * (256 * 256 + 256 * 320) + 2880 * 320,
            192 + 192 + 256 + 256 + 320 + 320,
        ),
        "inception_c": (
            1536 * (256 + 384 + 384 + 256) + 3 * 2 * 384 * 256 + 3 * (384 * 448 + 448 * 512) + 3 * 2 * 512 * 256,
            256 + (384 + 512) + (384 + 448 + 512 + 512) + 256,
        ),
    }
    times = {"inception_a": 4, "inception_b": 7, "inception_c": 3}
    kernels, channels = np.sum([times.get(k, 1) * np.array(v) for k, v in kernels_and_channels.items()], axis=0)
    for block, (weights, _) in kernels_and_channels.items():
        convolutions = [
            layer for layer in whole.layers if layer.name.startswith(block) and isinstance(layer, keras.layers.Conv2D)
        ]
        assert sum(layer.count_params() for layer in convolutions) == times.get(block, 1) * weights
    # a scale and a shift a channel, and 1536·1000 + 1000 in the last layer; the published ports have 42,679,816
    assert trainable(whole) == kernels + 2 * channels + 1_537_000 == 42_679_816
    assert whole.count_params() - trainable(whole) == 2 * channels == 2 * 31_584  # a mean and a variance
    # without a scale, as in TF-slim: OpenVINO's model card has 42.648 million
    assert (trainable(whole) - channels) / 1e6 == pytest.approx(42.648, abs=5e-4)
    # timm's model card has 12.3·10⁹ multiply-adds, OpenVINO's 24.584·10⁹ operations
    assert models.flops(whole) / 2e9 == pytest.approx(12.3, abs=0.05)
    assert models.flops(whole) / 1e9 == pytest.approx(24.584, rel=0.005)


def test_shapes_and_settings_are_those_of_the_paper(whole):
    shapes = {
        **{"stem_1": (147, 147, 64), "stem_2": (73, 73, 160), "stem_3": (71, 71, 192), "stem_4": (35, 35, 384)},
        **{"inception_a_4": (35, 35, 384), "reduction_a": (17, 17, 1024), "inception_b_7": (17, 17, 1024)},
        **{"reduction_b": (8, 8, 1536), "inception_c_3": (8, 8, 1536), "penultimate": (1536,), "logits": (1000,)},
    }
    assert {name: whole.get_layer(name).output.shape[1:] for name in shapes} == shapes
    normalizations = [layer for layer in whole.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.momentum, layer.epsilon, layer.scale) for layer in normalizations} == {(0.9997, 1e-3, True)}
    assert len(normalizations) == 149 and whole.get_layer("dropout").rate == 0.2
    assert models.templates(whole).shape == (1000, 1536)


def plain_features(model, x):
    """The blocks written out with TensorFlow's convolution, from the weights by name."""
    weights = {layer.name: [w.numpy() for w in layer.weights] for layer in model.layers if layer.weights}

    def conv(h, name, padding="SAME", strides=1):
        gamma, beta, mean, variance = weights[f"{name}_norm"]
        h = tf.nn.conv2d(h, weights[f"{name}_conv"][0], strides, padding)
        return tf.nn.relu((h - mean) / np.sqrt(variance + 1e-3) * gamma + beta)

    def chain(h, name, count):
        for i in range(1, count + 1):
            h = conv(h, f"{name}_{i}")
        return h

    def pool(h):
        return tf.nn.max_pool2d(h, 3, 2, "VALID")

    def average(h):
        return tf.nn.avg_pool2d(h, 3, 1, "SAME")

    def join(*parts):
        return tf.concat(parts, -1)

    h = conv(x, "stem_1_branch_1_1", "VALID", 2)
    h = conv(conv(h, "stem_1_branch_1_2", "VALID"), "stem_1_branch_1_3")
    h = join(pool(h), conv(h, "stem_2_branch_2_1", "VALID", 2))
    h = join(
        conv(chain(h, "stem_3_branch_1", 1), "stem_3_branch_1_2", "VALID"),
        conv(chain(h, "stem_3_branch_2", 3), "stem_3_branch_2_4", "VALID"),
    )
    h = join(conv(h, "stem_4_branch_1_1", "VALID", 2), pool(h))
    for i in range(1, 5):
        b = f"inception_a_{i}_branch"
        h = join(*(chain(h, f"{b}_{j}", j) for j in (1, 2, 3)), conv(average(h), f"{b}_4_2"))
    b = "reduction_a_branch"
    h = join(conv(h, f"{b}_1_1", "VALID", 2), conv(chain(h, f"{b}_2", 2), f"{b}_2_3", "VALID", 2), pool(h))
    for i in range(1, 8):
        b = f"inception_b_{i}_branch"
        h = join(*(chain(h, f"{b}_{j}", n) for j, n in ((1, 1), (2, 3), (3, 5))), conv(average(h), f"{b}_4_2"))
    b = "reduction_b_branch"
    h = join(
        conv(chain(h, f"{b}_1", 1), f"{b}_1_2", "VALID", 2),
        conv(chain(h, f"{b}_2", 3), f"{b}_2_4", "VALID", 2),
        pool(h),
    )
    for i in range(1, 4):
        b = f"inception_c_{i}_branch"
        second, third = chain(h, f"{b}_2", 1), chain(h, f"{b}_3", 3)
        h = join(
            conv(h, f"{b}_1_1"),
            *(conv(second, f"{b}_2_2{fork}") for fork in "ab"),
            *(conv(third, f"{b}_3_4{fork}") for fork in "ab"),
            conv(average(h), f"{b}_4_2"),
        )
    return tf.reduce_mean(h, (1, 2))


def test_outputs_are_those_of_the_blocks_written_out(small):
    x = images(small)
    features, logits = models.penultimate(small)(x)
    np.testing.assert_allclose(features, plain_features(small, x), rtol=1e-3, atol=1e-4)
    assert features.shape == (3, 96) and np.std(features, axis=0).max() > 1e-3
    np.testing.assert_allclose(logits, features @ models.templates(small).T, rtol=1e-4, atol=1e-4)  # the bias is 0


def test_without_scale_each_channel_has_one_weight_less(small):
    # a sixteenth of the filters, each a multiple of 16
    assert trainable(small) - trainable(models.inception_v4((80, 75, 3), 5, scale=False, width=1 / 16)) == 31_584 / 16


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_shape": (75, 74, 3)}, r"`input_shape` of at least 75×75 pixels. Received: \(75, 74, 3\). Resize"),
        ({"input_shape": (299, 299)}, r"`input_shape` as \(height, width, channels\)"),
        ({"num_classes": 1}, "`num_classes` to be an integer of at least 2. Received: 1"),
        ({"dropout": 1.0}, r"`dropout` in \[0, 1\). Received: 1.0"),
        ({"scale": None}, "`scale` to be True or False. Received: None"),
        ({"width": 0}, "`width` > 0. Received: 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.inception_v4(**arguments)
