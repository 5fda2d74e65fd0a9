"""`MatrixScaling`: logistic regression, SciPy on the penalised objective, and a map that is found again."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from keras_ls.calibrators import MatrixScaling, TemperatureScaling
from tests.calibrators.plain_forms import least, nll, odir, warped_problem


def values(layer):
    return [keras.ops.convert_to_numpy(variable).astype("float64") for variable in (layer.kernel, layer.bias)]


def test_unregularised_it_is_logistic_regression():
    sklearn = pytest.importorskip("sklearn.linear_model")
    logits, labels = warped_problem(examples=2000, classes=6)
    weight = np.random.default_rng(0).exponential(size=2000).astype("float32")
    peer = sklearn.LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000)
    peer.fit(logits, labels, sample_weight=weight)
    report = MatrixScaling(0.0, 0.0).fit(logits, labels, weight).fit_report
    expected = nll(peer.decision_function(logits), labels, weight)
    assert report.nll_after == pytest.approx(expected, abs=1e-9)
    assert report.converged


def test_unregularised_on_ill_conditioned_log_probabilities():
    # of log-probabilities one direction is hundreds of times as long as another
    sklearn = pytest.importorskip("sklearn.linear_model")
    logits, labels = warped_problem(1, examples=2000, classes=5)
    logits = np.log(softmax(6 * logits, axis=1) + 1e-30)
    peer = sklearn.LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=5000).fit(logits, labels)
    report = MatrixScaling(0.0, 0.0).fit(logits, labels).fit_report
    assert report.nll_after == pytest.approx(nll(peer.decision_function(logits), labels), abs=1e-9)
    assert report.converged


@pytest.mark.parametrize("off_diagonal, intercept", [(1.0, 1.0), (0.01, 3.0), (5.0, 0.0), (0.0, 0.1)])
def test_scipy_on_the_penalised_objective(off_diagonal, intercept):
    logits, labels = warped_problem(2, examples=150, classes=3)

    def objective(theta):
        kernel, bias = theta[:9].reshape(3, 3), theta[9:]
        return nll(logits @ kernel + bias, labels) + odir(kernel, bias, off_diagonal, intercept)

    scaling = MatrixScaling(off_diagonal, intercept).fit(logits, labels)
    kernel, bias = values(scaling)
    found = objective(np.append(kernel, bias))  # they are float32, which does not move a minimum
    assert found == pytest.approx(least(objective, np.eye(4, 3).ravel()), abs=1e-9)
    assert scaling.fit_report.converged
    assert scaling.fit_report.nll_after == pytest.approx(nll(logits @ kernel + bias, labels), abs=1e-7)


def test_the_map_that_made_the_targets_is_found_again():
    # dense targets softmax(z W + b): the NLL is least where the probabilities are theirs
    rng = np.random.default_rng(3)
    logits, kernel, bias = rng.normal(size=(200, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)
    targets = softmax(logits @ kernel + bias, axis=1)
    scaling = MatrixScaling(0.0, 0.0).fit(logits, targets)
    np.testing.assert_allclose(softmax(keras.ops.convert_to_numpy(scaling(logits)), axis=1), targets, atol=1e-5)
    found, found_bias = values(scaling)
    # up to what softmax does not see: one number more for all outputs
    np.testing.assert_allclose(found - found[:, :1], kernel - kernel[:, :1], atol=1e-4)
    np.testing.assert_allclose(found_bias - found_bias[0], bias - bias[0], atol=1e-4)


def test_large_penalties_leave_a_diagonal():
    logits, labels = warped_problem(4)
    kernel, bias = values(MatrixScaling(1e8, 1e8).fit(logits, labels))
    np.testing.assert_allclose(kernel - np.diag(np.diag(kernel)), 0, atol=1e-6)
    np.testing.assert_allclose(bias, 0, atol=1e-6)
    assert np.ptp(np.diag(kernel)) > 0.1  # which is fitted freely


def test_penalties_are_against_the_mean():
    logits, labels = warped_problem(5)
    once = MatrixScaling().fit(logits, labels)
    often = MatrixScaling().fit(np.tile(logits, (3, 1)), np.tile(labels, 3), np.full(1200, 2.0))
    np.testing.assert_allclose(once(logits), often(logits), atol=1e-5)
    assert often.fit_report.weight == 2400


def test_identity_before_fit():
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(MatrixScaling()(logits), logits)


def test_errors():
    with pytest.raises(ValueError, match=r"`off_diagonal` >= 0. Received: -1"):
        MatrixScaling(-1)
    with pytest.raises(ValueError, match=r"`intercept` >= 0. Received: 'much'"):
        MatrixScaling(intercept="much")
    for logits in (np.zeros(4), np.zeros((4, 1))):
        with pytest.raises(ValueError, match=r"at least two classes. Received: shape \(4,.*Use VectorScaling"):
            MatrixScaling().fit(logits, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="at least two classes"):
        MatrixScaling()(np.zeros((4, 1), "float32"))


def test_separable_data_are_said_to_be_so():
    # more parameters than examples
    rng = np.random.default_rng(6)
    with pytest.warns(UserWarning, match="classified right after calibration"):
        scaling = MatrixScaling(0.0, 0.0).fit(rng.normal(size=(8, 6)), np.arange(8) % 6)
    assert not scaling.fit_report.converged
    assert np.isfinite(values(scaling)[0]).all()


def test_many_classes():
    # 60 classes: 3,660 parameters; regularised, it is at least as good as a temperature on what it was fitted to
    logits, labels = warped_problem(7, examples=3000, classes=60)
    report = MatrixScaling().fit(logits, labels).fit_report
    assert report.converged and report.iterations < 300
    assert report.nll_after < TemperatureScaling().fit(logits, labels).fit_report.nll_after - 0.05
