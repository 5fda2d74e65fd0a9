import numpy as np
import pytest
from keras.ops import convert_to_numpy

from keras_ls import ops
from tests.ops import plain_forms
from tests.precision import digits

approx = pytest.approx


def collapse(*batch, **settings):
    found = ops.neural_collapse(*batch, **settings)
    return [float(convert_to_numpy(value)) for value in found]


def simplex(num_classes, width):
    """The columns of a simplex equiangular tight frame, turned into `width` dimensions: `[K, D]`."""
    frame = np.eye(num_classes) - 1 / num_classes
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(width, num_classes)))[0]
    return frame @ turn.T


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("num_classes, width", [(4, 9), (4, 4), (2, 3), (10, 10)])
def test_a_collapsed_network_has_zeros(num_classes, width):
    means = simplex(num_classes, width)
    labels = np.tile(np.arange(num_classes), 3)
    # a common shift of the features does not matter; the bias undoes it
    features = means[labels] * 5 + 2.0
    found = collapse(features, labels, 3 * means.T, -3 * means @ np.full(width, 2.0))
    np.testing.assert_allclose(found, np.zeros(7), atol=digits(1e-12, 2e-5))


def test_two_classes_by_hand():
    # class 0: (2, ±1), class 1: (-2, ±3). m = ±(2, 0): Σ_B = diag(4, 0), pseudo-inverse diag(¼, 0); Σ_W = diag(0, 5)
    features, labels = [[2.0, 1], [2, -1], [-2, 3], [-2, -3]], [0, 0, 1, 1]
    # rows (3, 4) and (0, 0.1) of lengths 5 and .1: std 2.45, mean 2.55; cosine .8 · …
    kernel = [[3.0, 0.0], [4.0, 0.1]]
    nc1, norm, norm_w, angle, angle_w, nc3, nc4 = collapse(features, labels, kernel, [0.0, 0.0])
    assert nc1 == approx(0, abs=digits(1e-12)) and norm == approx(0, abs=digits(1e-12))
    assert norm_w == approx(2.45 / 2.55, rel=1e-6)
    assert angle == approx(0, abs=digits(1e-12))
    assert angle_w == approx(0.8 + 1, rel=1e-6)
    # W/‖W‖ · M/‖M‖ = (3·2 + 0·(-2)) / (√25.01 √8): 2 - 2 of it
    assert nc3 == approx(2 - 12 / np.sqrt(25.01 * 8), rel=1e-6)
    # logits 3x + 4y and y/10: 10, 2, 6, -18 against .1, -.1, .3, -.3: classes 0, 0, 0, 1; nearest 0, 0, 1, 1
    assert nc4 == approx(0.25)
    # spread along the axis of the means: Σ_W = 1 there, a quarter of Σ_B, over two classes
    assert collapse([[3.0, 1], [1, -1], [-3, 3], [-1, -3]], labels, kernel)[0] == approx(1 / 8, rel=1e-6)


@pytest.mark.parametrize("width", [3, 6, 30])  # fewer dimensions than classes, more, and more than examples
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_plain_form(width, weighted):
    rng = np.random.default_rng(width)
    labels = np.array([0, 1, 2, 3, 4] * 4 + [0, 0, 3])
    features = rng.normal(size=(23, width)) + 2 * rng.normal(size=(5, width))[labels]
    kernel, bias = rng.normal(size=(width, 5)), rng.normal(size=5)
    weight = rng.uniform(0.5, 2, 23) if weighted else np.ones(23)
    found = collapse(features, labels, kernel, bias, sample_weight=weight if weighted else None)
    np.testing.assert_allclose(
        found, plain_forms.neural_collapse(features, labels, kernel, bias, weight), rtol=digits(1e-9, 2e-4)
    )
    assert collapse(features, labels, kernel.T, bias, sample_weight=weight) == approx(found, rel=1e-6)


def test_weights_repeat_and_drop():
    rng = np.random.default_rng(1)
    labels, features = np.array([0, 1, 2] * 5), rng.normal(size=(15, 4))
    kernel, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
    times = rng.integers(1, 4, 15)
    times[4] = 0
    spoilt = features.copy()
    spoilt[4] = np.nan
    repeated = collapse(np.repeat(features, times, 0), np.repeat(labels, times), kernel, bias)
    labels[4] = 99
    assert collapse(spoilt, labels, kernel, bias, sample_weight=times) == approx(repeated, rel=digits(1e-10, 1e-4))


@pytest.mark.parametrize(
    "features, labels, kernel, message",
    [
        (np.eye(3), [0, 1], np.ones((3, 2)), r"`labels` \[N\].*Received: \(3, 3\), \(2,\), \(3, 2\), \(2,\)"),
        (np.eye(3), [0, 1, 1], np.ones((4, 2)), r"Received: \(3, 3\), \(3,\), \(4, 2\)"),
        (np.eye(3), [0, 1, 1], np.ones((3, 4)), r"each of the 4 classes\. Received: none of class 2, 3"),
        (np.eye(3), [0, 1, 2], np.ones((3, 2)), r"integer labels in \[0, 2\)"),
        ([[np.nan, 0], [0, 1]], [0, 1], np.eye(2), "`features` to be finite.* Received: nan"),
        (np.eye(2), [0, 1], [[np.nan, 0], [0, 1]], "`weights` to be finite"),
        (np.ones((4, 3)), [0, 1, 0, 1], np.ones((3, 2)), "class means differ"),
    ],
)
def test_errors(features, labels, kernel, message):
    with pytest.raises(ValueError, match=message):
        ops.neural_collapse(features, labels, kernel)
