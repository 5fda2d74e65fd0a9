import functools

import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls import ops
from keras_ls.ops.binning import fine_cell_index
from tests.metrics.streams import each_way, streamed, traced
from tests.ops.test_calibration import predictions
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx
AURC = kls.metrics.RiskCoverageArea
of_probabilities = functools.partial(AURC, from_logits=False)


def stated_bound(p, labels):
    """1/n Σ_cells e (s - e)/s (1/(b+1) + ... + 1/(b+s)), cell by cell from the top."""
    cell = K.convert_to_numpy(fine_cell_index(p.max(axis=1)))
    wrong = p.argmax(axis=1) != labels
    total, before = 0.0, 0
    for c in sorted(set(cell), reverse=True):
        s, e = np.sum(cell == c), np.sum(wrong[cell == c])
        total += e * (s - e) / s * sum(1 / (before + j) for j in range(1, s + 1))
        before += s
    return total / len(labels)


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_by_hand(batch):
    # hit at .9, miss at .8, hit at .7, miss at .6: risks 0, 1/2, 1/3, 2/4
    expected = (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4
    p = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
    assert streamed(of_probabilities(), [0, 0, 1, 1], p, batch=batch) == approx(expected, rel=1e-6)
    assert streamed(AURC(), [0, 0, 1, 1], np.log(p), batch=batch) == approx(expected, rel=1e-6)
    # P(y=1): the same confidences
    for column in ([0.1, 0.8, 0.7, 0.4], [[0.1], [0.8], [0.7], [0.4]]):
        assert streamed(of_probabilities(), [0, 0, 1, 1], column, batch=batch) == approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch", [None, 2])
def test_ties_share_their_errors(batch):
    # exactly 1 (as float32 rounds them), one wrong of two; then a hit: (1/2 + 2 · 1/2 / 2 + 1/3) / 3
    logits = [[60.0, 0.0], [70.0, 0.0], [1.0, 0.0]]
    assert streamed(AURC(), [0, 1, 0], logits, batch=batch) == approx((1 / 2 + 1 / 2 + 1 / 3) / 3, rel=1e-6)
    # all alike: the error rate
    assert streamed(AURC(), [0, 1, 1, 0, 0], [[0.5, 0.0]] * 5, batch=batch) == approx(2 / 5, rel=1e-6)


def test_confidences_close_to_one_are_told_apart():
    # 1 - e⁻¹⁰ wrong, 1 - e⁻¹² right, where cells of equal width have both in their last: (0 + 1/2) / 2
    assert streamed(AURC(), [1, 0], [[10.0, 0.0], [12.0, 0.0]]) == approx(0.25, rel=1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("spread", ["one cell", "few cells", "random", "saturated"])
def test_within_the_stated_bound(spread):
    rng = np.random.default_rng(3)
    top = {
        "one cell": 0.7 + 1e-5 * rng.random(1000),
        "few cells": 0.7 + 0.01 * rng.random(1000),
        "random": 0.5 + 0.5 * rng.random(1000),
        "saturated": 1 / (1 + np.exp(-rng.normal(12, 3, 1000))),
    }[spread]
    p = np.stack([top, 1 - top], axis=1).astype("float32")
    # the wrong ones first, as far from evenly spread within their cells as they can be
    labels = np.zeros(1000, int)
    labels[np.argsort(p[:, 0])[800:]] = 1
    exact = float(ops.risk_coverage_area(labels, p))
    got = streamed(of_probabilities(), labels, p, batch=128)
    limit = stated_bound(p, labels)
    assert abs(got - exact) <= limit + 1e-5
    if spread == "one cell":
        assert got == approx(0.2, abs=1e-5) and exact > 0.4  # nothing of the order is left
    else:
        assert limit < 0.1


@pytest.mark.parametrize("batch", [None, 97])
def test_lenet_on_cifar10(batch):
    labels, p = lenet_cifar10()
    exact, limit = float(ops.risk_coverage_area(labels, p)), stated_bound(p, labels)
    got = streamed(AURC(), labels, np.log(p), batch=batch)
    assert abs(got - exact) <= limit and limit < 0.02
    assert got == approx(exact, abs=2e-4)


def test_weights_masks_and_ignored_classes():
    labels, logits, p = predictions(20)
    weight = np.random.default_rng(0).integers(0, 4, 20)
    labels[::7] = -1
    kept = labels >= 0
    # no two of these share a cell
    exact = float(ops.risk_coverage_area(labels[kept], p[kept], sample_weight=weight[kept]))
    cells = K.convert_to_numpy(fine_cell_index(p.max(axis=1)))
    assert len(set(cells)) == 20
    got = streamed(AURC(ignore_class=-1), labels, logits, weight, 11)
    assert got == approx(exact, rel=digits(1e-6, 1e-5))


@each_way
def test_cells_keep_counting_past_float32(jit_compile):
    # 2²⁴ right ones, then n wrong ones less confident: 1/N Σ_j j / (2²⁴ + j), N = 2²⁴ + n; a float32 cell of the right
    # ones would stay at 2²⁴ when, in turn, n right ones are added, and the wrong ones would weigh more
    n = 100
    metric = of_probabilities()
    metric.update_state([1.0], [0.9], [2.0**24])
    update = traced(metric.update_state, jit_compile)
    one = K.convert_to_tensor([1.0])
    for _ in range(n):
        update(one, K.convert_to_tensor([0.9]))
        update(one, K.convert_to_tensor([0.4]))
    high, low = K.convert_to_numpy(metric.variables[0]).astype("float64")
    assert sorted((high + low)[0])[-2:] == [n, 2**24 + n]
    right = 2**24 + n
    expected = sum(j / (right + j) for j in range(1, n + 1)) / (right + n)
    assert float(metric.result()) == approx(expected, rel=digits(1e-6, 1e-3))


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"use `from_logits=True`"):
        of_probabilities().update_state([0, 1], [[3.0, -2.0], [0.5, 4.0]])


def test_whole_numbers_are_probabilities_too():
    # right, right, wrong, all of confidence 1: the error rate
    assert float(ops.risk_coverage_area([1, 0, 1], [1, 0, 0])) == approx(1 / 3, rel=1e-6)
    assert streamed(of_probabilities(), [1, 0, 1], np.array([1, 0, 0])) == approx(1 / 3, rel=1e-6)
