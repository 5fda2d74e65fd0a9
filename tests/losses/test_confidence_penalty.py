import math

import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.losses import ways
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.ConfidencePenalty


def plain(label, logits, weight=0.3):
    return plain_forms.crossentropy(label, logits) - weight * plain_forms.entropy(logits)


@ways.each_way
def test_equals_the_plain_form(way):
    way(lambda **options: Loss(0.3, **options), plain)


def test_by_hand():
    # p = (¼, ¾): log 4 - .5 (¼ log 4 + ¾ log 4/3); equal logits cost (1 - β) log K, which β = 2 makes negative
    entropy = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    assert float(Loss(0.5)([0], [[0.0, math.log(3)]])) == approx(math.log(4) - 0.5 * entropy, rel=1e-6)
    assert float(Loss(2.0)([1], [[7.0] * 4])) == approx(-math.log(4), rel=1e-6)


def test_is_a_divergence_from_the_uniform_distribution():
    # -β H(p) = β KL(p ‖ u) - β log K
    labels, logits = ways.batch((20,))
    p = np.exp(logits.astype("float64"))
    p /= p.sum(-1, keepdims=True)
    divergence = (p * np.log(4 * p)).sum(-1)
    expected = [plain_forms.crossentropy(*a) + 0.3 * (d - math.log(4)) for *a, d in zip(labels, logits, divergence)]
    ways.assert_equal(Loss(0.3, reduction="none")(labels, logits), expected)


def test_gradient():
    # softmax - target - β dH/dz
    labels, logits = ways.batch((6,))
    gradient = value_and_gradient(lambda z: Loss(0.3, reduction="sum")(labels, z), logits)[1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    slopes = np.stack([plain_forms.entropy_gradient(z) for z in logits])
    np.testing.assert_allclose(gradient, p - np.eye(4)[labels] - 0.3 * slopes, atol=2e-6)


def test_dense_targets():
    targets = np.random.default_rng(1).dirichlet(np.ones(4), 5).astype("float32")
    logits = ways.batch((5,))[1]
    expected = [plain(*example) for example in zip(targets, logits)]
    ways.assert_equal(Loss(0.3, reduction="none")(targets, logits), expected)


def test_classes_switched_off():
    # 1 : 3 over two classes, the third at -inf
    entropy = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    value, gradient = value_and_gradient(
        lambda z: Loss(1.0)([0], z), np.array([[0.0, math.log(3), -np.inf]], "float32")
    )
    assert value == approx(math.log(4) - entropy, rel=1e-6)
    slope = [0.25 * (math.log(4) - entropy), 0.75 * (math.log(4 / 3) - entropy), 0]
    np.testing.assert_allclose(gradient[0], np.array([-0.75, 0.75, 0]) - slope, atol=1e-6)


def test_class_weight_is_sample_weight():
    ways.assert_class_weight_is_sample_weight(lambda: Loss(0.3))


def test_config():
    ways.assert_config_round_trip(
        Loss(0.7, False, 3, 1, "sum", "mine", "float64"),
        weight=0.7,
        from_logits=False,
        ignore_class=3,
        axis=1,
        reduction="sum",
        name="mine",
        dtype="float64",
    )


@pytest.mark.parametrize("weight", [-0.1, math.nan, "0.1", None])
def test_bad_weight(weight):
    with pytest.raises(ValueError) as error:
        Loss(weight)
    assert str(error.value) == f"Expected `weight` >= 0. Received: {weight!r}."


def test_bad_labels():
    with pytest.raises(
        ValueError, match=r"integer labels in \[0, 2\), as the predictions have 2 classes\. Received: 2"
    ):
        Loss()([2], [[0.0, 1.0]])
