import json
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pytest import approx

import keras_ls as kls
from keras_ls.plots import ClasswiseReliabilityDisplay, ReliabilityDisplay

RNG = np.random.default_rng(0)
K = 12
LOGITS = 2 * RNG.normal(size=(300, K))
LABELS = RNG.integers(0, K, 300)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def binary_errors(**options):
    """The calibration error of P(y=k), k by k."""
    return [float(kls.ops.calibration_error(np.eye(K)[LABELS, k], P[:, k], **options)) for k in range(K)]


def test_errors_are_those_of_each_class_against_the_rest():
    weight = RNG.integers(0, 3, 300)
    for options in ({}, {"binning": "quantile", "num_bins": 5, "closed": "right"}, {"sample_weight": weight}):
        display = ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, **options)
        expected = binary_errors(**options)
        assert display.errors == approx(expected, abs=1e-6)
        assert display.mean_error == approx(np.mean(expected), abs=1e-6)


def test_the_worst_classes_are_drawn_worst_first():
    display = ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, max_panels=4)
    worst = np.argsort(binary_errors())[::-1][:4]
    assert display.classes == worst.tolist()
    assert [ax.get_title() for ax in display.axes_] == [f"{k}: {display.errors[k]:.3f}" for k in worst]
    assert len(ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS).axes_) == 9


def test_few_classes_are_all_drawn_in_their_order():
    # class 0 with .9 (hit), .6, .6 (one hit): |1 - .9| / 3 + 2 |.5 - .6| / 3; class 1 the same from the other side
    p = [[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]
    display = ClasswiseReliabilityDisplay.from_predictions([0, 0, 1], p, from_logits=False, class_names=["a", "b"])
    assert display.classes == [0, 1]
    assert [ax.get_title() for ax in display.axes_] == ["a: 0.100", "b: 0.100"]
    assert [bar.get_height() for bar in display.axes_[0].patches if bar.get_height()] == approx([0.5, 1.0])
    assert [bar.get_height() for bar in display.axes_[1].patches if bar.get_height()] == approx([0.5])
    assert display.figure_.get_suptitle() == "class-wise ECE = 0.1000; 2 classes"


def test_chosen_classes_and_their_tables():
    display = ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, classes=[7, 2], num_bins=5)
    single = ReliabilityDisplay.from_predictions(np.eye(K)[LABELS, 7], P[:, 7], num_bins=5, from_logits=False)
    assert list(display.table) == [7, 2]
    for row, expected in zip(display.table[7], single.table):
        assert row == approx(expected, abs=1e-6)
    assert display.figure_.get_suptitle().endswith("2 of 12 classes")


def test_dense_labels_count_as_their_distribution():
    dense = ClasswiseReliabilityDisplay.from_predictions(np.eye(K)[LABELS], LOGITS)
    assert dense.table == ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS).table
    soft = ClasswiseReliabilityDisplay.from_predictions([[0.7, 0.3]], [[0.7, 0.3]], from_logits=False)
    assert soft.errors == approx([0, 0], abs=1e-7)


def test_dropped_examples_may_hold_nan():
    p = np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]])
    dropped = ClasswiseReliabilityDisplay.from_predictions([0, 5, 1], p, from_logits=False, sample_weight=[1, 0, 1])
    kept = ClasswiseReliabilityDisplay.from_predictions([0, 1], p[[0, 2]], from_logits=False)
    assert dropped.table == kept.table


def test_panels_share_their_axes_and_only_the_outer_ones_have_labels():
    display = ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, classes=range(5))
    first, *others = display.axes_
    assert all(first.get_shared_x_axes().joined(first, ax) for ax in others)
    # three columns: 0 1 2 / 3 4
    assert [ax.get_ylabel() for ax in display.axes_] == ["frequency", "", "", "frequency", ""]
    assert [ax.get_xlabel() for ax in display.axes_] == ["", "", "P(class)", "P(class)", "P(class)"]
    assert display.figure_.get_size_inches()[0] == approx(3.3)


def test_takes_the_place_of_given_axes(column_axes):
    other = plt.subplots(1, 2, layout="constrained")[1]
    display = ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, ax=other[1], max_panels=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # among matplotlib's own dependencies
        display.figure_.canvas.draw()
    assert display.figure_ is other[0].figure and not other[1].axison
    edge = other[0].get_position().x1
    assert all(ax.get_position().x0 > edge for ax in display.axes_)


def test_json_round_trip():
    display = ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, max_panels=2)
    again = ClasswiseReliabilityDisplay.from_dict(json.loads(json.dumps(display.to_dict(), allow_nan=False)))
    assert again.table == display.table and again.errors.tolist() == display.errors.tolist()
    assert [ax.get_title() for ax in again.plot().axes_] == [ax.get_title() for ax in display.axes_]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"classes": [0, K]}, r"different integers in \[0, 12\). Received: \[0.0, 12.0\]"),
        ({"classes": [1, 1]}, "1 to 25 different integers"),
        ({"classes": []}, "1 to 25 different integers"),
        ({"classes": [0.5]}, "1 to 25 different integers"),
        ({"class_names": ["a"]}, "`class_names`, one a class: 12. Received: 1"),
        ({"max_panels": 0}, "`max_panels` to be an integer of at least 1"),
        ({"binning": "quantiles"}, "Did you mean 'quantile'"),
        ({"from_logits": False}, r"`probabilities` in \[0, 1\].*use `from_logits=True`"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ClasswiseReliabilityDisplay.from_predictions(LABELS, LOGITS, **options)


def test_bad_predictions():
    with pytest.raises(ValueError, match=r"`\[N, K\]` of K classes. Received: P\(y=1\) alone"):
        ClasswiseReliabilityDisplay.from_predictions([0, 1], [0.1, 0.9], from_logits=False)
    with pytest.raises(ValueError, match="`logits` without NaN"):
        ClasswiseReliabilityDisplay.from_predictions([0], [[np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"`classes`, one a panel: 1. Received: 2"):
        ClasswiseReliabilityDisplay([ReliabilityDisplay([1], [1], [1], [0, 1])], [0, 1], [0.1, 0.2])
