import numpy as np
import pytest
from keras.ops import convert_to_numpy

from keras_ls import ops
from tests.ops import plain_forms
from tests.ops.test_calibration import KUMAR_P, KUMAR_Y, predictions
from tests.precision import digits
from tests.real_data import lenet_cifar10

approx = pytest.approx


def error(*args, **kwargs):
    return float(ops.classwise_calibration_error(*args, **kwargs))


def test_by_hand():
    # three classes, two bins. Class 0: .6, .8 | .1, label 0 in one of the two: 2/3 |.5 - .7| + 1/3 |0 - .1| = 1/6;
    # class 1: .3, .1, .2 in one bin, one label: |1/3 - .2| = 2/15; class 2: .1, .1 | .7: 2/3 · .1 + 1/3 · .3 = 1/6
    p = [[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]
    expected = [1 / 6, 2 / 15, 1 / 6]
    np.testing.assert_allclose(ops.classwise_calibration_error([1, 0, 2], p, 2, average=None), expected, rtol=1e-6)
    assert error([1, 0, 2], p, 2) == approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize(
    "p, y, num_bins, expected",
    [
        ([0.1, 0.1, 0.7], [0, 1, 1], 2, 0.4 * 2 / 3 + 0.3 / 3),
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 2, 0.4),
        ([0.1, 0.05, 0.5, 0.2, 0.99, 0.99], [0, 0, 1, 0, 1, 1], 3, 0.145),
    ],
)
def test_published_equal_mass_values(p, y, num_bins, expected):
    # P(y=1) as two classes: class 1 has the published value, and class 0 the same, by its bins .1 .1 | .7 mirrored to
    # .3 | .9 .9 and .6 .7 | .8 .9 to .1 .2 | .3 .4; of the third .01 .01 | .5 | .8 .9 .95: (.02 + .5 + .35) / 6 = .145
    got = ops.classwise_calibration_error(y, p, num_bins, "quantile", average=None)
    np.testing.assert_allclose(got, [expected, expected], atol=1e-6)
    assert error(y, p, num_bins, "quantile") == approx(expected, abs=1e-6)


def test_published_binary_values():
    # no confidence is at an edge of 15 bins: class 0 mirrors class 1
    for norm, expected in (("l1", 0.222222), ("l2", 0.223607), ("max", 0.25)):
        np.testing.assert_allclose(
            ops.classwise_calibration_error(KUMAR_Y, KUMAR_P, norm=norm, average=None), [expected] * 2, atol=1e-6
        )


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("binning", ["uniform", "quantile"])
@pytest.mark.parametrize("norm, debiased", [("l1", False), ("l2", False), ("l2", True), ("max", False)])
@pytest.mark.parametrize("threshold, weighted", [(0.0, False), (0.05, True)])
def test_every_option_against_the_plain_form(norm, debiased, binning, closed, threshold, weighted):
    labels, _, p = predictions(200, 4)
    weight = np.random.default_rng(1).integers(0, 3, 200) if weighted else None
    expected = plain_forms.classwise_calibration_error(
        labels, p, 6, binning, closed, norm, debiased, np.float32(threshold), weight
    )
    options = (6, binning, norm, closed, debiased, threshold)
    got = ops.classwise_calibration_error(labels, p, *options, average=None, sample_weight=weight)
    np.testing.assert_allclose(got, expected, atol=digits(1e-7, 1e-6))
    assert error(labels, p, *options, sample_weight=weight) == approx(np.mean(expected), abs=digits(1e-7, 1e-6))


def test_dense_targets():
    labels, _, p = predictions()
    assert error(np.eye(5)[labels], p) == approx(error(labels, p), rel=1e-6)
    # by hand, one bin: mean targets (.35, .65) against (.55, .45)
    soft = [[0.5, 0.5], [0.2, 0.8]]
    got = ops.classwise_calibration_error(soft, [[0.7, 0.3], [0.4, 0.6]], 1, average=None)
    np.testing.assert_allclose(got, [0.2, 0.2], rtol=1e-6)


def test_threshold_by_hand():
    # class 3 never exceeds .15: error 0. Above it class 0 has .6 and .8, labels 1 and 0: |.5 - .7| in one bin;
    # class 1 has .3 and .2, labels 1 and 2: |.5 - .25|; class 2 has .6, label 2: |1 - .6|
    p = [[0.6, 0.3, 0.05, 0.05], [0.8, 0.1, 0.05, 0.05], [0.1, 0.2, 0.6, 0.1]]
    got = ops.classwise_calibration_error([1, 0, 2], p, 1, "quantile", threshold=0.15, average=None)
    np.testing.assert_allclose(got, [0.2, 0.25, 0.4, 0], atol=1e-6)


def test_without_threshold_zeros_count():
    # class 1 has probabilities 0 and 0 and is the label once: .5, the mirror of class 0
    np.testing.assert_allclose(
        ops.classwise_calibration_error([0, 1], [[1.0, 0.0], [1.0, 0.0]], average=None), [0.5, 0.5]
    )


def test_of_real_predictions():
    labels, p = lenet_cifar10()
    for binning in ("uniform", "quantile"):
        expected = plain_forms.classwise_calibration_error(labels, p[:, :3], 15, binning)
        got = ops.classwise_calibration_error(labels, p, 15, binning, average=None)
        np.testing.assert_allclose(convert_to_numpy(got)[:3], expected, atol=1e-6)


def test_dropped_examples_may_hold_anything():
    p = np.array([[0.6, 0.4], [np.nan, np.nan], [0.3, 0.7]], "float32")
    for binning in ("uniform", "quantile"):
        kept = error([0, 1], p[[0, 2]], 2, binning)
        assert error([0, 9, 1], p, 2, binning, sample_weight=[1, 0, 1]) == approx(kept, rel=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"threshold": 1.0}, r"Expected `threshold` in \[0, 1\)\. Received: 1\.0"),
        ({"average": "micro"}, r"`average`.*'macro', None\. Received: 'micro'"),
        ({"binning": "quantiles"}, r"`binning`.*Did you mean 'quantile'"),
        ({"debiased": True}, r"`norm='l2'` with `debiased=True`"),
        ({"sample_weight": [0.0, 0.0]}, "Expected an example of positive weight"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        error([0, 1], [[0.5, 0.5], [0.1, 0.9]], **options)


@pytest.mark.parametrize(
    "labels, p, message",
    [
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [np.nan, 0.5], r"`probabilities` without NaN\. Received: 1 NaN"),
        ([0, 1], [[3.0, -2.0], [0.5, 0.5]], r"`probabilities` in \[0, 1\].*softmax"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"integer labels in \[0, 2\)"),
        ([], np.zeros((0, 3)), "at least one example"),
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_bad_data(labels, p, message, threshold):
    with pytest.raises(ValueError, match=message):
        error(labels, p, threshold=threshold)
