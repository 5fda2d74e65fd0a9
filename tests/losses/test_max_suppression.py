import math

import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.losses import ways
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.MaxSuppression


def plain(label, logits, weight=0.3):
    return plain_forms.crossentropy(label, logits) + weight * plain_forms.top_logit_excess(logits)


@ways.each_way
def test_equals_the_plain_form(way):
    way(lambda **options: Loss(0.3, **options), plain)


def test_is_label_smoothing_where_the_prediction_is_right():
    # smoothing adds α (z_y - mean z): for K = 4 and labels that have the largest logit the two are one
    logits = ways.batch((20,))[1]
    labels = logits.argmax(-1)
    smoothed = kls.losses.SmoothedCrossentropy(0.2, reduction="none")(labels, logits)
    ways.assert_equal(Loss(0.2, reduction="none")(labels, logits), [float(v) for v in smoothed], rtol=1e-5)


def test_gradient_by_hand():
    # softmax - target, and α ([k is the largest] - 1/4)
    logits = np.array([[9.0, 6.0, 1.0, 0.0]], "float32")
    gradient = value_and_gradient(lambda z: Loss(0.8)([1], z), logits)[1]
    p = np.exp(logits - 9) / np.exp(logits - 9).sum()
    np.testing.assert_allclose(gradient, p - [[0, 1, 0, 0]] + [[0.6, -0.2, -0.2, -0.2]], atol=1e-6)


def test_dense_targets():
    targets = np.random.default_rng(1).dirichlet(np.ones(4), 5).astype("float32")
    logits = ways.batch((5,))[1]
    expected = [plain(*example) for example in zip(targets, logits)]
    ways.assert_equal(Loss(0.3, reduction="none")(targets, logits), expected)


def test_class_weight_is_sample_weight():
    ways.assert_class_weight_is_sample_weight(lambda: Loss(0.3))


def test_config():
    ways.assert_config_round_trip(
        Loss(0.2, False, 3, -2, "none", "mine", "float64"),
        weight=0.2,
        from_logits=False,
        ignore_class=3,
        axis=-2,
        reduction="none",
        name="mine",
        dtype="float64",
    )


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, None, True, 1e300])
def test_bad_weight(weight):
    # 1e300 is infinite in float32
    with pytest.raises(ValueError, match=r"Expected `weight` >= 0\. Received: "):
        Loss(weight)


def test_bad_labels():
    with pytest.raises(
        ValueError, match=r"integer labels in \[0, 2\), as the predictions have 2 classes\. Received: -1"
    ):
        Loss()([-1], [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"labels of shape \(2,\), predictions of shape \(1, 2\)"):
        Loss()([0, 1], [[0.0, 1.0]])


@pytest.mark.parametrize(
    "loss",
    [Loss(0.0), kls.losses.MarginSmoothing(weight=0.0), kls.losses.OnlineLabelSmoothing(3, 0.0)],
    ids=lambda loss: loss.name,
)
def test_a_coefficient_of_0_takes_classes_that_are_switched_off(loss):
    # log(e + 1) - 1, the cross-entropy of two classes
    assert float(loss([0], np.array([[1.0, 0.0, -np.inf]], "float32"))) == pytest.approx(math.log(math.e + 1) - 1)
