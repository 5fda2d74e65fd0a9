import keras
import pytest
from keras import layers

from keras_ls import models


def counted(shape, *steps):
    return models.flops(keras.Sequential([keras.Input(shape), *steps]))


@pytest.mark.parametrize(
    "shape, layer, multiply_adds",
    [
        ((5,), layers.Dense(3), 5 * 3),
        ((7, 5), layers.Dense(3), 7 * 5 * 3),  # of each of 7 places
        ((9, 8, 3), layers.Conv2D(4, (3, 2)), 7 * 7 * (3 * 2 * 3 * 4)),
        ((9, 8, 3), layers.Conv2D(4, 3, 2, padding="same"), 5 * 4 * (3 * 3 * 3 * 4)),
        ((9, 8, 4), layers.Conv2D(6, 3, groups=2), 7 * 6 * (3 * 3 * 2 * 6)),  # a filter sees half of the channels
        ((10, 3), layers.Conv1D(2, 3, 3), 3 * (3 * 3 * 2)),
        ((3, 9, 8), layers.Conv2D(4, 1, data_format="channels_first"), 9 * 8 * (3 * 4)),
        ((9, 8, 3), layers.DepthwiseConv2D(3, depth_multiplier=2), 7 * 6 * (3 * 3 * 3 * 2)),
        ((9, 8, 3), layers.SeparableConv2D(5, 3), 7 * 6 * (3 * 3 * 3 + 3 * 5)),
        ((4, 4, 3), layers.Conv2DTranspose(2, 3, 2), 4 * 4 * (3 * 3 * 2 * 3)),  # each input place spreads a kernel
        ((5,), layers.BatchNormalization(), 0),
        ((4, 4, 3), layers.MaxPooling2D(), 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_layer_by_hand(shape, layer, multiply_adds):
    assert counted(shape, layer) == 2 * multiply_adds


def test_a_small_network_by_hand():
    # 6·6 places · 3·3·1·2, then 6·6·2 = 72 features to 10
    assert counted((8, 8, 1), layers.Conv2D(2, 3), layers.ReLU(), layers.Flatten(), layers.Dense(10)) == 2 * (648 + 720)


def test_what_is_called_twice_counts_twice_and_models_within_count():
    dense = layers.Dense(4)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x = keras.Input((4,))
    model = keras.Model(x, inner(dense(dense(x))))
    assert models.flops(model) == 2 * (2 * 16 + 12)
    # of a model that sees a part of another one, only that part
    assert models.flops(keras.Model(x, dense(x))) == 2 * 16


def test_published_counts():
    # He et al.: 0.125·10⁹ multiply-adds of ResNet-56 on 32×32. Exactly: 32²·27·16 in the stem; 18 convolutions of
    # 32²·9·16², 17 of 16²·9·32² and of 8²·9·64², which are all 2,359,296; one of 16²·9·16·32 and of 8²·9·32·64; 64·10
    count = models.flops(models.resnet((32, 32, 3), 10, 56))
    assert count == 2 * (1024 * 432 + 52 * 2_359_296 + 2 * 1_179_648 + 640)
    assert count / 2e9 == pytest.approx(0.125, abs=5e-4)


def test_layers_that_are_not_counted_are_named():
    x = keras.Input((6, 4))
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(5, name="memory")(x)))
    with pytest.warns(UserWarning, match=r"Received: 'memory' \(LSTM\), which count 0"):
        assert models.flops(model) == 2 * 10
    # looking up a row takes no multiplication
    tokens = keras.Input((6,), dtype="int32")
    assert models.flops(keras.Model(tokens, layers.Dense(3)(layers.Embedding(9, 4)(tokens)))) == 2 * 6 * 4 * 3


def test_models_whose_shapes_are_not_known():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(
        ValueError, match=r"functional or sequential model that is built. Received: 'mine', a Subclassed"
    ):
        models.flops(Subclassed(name="mine"))
    with pytest.raises(ValueError, match=r"functional or sequential model that is built. Received: .*Sequential"):
        models.flops(keras.Sequential([layers.Dense(3)]))
    x = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"known shape. Received: 'first' with \(None, None, None, 4\)"):
        models.flops(keras.Model(x, layers.Conv2D(4, 3, name="first")(x)))
