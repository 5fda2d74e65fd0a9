"""`VectorScaling`: hand derivations, Platt scaling, SciPy, and what it says of data that cannot tell it."""

import math
import warnings

import keras
import numpy as np
import pytest

from keras_ls.calibrators import TemperatureScaling, VectorScaling
from tests.calibrators.plain_forms import least, nll, warped_problem


def values(layer):
    return [keras.ops.convert_to_numpy(variable).astype("float64") for variable in (layer.scale, layer.bias)]


@pytest.mark.parametrize("shape", [(8,), (8, 1), (2, 4, 1)])
def test_platt_by_hand(shape):
    # at logit 2, 3 of 4 are positive; at -1, 1 of 4: 2a + b = log 3 and -a + b = -log 3
    logits = np.repeat([2.0, -1.0], 4).reshape(shape)
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0]).reshape(shape)
    scaling = VectorScaling().fit(logits, labels)
    a, b = values(scaling)
    assert a.item() == pytest.approx(2 * math.log(3) / 3, rel=1e-5)
    assert b.item() == pytest.approx(-math.log(3) / 3, rel=1e-5)
    # NLL there: the entropy of (3/4, 1/4)
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert scaling.fit_report.nll_after == pytest.approx(entropy, abs=1e-10)
    outputs = keras.ops.convert_to_numpy(scaling(logits))
    np.testing.assert_allclose(outputs, math.log(3) * np.sign(logits), rtol=1e-5)


def test_platt_is_logistic_regression():
    sklearn = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=500)
    labels = (rng.uniform(size=500) < 1 / (1 + np.exp(-0.4 * logits + 0.5))).astype(int)
    weight = rng.integers(0, 4, 500).astype(float)
    peer = sklearn.LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000)
    peer.fit(logits[:, None], labels, sample_weight=weight)
    scaling = VectorScaling().fit(logits, labels, weight)
    a, b = values(scaling)
    assert (a.item(), b.item()) == pytest.approx((peer.coef_.item(), peer.intercept_.item()), rel=1e-4)
    expected = nll(peer.decision_function(logits[:, None]), labels, weight)
    assert scaling.fit_report.nll_after == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["integer", "weighted", pytest.param("dense", marks=pytest.mark.float64)])
def test_scipy(kind, l2):
    logits, labels = warped_problem()
    weight = np.random.default_rng(1).exponential(size=len(labels)).astype("float32") if kind == "weighted" else None
    if kind == "dense":
        labels = 0.7 * np.eye(4)[labels] + 0.3 * np.random.default_rng(2).dirichlet(np.ones(4), len(labels))

    def objective(theta):
        a, b = np.split(theta, 2)
        return nll(logits * a + b, labels, weight) + l2 * (((a - 1) ** 2).sum() + (b**2).sum()) / 4

    scaling = VectorScaling(l2).fit(logits, labels, weight)
    a, b = values(scaling)
    report = scaling.fit_report
    assert report.converged and report.advice is None
    assert report.nll_before == pytest.approx(nll(logits, labels, weight), abs=1e-12)
    assert report.nll_after == pytest.approx(nll(logits * a + b, labels, weight), abs=1e-7)  # a and b are float32
    # which does not move a minimum
    found = objective(np.concatenate([a, b]))
    assert found == pytest.approx(least(objective, np.repeat([1.0, 0.0], 4)), abs=1e-9)


def test_weights_scale_and_repeats_do_not_matter():
    logits, labels = warped_problem(1)
    plain = values(VectorScaling(0.1).fit(logits, labels))
    scaled = values(VectorScaling(0.1).fit(logits, labels, np.full(len(labels), 7.0)))
    repeated = values(VectorScaling(0.1).fit(np.tile(logits, (3, 1)), np.tile(labels, 3)))
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)
    np.testing.assert_allclose(repeated, plain, rtol=1e-6)


def test_the_identity_before_fit_and_under_a_large_penalty():
    logits, labels = warped_problem(2)
    np.testing.assert_array_equal(VectorScaling()(logits.astype("float32")), logits.astype("float32"))
    a, b = values(VectorScaling(1e6).fit(logits, labels))
    np.testing.assert_allclose(a, 1, atol=1e-5)
    np.testing.assert_allclose(b, 0, atol=1e-5)


def test_separable_data():
    # the first class is told by its own logit: any factor of it may grow
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5], [0.0, 0.2, 0.1], [0.0, 0.1, 2.0]])
    with pytest.warns(UserWarning, match="classified right after calibration.*held-out data"):
        scaling = VectorScaling().fit(logits, [0, 1, 1, 2])
    assert not scaling.fit_report.converged
    assert all(np.isfinite(part).all() for part in values(scaling))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert VectorScaling(l2=0.1).fit(logits, [0, 1, 1, 2]).fit_report.converged


def test_a_class_without_examples():
    logits, labels = warped_problem(3)
    some = labels != 2
    with pytest.warns(UserWarning, match="No example has the label 2"):
        scaling = VectorScaling().fit(logits[some], labels[some])
    # as good as without that class
    rest = [0, 1, 3]
    without = VectorScaling().fit(logits[some][:, rest], np.searchsorted(rest, labels[some]))
    assert scaling.fit_report.nll_after == pytest.approx(without.fit_report.nll_after, abs=1e-6)


def test_no_example_counts_twice_or_is_hidden_by_the_blocks():
    # 40,000 × 4 logits are read in two blocks: 100 copies of a problem have its fit
    logits, labels = warped_problem(4)
    once = VectorScaling().fit(logits, labels).fit_report
    often = VectorScaling().fit(np.tile(logits, (100, 1)), np.tile(labels, 100)).fit_report
    assert often.nll_after == pytest.approx(once.nll_after, abs=1e-9)
    assert often.weight == 100 * once.weight


def test_errors():
    logits, labels = warped_problem(5)
    with pytest.raises(ValueError, match=r"`l2` >= 0. Received: -1"):
        VectorScaling(-1)
    ruled_out = logits.copy()
    ruled_out[0, (labels[0] + 1) % 4] = -np.inf
    with pytest.raises(ValueError, match=r"finite logits. Received: -inf.*TemperatureScaling"):
        VectorScaling().fit(ruled_out, labels)
    scaling = VectorScaling().fit(logits, labels)
    with pytest.raises(ValueError, match=r"shape \[..., 4\].*Received: \(400, 3\).*new VectorScaling"):
        scaling.fit(logits[:, :3], np.minimum(labels, 2))
    with pytest.raises(ValueError, match=r"shape \[..., 4\].*Received: \(400,\)"):
        scaling(logits[:, 0])
    before = values(scaling)
    with pytest.raises(ValueError, match="Received: 9"):
        scaling.fit(logits, np.full(400, 9))
    np.testing.assert_array_equal(values(scaling), before)


def test_starts_from_the_temperature():
    logits, labels = warped_problem(6)
    temperature = TemperatureScaling().fit(logits, labels).fit_report
    scaling = VectorScaling().fit(logits, labels).fit_report
    assert scaling.nll_before == pytest.approx(temperature.nll_before, abs=1e-12)
    assert scaling.nll_after < temperature.nll_after - 0.01
