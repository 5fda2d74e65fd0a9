import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

import keras_ls as kls
from tests.metrics.streams import streamed
from tests.ops.test_calibration import predictions
from tests.real_data import lenet_cifar10

approx = pytest.approx
Brier = kls.metrics.BrierScore
P = [[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]]


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_published_value(batch):
    # .04+.09+.01, .16+.04+.04, .36+.01+.49
    assert streamed(Brier(from_logits=False), [1, 0, 2], P, batch=batch) == approx(0.41333333, abs=1e-7)
    assert streamed(Brier(), [1, 0, 2], np.log(P), batch=batch) == approx(0.41333333, abs=1e-7)
    weighted = streamed(Brier(from_logits=False), [1, 0, 2], P, [1, 2, 3], batch)
    assert weighted == approx((0.14 + 2 * 0.24 + 3 * 0.86) / 6, rel=1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("batch", [None, 97])
def test_lenet_on_cifar10(batch):
    labels, p = lenet_cifar10()
    assert streamed(Brier(from_logits=False), labels, p, batch=batch) == approx(0.614152, abs=1e-6)
    assert streamed(Brier(), labels, np.log(p), batch=batch) == approx(0.614152, abs=1e-6)


def test_equals_scikit_learn():
    labels, logits, p = predictions()
    p = p.astype("float64")
    p /= p.sum(-1, keepdims=True)
    weight = np.random.default_rng(1).random(400).astype("float32")
    peer = brier_score_loss(labels, p, sample_weight=weight, labels=range(5), scale_by_half=False)
    assert streamed(Brier(), labels, logits, weight, 64) == approx(peer, rel=1e-6)
    y, z = (labels > 2).astype(int), logits[:, 0]
    peer = brier_score_loss(y, 1 / (1 + np.exp(-z.astype("float64"))), sample_weight=weight)
    for column in (z, z[:, None]):
        assert streamed(Brier(), y, column, weight, 64) == approx(peer, rel=1e-6)


def test_soft_targets_by_hand():
    # (.2² + .2²) twice; binary (.1² + .2²) / 2
    assert streamed(Brier(from_logits=False), [[0.5, 0.5], [0.2, 0.8]], [[0.7, 0.3], [0.4, 0.6]]) == approx(
        0.08, rel=1e-6
    )
    assert streamed(Brier(from_logits=False), [0.2, 0.9], [0.3, 0.7]) == approx(0.025, rel=1e-5)


def test_switched_off_classes():
    # (¼, ¾, 0) against class 0: 9/16 + 9/16
    assert streamed(Brier(), [0], [[0.0, np.log(3.0), -np.inf]]) == approx(1.125, rel=1e-6)


def test_sure_and_right_is_tiny_and_never_negative():
    # softmax(d, 0) with wrong mass w = 1/(1 + e^d): 2 w²
    for d in (8.0, 10.0):
        w = 1 / (1 + np.exp(d))
        assert streamed(Brier(), [0], [[d, 0.0]]) == approx(2 * w * w, rel=2e-3)  # 1 - w has 24 bits


def test_segmentation_with_ignored_pixels():
    labels, _, p = predictions(24)
    labels, p = labels.reshape(2, 3, 4), p.reshape(2, 3, 4, 5)
    labels[:, :, 0] = 255
    kept = labels != 255
    expected = np.mean([((row - np.eye(5)[y]) ** 2).sum() for row, y in zip(p[kept], labels[kept])])
    for y in (labels, labels[..., None], labels.astype("uint8")):
        assert streamed(Brier(from_logits=False, ignore_class=255), y, p, batch=1) == approx(expected, rel=1e-6)
