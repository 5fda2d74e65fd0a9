import numpy as np
import pytest

from keras_ls import models


def test_logits_are_features_times_templates_plus_bias():
    model = models.mlp((6,), 3, widths=(5, 4))
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    h = np.maximum(x @ model.get_layer("hidden_1").kernel.numpy() + model.get_layer("hidden_1").bias.numpy(), 0)
    layer = model.get_layer("penultimate")
    expected = np.maximum(h @ layer.kernel.numpy() + layer.bias.numpy(), 0)
    features, logits = models.penultimate(model)(x)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    np.testing.assert_allclose(logits, expected @ models.templates(model).T, atol=1e-6)  # the bias starts at 0
    np.testing.assert_array_equal(model(x), logits)


def test_parameter_count():
    # 64·256 + 256 + 256·256 + 256 + 256·10 + 10
    assert models.mlp((64,), 10).count_params() == 85_002


def test_images_are_flattened_and_dropout_is_left_out_at_inference():
    model = models.mlp((8, 8), 10, widths=(16, 16), dropout=0.5)
    x = np.ones((2, 8, 8), "float32")
    np.testing.assert_array_equal(model(x, training=False), model(x, training=False))
    assert np.abs(model(x, training=True) - model(x, training=True)).max() > 0


@pytest.mark.parametrize("arguments", [{"num_classes": 1}, {"num_classes": 10, "widths": (0,)}])
def test_bad_sizes(arguments):
    with pytest.raises(ValueError, match="to be an integer of at least"):
        models.mlp((4,), **arguments)
