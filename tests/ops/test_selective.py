import keras
import numpy as np
import pytest
from scipy import special

from keras_ls import ops
from keras_ls.ops.selective import _harmonic_difference, risk_coverage_area_of_groups
from tests.ops import plain_forms
from tests.real_data import lenet_cifar10

approx = pytest.approx
TOLERANCE = 1e-5 if keras.backend.backend() == "jax" else 1e-9


def area(*args, **kwargs):
    return float(ops.risk_coverage_area(*args, **kwargs))


def draw(n, k=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, k, n), rng.dirichlet(np.ones(k), n).astype("float32")


def test_by_hand():
    # hit at .9, miss at .8, hit at .7, miss at .6: risks 0, 1/2, 1/3, 2/4
    p = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
    assert area([0, 0, 1, 1], p) == approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    # P(y=1): the same confidences
    assert area([0, 0, 1, 1], [0.1, 0.8, 0.7, 0.4]) == approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_bounds():
    # a perfect order of e errors in n: Σ_{j=1}^{e} j / (n - e + j), over n; the reverse order has them first
    p = np.stack([np.linspace(0.9, 0.6, 5), 1 - np.linspace(0.9, 0.6, 5)], axis=1)
    assert area([0, 0, 0, 1, 1], p) == approx((1 / 4 + 2 / 5) / 5)
    assert area([1, 1, 0, 0, 0], p) == approx((1 + 1 + 2 / 3 + 2 / 4 + 2 / 5) / 5)
    assert area([0] * 5, p) == 0.0
    assert area([1] * 5, p) == approx(1.0)


def test_equals_the_mean_risk_of_every_prefix():
    labels, p = draw(300)
    expected = plain_forms.risk_coverage_area(p.argmax(axis=1) != labels, p.max(axis=1), orders=1)
    assert area(labels, p) == approx(expected, rel=max(TOLERANCE, 1e-6))


def test_what_is_equally_confident_shares_its_errors():
    # all alike: every prefix is expected to hold the error rate
    assert area([0, 1, 1, 0, 0], [[0.7, 0.3]] * 5) == approx(2 / 5)
    labels, p = draw(12)
    p = np.stack([p[:, 0].round(1), 1 - p[:, 0].round(1)], axis=1)
    labels = labels % 2
    expected = plain_forms.risk_coverage_area(p.argmax(axis=1) != labels, p.max(axis=1), orders=4000)
    assert area(labels, p) == approx(expected, abs=0.004)  # 4000 orders: a standard error of about .001
    order = np.random.default_rng(1).permutation(12)
    assert area(labels[order], p[order]) == approx(area(labels, p), rel=1e-6)


def test_an_integer_weight_repeats_the_example_and_zero_drops_it():
    labels, p = draw(40)
    weight = np.random.default_rng(2).integers(0, 4, 40)
    assert area(labels, p, sample_weight=weight) == approx(area(labels.repeat(weight), p.repeat(weight, axis=0)), 1e-5)
    p[weight == 0] = np.nan
    assert area(labels, p, sample_weight=weight) == approx(
        area(labels.repeat(weight), p.repeat(weight, axis=0)), rel=1e-5
    )


def test_dense_targets_count_what_they_give_to_the_predicted_class():
    # targets (.7, .3) and (.2, .8), both predicted 0: risks .3, (.3 + .8) / 2
    assert area([[0.7, 0.3], [0.2, 0.8]], [[0.9, 0.1], [0.6, 0.4]]) == approx((0.3 + 0.55) / 2)


def test_groups_by_hand():
    # two wrong of two, nothing, then none wrong of two: (1/1 + 2/2 + 2/3 + 2/4) / 4
    groups = [[2.0, 0.0, 2.0], [2.0, 0.0, 0.0]]
    assert float(risk_coverage_area_of_groups(groups)) == approx((1 + 1 + 2 / 3 + 2 / 4) / 4)
    assert float(risk_coverage_area_of_groups([[0.0, 0.0], [0.0, 0.0]])) == 0


@pytest.mark.parametrize(("start", "size"), [(0, 1), (0, 7), (3, 4), (1000, 1), (17, 900), (100_000, 3)])
def test_harmonic_difference(start, size):
    dtype = "float32" if keras.backend.backend() == "jax" else "float64"
    a, n = (keras.ops.convert_to_tensor(x, dtype) for x in (start, size))
    expected = sum(1 / (start + j) for j in range(1, size + 1))
    assert float(_harmonic_difference(a, n)) == approx(expected, rel=max(1e-10, TOLERANCE / 10))


def test_of_real_predictions():
    # LeNet-5 on CIFAR-10, against a plain loop over the ranking
    labels, p = lenet_cifar10()
    expected = plain_forms.risk_coverage_area(p.argmax(axis=1) != labels, p.max(axis=1), orders=1)
    assert area(labels, p) == approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([0, 2], [[0.5, 0.5], [0.1, 0.9]], "labels in"),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.9]], "without NaN"),
        ([0, 1], [[2.0, -1.0], [0.1, 0.9]], "Pass logits through softmax first"),
        (np.zeros(0), np.zeros((0, 2)), "at least one example"),
    ],
)
def test_errors(labels, p, message):
    with pytest.raises(ValueError, match=message):
        area(labels, p)


def test_without_weight():
    with pytest.raises(ValueError, match="positive weight"):
        area([0, 1], [[0.5, 0.5], [0.1, 0.9]], sample_weight=[0, 0])


def test_weights_that_are_no_counts_have_no_scale():
    # three wrong before one right, of .1 each and of .25: (1 + 1 + 1 + 3/4) / 4
    labels, p = [1, 1, 1, 0], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]
    for weight in (0.1, 0.25, 1e-9):
        assert area(labels, p, sample_weight=[weight] * 4) == approx(3.75 / 4, rel=1e-6)
    # .5 right and 1.5 wrong of 2 examples: Σ_j j / (.5 + j) up to 1.5, which is 1.5 - .5 (ψ(3) - ψ(1.5)), over 2
    weight = np.array([0.5, 1.5])
    expected = area([0, 1], p[:2], sample_weight=weight)
    digamma = 1.5 - 0.5 * (special.digamma(3) - special.digamma(1.5))
    assert expected == approx(digamma / 2, rel=1e-5)
    assert area([0, 1], p[:2], sample_weight=0.01 * weight) == approx(expected, rel=1e-5)


def test_groups_of_a_scale_without_meaning():
    # very many examples: ∫ of the risk over coverage, 0 up to 1/4 and (c - 1/4) / c from there: 3/4 - log(4) / 4
    groups = np.array([[0.25, 0.75], [0.0, 0.75]])
    assert float(risk_coverage_area_of_groups(groups)) == approx(0.75 - np.log(4) / 4, rel=1e-5)
    # of four: right, then three wrong: (0 + 1/2 + 2/3 + 3/4) / 4
    assert float(risk_coverage_area_of_groups(groups, examples=4)) == approx((1 / 2 + 2 / 3 + 3 / 4) / 4, rel=1e-5)
