"""`DirichletCalibration`: beta calibration, SciPy on the penalised objective, and a map that is found again."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from keras_ls.calibrators import DirichletCalibration
from tests.calibrators.plain_forms import least, nll, odir, warped_problem


@pytest.mark.parametrize("off_diagonal, intercept", [(1.0, 1.0), (0.01, 0.1)])
def test_scipy_on_the_penalised_objective(off_diagonal, intercept):
    logits, labels = warped_problem(examples=150, classes=3)

    def objective(theta):
        kernel, bias = theta[:9].reshape(3, 3), theta[9:]
        outputs = log_softmax(logits, axis=1) @ kernel + bias
        return nll(outputs, labels) + odir(kernel, bias, off_diagonal, intercept)

    dirichlet = DirichletCalibration(off_diagonal, intercept).fit(logits, labels)
    kernel, bias = (keras.ops.convert_to_numpy(v).astype("float64") for v in (dirichlet.kernel, dirichlet.bias))
    found = objective(np.append(kernel, bias))  # they are float32, which does not move a minimum
    assert found == pytest.approx(least(objective, np.eye(4, 3).ravel()), abs=1e-9)
    # the layer computes what was fitted
    assert nll(dirichlet(logits), labels) == pytest.approx(dirichlet.fit_report.nll_after, abs=1e-6)


def test_the_map_that_made_the_targets_is_found_again():
    rng = np.random.default_rng(1)
    logits, kernel, bias = 2 * rng.normal(size=(300, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)
    targets = softmax(log_softmax(logits, axis=1) @ kernel + bias, axis=1)
    dirichlet = DirichletCalibration(0.0, 0.0).fit(logits, targets)
    np.testing.assert_allclose(softmax(keras.ops.convert_to_numpy(dirichlet(logits)), axis=1), targets, atol=1e-5)


def test_only_probabilities_count():
    # one number more for all logits of an example changes nothing
    logits, labels = warped_problem(2)
    shift = np.random.default_rng(2).normal(0, 100, (len(labels), 1))
    plain, moved = (DirichletCalibration().fit(z, labels) for z in (logits, logits + shift))
    assert moved.fit_report.nll_after == pytest.approx(plain.fit_report.nll_after, abs=1e-10)
    np.testing.assert_allclose(moved(logits + shift), plain(logits), atol=1e-3)  # of float32 logits of some hundred


@pytest.mark.parametrize("shape", [(600,), (600, 1)])
def test_binary_is_beta_calibration(shape):
    # logistic regression on log p and log(1 - p): Kull, Silva Filho and Flach, 2017, equation 3
    sklearn = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    logits = 3 * rng.normal(size=600)
    labels = (rng.uniform(size=600) < 1 / (1 + np.exp(-np.where(logits > 0, 0.2, 1.0) * logits))).astype(int)
    features = np.stack([-np.logaddexp(0, -logits), np.logaddexp(0, logits)], axis=1)
    peer = sklearn.LogisticRegression(C=np.inf, tol=1e-12, max_iter=5000).fit(features, labels)
    dirichlet = DirichletCalibration(0.0, 0.0).fit(logits.reshape(shape), labels.reshape(shape))
    assert dirichlet.fit_report.nll_after == pytest.approx(nll(peer.decision_function(features), labels), abs=1e-9)
    outputs = keras.ops.convert_to_numpy(dirichlet(logits.reshape(shape)))
    assert outputs.shape == shape
    np.testing.assert_allclose(outputs.reshape(-1), peer.decision_function(features), atol=1e-3)


def test_before_fit_the_probabilities_stay():
    logits = np.array([[2.0, -1.0, 0.5], [100.0, 0.0, -3.0]], "float32")
    np.testing.assert_allclose(DirichletCalibration()(logits), log_softmax(logits, axis=1), rtol=1e-6)
    np.testing.assert_allclose(DirichletCalibration()(logits[:, 0]), logits[:, 0], rtol=1e-6)


def test_binary_logits_that_saturate_stay_finite():
    # log p and log(1 - p) of ±200 in float32: softplus, not the log of a rounded 0
    np.testing.assert_allclose(DirichletCalibration()(np.array([200.0, -200.0], "float32")), [200, -200], rtol=1e-6)
