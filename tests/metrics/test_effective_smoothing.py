import numpy as np
import pytest

import keras_ls as kls
from tests.metrics.streams import each_way, streamed, traced
from tests.ops.test_calibration import predictions

approx = pytest.approx
EffectiveSmoothing = kls.metrics.EffectiveSmoothing


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_by_hand(batch):
    # three classes, K/(K-1) = 1.5: wrong masses .3, .6 and .5
    p = [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.25, 0.25, 0.5]]
    assert streamed(EffectiveSmoothing(from_logits=False), [0, 1, 2], p, batch=batch) == approx(0.7, rel=1e-6)
    assert streamed(EffectiveSmoothing(), [0, 1, 2], np.log(p), batch=batch) == approx(0.7, rel=1e-6)
    weighted = streamed(EffectiveSmoothing(), [0, 1, 2], np.log(p), [1, 2, 3], batch)
    assert weighted == approx(1.5 * (0.3 + 2 * 0.6 + 3 * 0.5) / 6, rel=1e-6)
    # T = 2 takes the square roots: softmax(½ log (.64, .36)) = (4, 3) / 7, K/(K-1) = 2
    assert streamed(EffectiveSmoothing(2.0), [0], np.log([[0.64, 0.36]])) == approx(6 / 7, rel=1e-6)
    assert streamed(EffectiveSmoothing(2.0, from_logits=False), [0], [[0.64, 0.36]]) == approx(6 / 7, rel=1e-6)


@pytest.mark.parametrize("alpha", [1e-6, 0.1, 0.6])
def test_smoothed_targets_have_their_own_alpha(alpha):
    q = (1 - alpha) * np.eye(5) + alpha / 5
    assert streamed(EffectiveSmoothing(), np.arange(5), np.log(q)) == approx(alpha, rel=1e-5)


def test_soft_and_binary_labels_by_hand():
    # Σ_k (1 - y_k) p_k = .4 · .7 + .6 · .3, times 2
    assert streamed(EffectiveSmoothing(from_logits=False), [[0.6, 0.4]], [[0.7, 0.3]]) == approx(0.92, rel=1e-6)
    assert streamed(EffectiveSmoothing(from_logits=False), [0.4], [0.3]) == approx(0.92, rel=1e-6)
    # P(y=1) = .3 and .9 for y = 0 and 1: 2 · (.3 + .1) / 2
    z = np.log([3 / 7, 9.0])
    for column in (z, z[:, None]):
        assert streamed(EffectiveSmoothing(), [0, 1], column) == approx(0.4, rel=1e-6)


@each_way
def test_streams_what_the_function_gives(jit_compile):
    labels, logits, _ = predictions()
    metric = EffectiveSmoothing(3.0)
    update = traced(metric.update_state, jit_compile)
    for rows in np.array_split(np.arange(len(labels)), 5):
        update(labels[rows], logits[rows])
    p = np.exp(logits.astype("float64") / 3)
    wrong = 1 - p[np.arange(len(labels)), labels] / p.sum(axis=1)
    assert float(metric.result()) == approx(1.25 * wrong.mean(), rel=1e-5)
    assert float(kls.ops.effective_smoothing(logits, labels, 3.0)) == approx(1.25 * wrong.mean(), rel=1e-5)


def test_a_confident_teacher_keeps_its_digits():
    # e^-40 = 4.2e-18, far below the rounding of 1 - p
    assert streamed(EffectiveSmoothing(), [0], [[40.0, 0.0]]) == approx(2 * np.exp(-40.0), rel=1e-5)


def test_segmentation_with_ignored_pixels():
    labels, logits, p = predictions(24)
    labels, logits, p = labels.reshape(2, 3, 4), logits.reshape(2, 3, 4, 5), p.reshape(2, 3, 4, 5)
    labels[:, :, 0] = -1
    kept = labels != -1
    expected = 1.25 * np.mean([1 - row[y] for row, y in zip(p[kept], labels[kept])])
    assert streamed(EffectiveSmoothing(ignore_class=-1), labels, logits, batch=1) == approx(expected, rel=1e-5)


def test_bad_temperature():
    with pytest.raises(ValueError, match=r"Expected `temperature` > 0\. Received: -1\.0"):
        EffectiveSmoothing(-1.0)
