import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

import keras_ls as kls
from tests.metrics.streams import streamed
from tests.ops.test_calibration import predictions
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx
NLL = kls.metrics.NegativeLogLikelihood
P = [[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]]


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_published_value(batch):
    assert streamed(NLL(from_logits=False), [1, 0, 2], P, batch=batch) == approx(0.6904911, abs=1e-6)
    assert streamed(NLL(), [1, 0, 2], np.log(P), batch=batch) == approx(0.6904911, abs=1e-6)
    weighted = streamed(NLL(), [1, 0, 2], np.log(P), [1, 2, 3], batch)
    assert weighted == approx(-(math.log(0.7) + 2 * math.log(0.6) + 3 * math.log(0.3)) / 6, rel=1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("batch", [None, 97])
def test_lenet_on_cifar10(batch):
    labels, p = lenet_cifar10()
    assert streamed(NLL(from_logits=False), labels, p, batch=batch) == approx(1.369868, abs=1e-6)
    logits = np.log(p)
    assert streamed(NLL(), labels, logits, batch=batch) == approx(1.369868, abs=1e-6)
    assert streamed(NLL(), labels, logits / 1.396779, batch=batch) == approx(1.311497, abs=1e-6)


def test_equals_scikit_learn():
    labels, logits, p = predictions()
    p = p.astype("float64")
    p /= p.sum(-1, keepdims=True)
    weight = np.random.default_rng(1).random(400).astype("float32")
    peer = log_loss(labels, p, sample_weight=weight, labels=range(5))
    assert streamed(NLL(), labels, logits, weight, 64) == approx(peer, rel=1e-6)
    y, z = (labels > 2).astype(int), logits[:, 0]
    sigmoid = 1 / (1 + np.exp(-z.astype("float64")))
    peer = log_loss(y, sigmoid, sample_weight=weight)
    for column in (z, z[:, None]):
        assert streamed(NLL(), y, column, weight, 64) == approx(peer, rel=1e-6)
        probabilities = 1 / (1 + np.exp(-column.astype("float64")))
        assert streamed(NLL(from_logits=False), y, probabilities, weight, 64) == approx(peer, rel=1e-6)


def test_soft_targets_by_hand():
    # against (¼, ¾): ½ log 4 + ½ log 4/3, for two columns and for one
    expected = 0.5 * math.log(4) + 0.5 * math.log(4 / 3)
    assert streamed(NLL(), [[0.5, 0.5]], [[0.0, math.log(3)]]) == approx(expected, rel=1e-6)
    assert streamed(NLL(), [0.5], [math.log(3)]) == approx(expected, rel=1e-6)
    assert streamed(NLL(from_logits=False), [0.5], [0.75]) == approx(expected, rel=1e-6)


def test_switched_off_classes():
    logits = [[0.0, math.log(3), -np.inf]]
    assert streamed(NLL(), [0], logits) == approx(math.log(4), rel=1e-6)
    # the label was impossible, and no later batch makes up for it
    assert streamed(NLL(), [2], logits) == math.inf
    assert streamed(NLL(), [0, 2, 0, 1], logits * 4, batch=1) == math.inf


def test_far_logits_are_not_clipped_and_probabilities_are():
    assert streamed(NLL(), [1], [[500.0, 0.0]]) == approx(500, rel=1e-6)
    assert streamed(NLL(), [0], [500.0]) == approx(500, rel=1e-6)
    # Keras's ε: log((1 + 1e-7) / 1e-7)
    assert streamed(NLL(from_logits=False), [1], [[1.0, 0.0]]) == approx(math.log(1e7 + 1), rel=1e-6)
    assert streamed(NLL(from_logits=False), [1], [0.0]) == approx(math.log(1e7 + 1), rel=1e-6)


def test_constant_base_rate_has_the_entropy_of_the_labels():
    expected = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    assert streamed(NLL(from_logits=False), [1] * 3 + [0] * 7, [0.3] * 10, batch=3) == approx(expected, rel=1e-6)


def test_is_free_of_smoothing():
    # at the smoothed optimum for K=10, α=.1 the truth has probability .91, whatever the loss in the logs says
    logits = [[math.log(91)] + [0.0] * 9]
    assert streamed(NLL(), [0], logits) == approx(-math.log(0.91), rel=digits(1e-6, 1e-5))
