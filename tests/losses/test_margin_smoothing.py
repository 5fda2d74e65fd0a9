import math

import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.losses import ways
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.MarginSmoothing


def plain(label, logits, margin=2.0, weight=0.3):
    return plain_forms.crossentropy(label, logits) + weight * plain_forms.excess_margin(logits, margin)


@ways.each_way
def test_equals_the_plain_form(way):
    way(lambda **options: Loss(2.0, 0.3, **options), plain)


@pytest.mark.parametrize("margin, weight", [(0, 1.0), (0.5, 0.0), (2.5, 4.0), (100.0, 1.0)])
def test_margins_and_weights(margin, weight):
    labels, logits = ways.batch((20,))
    expected = [plain(*example, margin, weight) for example in zip(labels, logits)]
    ways.assert_equal(Loss(margin, weight, reduction="none")(labels, logits), expected)


def test_by_hand():
    # distances 0, 5, 12 with m = 4: (0 + 1 + 8) / 3, and the class mean, not the sum, of the paper's code
    logits = [[12.0, 7.0, 0.0]]
    log_p = -math.log(1 + math.exp(-5) + math.exp(-12))
    assert float(Loss(4.0, 0.5)([0], logits)) == approx(-log_p + 0.5 * 3, rel=1e-6)
    assert float(Loss(4.0, 0.5)([1], logits)) == approx(5 - log_p + 0.5 * 3, rel=1e-6)
    assert Loss().margin == 10 and float(Loss().weight) == approx(0.1)  # where the paper found them


def test_gradient_by_hand():
    # softmax - target, and λ/K for the largest and -λ/K for each of the two beyond the margin
    logits = np.array([[9.0, 6.0, 1.0, 0.0]], "float32")
    gradient = value_and_gradient(lambda z: Loss(4.0, 0.8)([1], z), logits)[1]
    p = np.exp(logits - 9) / np.exp(logits - 9).sum()
    np.testing.assert_allclose(gradient, p - [[0, 1, 0, 0]] + 0.2 * np.array([[2, 0, -1, -1]]), atol=1e-6)


def test_dense_targets():
    targets = np.random.default_rng(1).dirichlet(np.ones(4), 5).astype("float32")
    logits = ways.batch((5,))[1]
    expected = [plain(*example) for example in zip(targets, logits)]
    ways.assert_equal(Loss(2.0, 0.3, reduction="none")(targets, logits), expected)


def test_class_weight_is_sample_weight():
    ways.assert_class_weight_is_sample_weight(lambda: Loss(0.1, 0.3))


def test_config():
    ways.assert_config_round_trip(
        Loss(3, 0.2, False, -1, 1, "sum", "mine", "float64"),
        margin=3.0,
        weight=0.2,
        from_logits=False,
        ignore_class=-1,
        axis=1,
        reduction="sum",
        name="mine",
        dtype="float64",
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"margin": -1}, "Expected `margin` >= 0. Received: -1."),
        ({"margin": math.nan}, "Expected `margin` >= 0. Received: nan."),
        ({"weight": -0.1}, "Expected `weight` >= 0. Received: -0.1."),
        ({"weight": "0.1"}, "Expected `weight` >= 0. Received: '0.1'."),
        ({"ignore_class": 0.5}, "Expected `ignore_class` to be an integer or None. Received: 0.5."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError) as error:
        Loss(**options)
    assert str(error.value) == message


def test_bad_labels():
    with pytest.raises(
        ValueError, match=r"integer labels in \[0, 2\), as the predictions have 2 classes\. Received: 2"
    ):
        Loss()([2], [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"labels of shape \(1, 3\), predictions of shape \(1, 2\)"):
        Loss()([[1, 0, 0]], [[0.0, 1.0]])
