"""`IsotonicCalibration` against the min-max formula, scikit-learn, and by hand."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops as K

import keras_ls as kls
from keras_ls.calibrators import IsotonicCalibration
from tests import real_data
from tests.calibrators.test_temperature_solver import random_problem
from tests.ops import plain_forms


def probabilities(logits):
    return K.convert_to_numpy(K.softmax(logits) if len(logits.shape) > 1 else K.sigmoid(logits))


@pytest.fixture
def problem():
    logits, labels = random_problem(0, examples=80, classes=4)
    return logits.astype("float32"), labels


def one_vs_rest(logits, labels, weight=None):
    scores = [
        plain_forms.isotonic([plain_forms.softmax(row)[k] for row in logits], labels == k, weight)
        for k in range(logits.shape[1])
    ]
    return np.stack(scores, axis=1)


def test_by_hand():
    # P(y=1) ascending with the outcomes 0, 1, 0, 1: the middle two are out of order and share 1/2; the ends are 0 and
    # 1, or the floor. Half-way between two knots *in probability* f is half-way: of p = .2 and .4, .3 has (0 + 1/2) / 2
    p = np.array([0.2, 0.4, 0.6, 0.8])
    isotonic = IsotonicCalibration(floor=1e-3).fit(np.log(p / (1 - p)), [0, 1, 0, 1])
    new = np.array([0.05, 0.2, 0.3, 0.5, 0.7, 0.9])
    found = probabilities(isotonic(np.log(new / (1 - new)).astype("float32")))
    # logit(floor) = log .001 - log 1: sigmoid of it is .001 / 1.001
    low = 0.001 / 1.001
    np.testing.assert_allclose(found, [low, low, 0.25, 0.5, 0.75, 1 - low], rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_vs_rest_at_the_examples(problem, weighted):
    logits, labels = problem
    weight = np.random.default_rng(1).exponential(size=80).astype("float32") if weighted else None
    expected = one_vs_rest(logits, labels, weight)
    expected /= expected.sum(axis=1, keepdims=True)
    found = K.exp(IsotonicCalibration().fit(logits, labels, weight)(logits))
    np.testing.assert_allclose(found, np.maximum(expected, 1e-7), atol=1e-6)


def test_top_label_at_the_examples(problem):
    logits, labels = problem
    p = np.array([plain_forms.softmax(row) for row in logits])
    predicted = p.argmax(axis=1)
    confidence = plain_forms.isotonic(p.max(axis=1), labels == predicted)
    found = probabilities(IsotonicCalibration("top_label").fit(logits, labels)(logits))
    np.testing.assert_array_equal(found.argmax(axis=1), predicted)
    ahead, checked = np.sort(p, axis=1)[:, -2] / (1 - p.max(axis=1)), 0
    for row, c, before, t, share in zip(found, confidence, p, predicted, ahead):
        if share * (1 - c) < c * (1 - 1e-4):  # else the predicted class is held ahead: see the test of ops
            expected = before * (1 - c) / (1 - before[t])
            expected[t] = c
            np.testing.assert_allclose(row, expected, atol=2e-6)
            checked += 1
    assert checked > 40


def test_soft_targets_are_regressed_on(problem):
    # a target (.8, .2, 0, 0) counts as .8 hits of class 0 and .2 of class 1
    logits, labels = problem
    soft = 0.7 * np.eye(4)[labels] + 0.3 * np.random.default_rng(2).dirichlet(np.ones(4), 80)
    scores = [
        plain_forms.isotonic([plain_forms.softmax(row)[k] for row in logits], soft[:, k])
        for k in range(logits.shape[1])
    ]
    expected = np.stack(scores, axis=1) / np.sum(scores, axis=0)[:, None]
    found = K.exp(IsotonicCalibration().fit(logits, soft.astype("float32"))(logits))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def scikit_learn(logits, labels, new):
    from sklearn.isotonic import IsotonicRegression

    p, q = (np.array([plain_forms.softmax(row) for row in z]) for z in (logits, new))
    fitted = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p[:, k], labels == k).predict(q[:, k])
        for k in range(p.shape[1])
    ]
    return np.stack(fitted, axis=1)


def test_scikit_learn_on_new_data():
    logits, labels = random_problem(3, examples=600, classes=4)
    logits = logits.astype("float32")
    expected = scikit_learn(logits[:300], labels[:300], logits[300:])
    total = expected.sum(axis=1, keepdims=True)
    expected = np.where(
        total == 0, [plain_forms.softmax(row) for row in logits[300:]], expected / np.where(total, total, 1)
    )
    found = K.exp(IsotonicCalibration().fit(logits[:300], labels[:300])(logits[300:]))
    # logits of float32 are good for 1e-6, which the steepest piece, from 0 to .5 within 1e-3, makes more of
    np.testing.assert_allclose(found, np.maximum(expected, 1e-7), atol=2e-5)
    assert np.median(np.abs(found - np.maximum(expected, 1e-7))) < 1e-6


def test_scikit_learn_classifier(problem):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Given(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, X):
            return np.array([plain_forms.softmax(row) for row in X])

        def predict(self, X):
            return X.argmax(axis=1)

    logits, labels = problem
    peer = CalibratedClassifierCV(FrozenEstimator(Given().fit(logits, labels)), method="isotonic").fit(logits, labels)
    found = K.exp(IsotonicCalibration().fit(logits, labels)(logits))
    np.testing.assert_allclose(found, np.maximum(peer.predict_proba(logits), 1e-7), atol=1e-6)


def test_lenet_on_cifar10():
    # 5,000 published predictions to fit and 5,000 to test, against scikit-learn class after class
    labels, p = real_data.lenet_cifar10()
    logits = np.log(p).astype("float32")
    expected = scikit_learn(logits[:5000], labels[:5000], logits)
    expected /= expected.sum(axis=1, keepdims=True)
    isotonic = IsotonicCalibration().fit(logits[:5000], labels[:5000])
    found = K.convert_to_numpy(K.exp(isotonic(logits)))
    np.testing.assert_allclose(found[:5000], np.maximum(expected[:5000], 1e-7), atol=1e-6)
    np.testing.assert_allclose(found[5000:], np.maximum(expected[5000:], 1e-7), atol=1e-4)
    before, after = (
        float(kls.ops.calibration_error(labels[5000:], values[5000:]))
        for values in (p, found / found.sum(1, keepdims=True))
    )
    assert after < 0.5 * before


def test_confidences_that_round_to_one_are_not_tied():
    # log-odds 20, 25, 30: all 1.0 in float32; of their outcomes 0, 1, 1 the first is apart
    logits = np.array([[20.0, 0.0], [25.0, 0.0], [30.0, 0.0]], "float32")
    assert (probabilities(logits)[:, 0] == 1).all()
    found = probabilities(IsotonicCalibration("top_label", floor=0.1).fit(logits, [1, 0, 0])(logits))
    # the first has f = 0, and the predicted class is held at 1/2
    np.testing.assert_allclose(found[:, 0], [0.5, 1 / 1.1, 1 / 1.1], rtol=1e-5)


def test_few_knots_differ_by_no_more_than_said():
    # labels drawn so that f has about 80 steps
    logits, labels = random_problem(4, examples=6000, classes=2)
    logits = logits.astype("float32")
    whole = IsotonicCalibration().fit(logits, labels)
    with pytest.warns(UserWarning, match="thinned to .* more `num_knots` keep it whole"):
        few = IsotonicCalibration(num_knots=16).fit(logits, labels)
    assert whole.fit_report.advice is None and (np.unique(whole.knots[0]).size > 60)
    assert few.knots.shape == few.values.shape == (2, 16)
    u = np.linspace(-30, 30, 4001).astype("float32")[:, None] * np.ones((1, 2), "float32")
    gap = np.abs(K.convert_to_numpy(whole.calibrated(u)) - K.convert_to_numpy(few.calibrated(u))).max()
    said = float(few.fit_report.advice.split("at most ")[1].split(":")[0])
    assert 0 < gap <= min(2 / 13, 1.1 * said)  # one digit is said
    assert said < 2 / 13 + 0.01


@pytest.mark.parametrize("method", ["one_vs_rest", "top_label"])
def test_before_fit_the_probabilities_are_those_that_came(problem, method):
    logits, _ = problem
    expected = np.array([plain_forms.softmax(row) for row in logits])
    np.testing.assert_allclose(probabilities(IsotonicCalibration(method)(logits)), expected, rtol=2e-5, atol=2e-6)


def test_nll_is_bounded_by_the_floor():
    # class 1 never comes where its probability is low: f is 0 there, and a later 1 costs log(1 / .01) and log 1.01
    logits = np.array([[3.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 3.0]], "float32")
    isotonic = IsotonicCalibration(floor=0.01).fit(logits, [0, 0, 1, 1])
    nll = kls.metrics.NegativeLogLikelihood()
    nll.update_state([1], isotonic(logits[:1]))
    assert float(nll.result()) == pytest.approx(np.log(101), rel=1e-5)


def test_report(problem):
    logits, labels = problem
    weight = np.arange(80) % 3
    isotonic = IsotonicCalibration().fit(logits, labels, weight)
    report, p = isotonic.fit_report, probabilities(isotonic(logits))
    before = [-plain_forms.log_probability(y, row) for row, y in zip(logits, labels)]
    after = -np.log(p[np.arange(80), labels])
    assert report.nll_before == pytest.approx(np.average(before, weights=weight), rel=1e-5)
    assert report["nll_after"] == pytest.approx(np.average(after, weights=weight), rel=1e-5)
    assert (report.weight, report.converged, report.advice) == (weight.sum(), True, None)


def test_a_class_without_examples_is_told():
    logits, labels = random_problem(5, examples=50, classes=4)
    labels[labels == 2] = 3
    with pytest.warns(UserWarning, match="of class 2: .*every class"):
        isotonic = IsotonicCalibration().fit(logits, labels)
    assert "class 2" in isotonic.fit_report.advice
    np.testing.assert_allclose(isotonic.values[2], 0)


def test_examples_that_are_all_right_are_told():
    logits = np.array([[3.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    with pytest.warns(UserWarning, match="same outcome.*training data will not do"):
        IsotonicCalibration("top_label").fit(logits, [0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        IsotonicCalibration("top_label").fit(logits, [0, 0])


def test_constructor_errors():
    with pytest.raises(ValueError, match=r"Expected `method`.*Did you mean 'top_label'"):
        IsotonicCalibration("top")
    with pytest.raises(ValueError, match=r"`num_knots` to be an integer of at least 4. Received: 3"):
        IsotonicCalibration(num_knots=3)
    for floor in (0.0, 1.0, -1, "low"):
        with pytest.raises(ValueError, match="Expected `floor`"):
            IsotonicCalibration(floor=floor)
    with pytest.raises(TypeError, match="Received: num_cells"):
        IsotonicCalibration(num_cells=3)


def test_configuration():
    isotonic = IsotonicCalibration("top_label", 32, 0.01, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(isotonic))
    assert (again.method, again.num_knots, again.floor, again.name) == ("top_label", 32, 0.01, "mine")
