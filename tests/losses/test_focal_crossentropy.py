import math

import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.losses import ways
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.FocalCrossentropy


@ways.each_way
@pytest.mark.parametrize("gamma", [0, 2.0, "flsd-53"])
def test_equals_the_plain_form(gamma, way):
    way(lambda **options: Loss(gamma, **options), lambda y, z: plain_forms.focal_crossentropy(y, z, gamma))


def test_by_hand():
    # p = (¼, ¾), γ = 2: (¾)² log 4 and (¼)² log 4/3, half of each
    logits = [[0.0, math.log(3)]] * 2
    expected = (9 / 16 * math.log(4) + math.log(4 / 3) / 16) / 2
    assert float(Loss(2)([0, 1], logits)) == approx(expected, rel=1e-6)
    assert Loss().gamma == 3.0


def test_gradient():
    labels, logits = ways.batch((6,))
    weight = np.arange(6, dtype="float32")
    gradient = value_and_gradient(lambda z: Loss("flsd-53", reduction="sum")(labels, z, weight), logits)[1]
    slopes = [w * plain_forms.focal_gradient(y, z, "flsd-53") for w, y, z in zip(weight, labels, logits)]
    np.testing.assert_allclose(gradient, slopes, atol=1e-5)


def test_class_weight_is_sample_weight():
    ways.assert_class_weight_is_sample_weight(lambda: Loss(1.0))


@pytest.mark.parametrize("given, kept", [(2, 2.0), ("flsd-53", "flsd-53"), ("FLSD-53", "flsd-53")])
def test_config(given, kept):
    ways.assert_config_round_trip(
        Loss(given, False, 3, 1, "sum", "mine", "float64"),
        gamma=kept,
        from_logits=False,
        ignore_class=3,
        axis=1,
        reduction="sum",
        name="mine",
        dtype="float64",
    )


def test_bad_gamma():
    with pytest.raises(ValueError, match=r"^Expected `gamma` >= 0\. Received: -2\.$"):
        Loss(-2)
    with pytest.raises(ValueError, match=r"^Expected `gamma` >= 0 or \"flsd-53\"\. Received: 'flsd53'\.$"):
        Loss("flsd53")


def test_bad_labels():
    with pytest.raises(ValueError, match=r"integer labels for the focal loss\. Received: dense.*\(1, 2\)\. Take their"):
        Loss()([[1.0, 0.0]], [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"integer labels in \[0, 2\).*Received: 2"):
        Loss()([2], [[0.0, 1.0]])
