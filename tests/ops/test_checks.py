import math

import keras
import numpy as np
import pytest
from keras.ops import convert_to_tensor

from keras_ls.ops import _checks
from keras_ls.ops._inputs import check_integer_labels


@pytest.mark.parametrize("value", [-0.01, 1, 1.0, 1.5, math.nan, math.inf, "0.1", None, True, [0.1]])
def test_fraction_refuses(value):
    with pytest.raises(ValueError, match=r"Expected `label_smoothing` in \[0, 1\)\. Received: "):
        _checks.checked_fraction("label_smoothing", value)


def test_fraction_accepts_numbers():
    values = [_checks.checked_fraction("a", v) for v in (0, 0.25, np.float32(0.5), np.int64(0), 1 - 1e-12)]
    assert values == [0.0, 0.25, 0.5, 0.0, 1 - 1e-12]
    assert {type(v) for v in values} == {float}


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, -math.inf, "1", None, True])
def test_positive_refuses(value):
    with pytest.raises(ValueError, match=r"Expected `temperature` > 0\. Received: "):
        _checks.checked_positive("temperature", value)


@pytest.mark.parametrize("value", [0, -3, 1.0, "2", None, True, np.float64(3)])
def test_count_refuses(value):
    with pytest.raises(ValueError, match=r"Expected `num_bins` to be an integer of at least 1\. Received: "):
        _checks.checked_count("num_bins", value)


def test_count_accepts_numpy_integers():
    assert (_checks.checked_count("n", np.int64(4)), _checks.checked_count("n", 0, minimum=0)) == (4, 0)


@pytest.mark.parametrize("value", [1.5, 2.0, "1", True, [1]])
def test_class_refuses(value):
    with pytest.raises(ValueError, match=r"Expected `ignore_class` to be an integer or None\. Received: "):
        _checks.checked_class("ignore_class", value)


@pytest.mark.parametrize(
    "value, near", [("unifrom", "uniform"), ("quantiles", "quantile"), ("Uniform", "uniform"), ("uni", "uniform")]
)
def test_choice_names_the_nearest(value, near):
    with pytest.raises(ValueError) as error:
        _checks.checked_choice("binning", value, ["uniform", "quantile"])
    expected = f"one of 'uniform', 'quantile'. Received: {value!r}. Did you mean {near!r}?"
    assert str(error.value) == f"Expected `binning` to be {expected}"


def test_choice_far_from_all_names_none():
    with pytest.raises(ValueError) as error:
        _checks.checked_choice("binning", "xyz", ["uniform", "quantile"])
    assert str(error.value).endswith("Received: 'xyz'.")


@pytest.mark.parametrize(
    "prior", [[0.5, 0.6], [1.0], [-0.1, 1.1], [np.nan, 1.0], [[0.5, 0.5]], 0.5, "uniform", [3, 7], [], {"a": 1}]
)
def test_prior_refuses(prior):
    with pytest.raises(ValueError, match=r"Expected `prior` to be a 1-D class distribution.*Received: .*Divide"):
        _checks.checked_prior(prior)


def test_prior_takes_up_rounding():
    # sums to .999: divided by it
    np.testing.assert_allclose(_checks.checked_prior([0.333, 0.333, 0.333]), [1 / 3] * 3, rtol=1e-15)
    with pytest.raises(ValueError, match=r"one entry a class: 4.*Received: 3 entries"):
        _checks.checked_prior([0.2, 0.3, 0.5], 4)


def test_concrete():
    np.testing.assert_array_equal(_checks.concrete(convert_to_tensor([1, 2])), [1, 2])
    assert _checks.concrete(None) is None
    assert _checks.concrete(keras.KerasTensor((2,))) is None


@pytest.mark.tensorflow
def test_nothing_is_concrete_in_a_graph():
    import tensorflow as tf

    seen = []
    tf.function(lambda x: seen.append(_checks.concrete(x)) or x)(tf.constant([1.0]))
    assert seen == [None]


@pytest.mark.parametrize("labels, shown", [([0, 4], "4"), ([-1, 0], "-1"), ([0.0, 1.5], "1.5"), ([0.0, np.nan], "nan")])
def test_integer_labels(labels, shown):
    with pytest.raises(ValueError, match=rf"Expected integer labels in \[0, 4\).*4 classes\. Received: {shown}\."):
        check_integer_labels(convert_to_tensor(labels), 4)


def test_integer_labels_that_do_not_count():
    check_integer_labels(convert_to_tensor([0, 255]), 4, ignore_class=255)
    check_integer_labels(convert_to_tensor([0, 255]), 4, weight=convert_to_tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="Received: 255"):
        check_integer_labels(convert_to_tensor([0, 255]), 4, weight=convert_to_tensor([0.0, 1.0]))


def test_nan_count():
    with pytest.raises(ValueError, match=r"Expected `x` without NaN\. Received: 2 NaN\. Do so\."):
        _checks.check_no_nan("x", convert_to_tensor([np.nan, 1.0, np.nan]), "Do so.")
