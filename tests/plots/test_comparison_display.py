import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_ls.plots import ComparisonDisplay

METHODS = ["hard", "smoothed", "focal"]
BEFORE = {"label": "as trained", "mean": [0.2, 0.05, 0.1], "interval": [0.02, 0.01, 0.0]}
AFTER = {"label": "after temperature", "mean": [0.04, 0.05, 0.03], "interval": None}


def test_dots_lie_at_the_means_row_under_row():
    display = ComparisonDisplay(METHODS, [BEFORE, AFTER], "ECE").plot()
    before, after = display.dots_
    assert before.get_xdata().tolist() == [0.2, 0.05, 0.1] and after.get_xdata().tolist() == [0.04, 0.05, 0.03]
    rows = (before.get_ydata() + after.get_ydata()) / 2  # either side of the row
    np.testing.assert_allclose(rows, [0, 1, 2], atol=1e-12)
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == METHODS
    assert display.ax_.yaxis_inverted() and display.ax_.get_xlabel() == "ECE"


def test_intervals_are_drawn_where_they_are_known():
    display = ComparisonDisplay(METHODS, [BEFORE, AFTER], "ECE").plot()
    bars = [c for c in display.ax_.containers if isinstance(c, matplotlib.container.ErrorbarContainer)]
    ends = np.array([segment[:, 0] for segment in bars[0].lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, [[0.18, 0.22], [0.04, 0.06], [0.1, 0.1]])
    assert bars[1].lines[2] == ()


def test_the_first_method_has_a_line_to_compare_with():
    display = ComparisonDisplay(METHODS, [BEFORE, AFTER], "ECE").plot()
    dotted = [line.get_xdata()[0] for line in display.ax_.lines if line.get_linestyle() == ":"]
    assert dotted == [0.2, 0.04]


def test_legend_only_where_there_is_something_to_tell_apart():
    assert ComparisonDisplay(METHODS, [BEFORE], "ECE").plot().figure_.legends == []
    (legend,) = ComparisonDisplay(METHODS, [BEFORE, AFTER], "ECE").plot().figure_.legends
    assert [text.get_text() for text in legend.get_texts()] == ["as trained", "after temperature"]


def test_given_axes_without_names():
    figure, ax = plt.subplots()
    display = ComparisonDisplay(METHODS, [BEFORE], "ECE", title="MNIST").plot(ax, names=False, legend=False)
    assert display.figure_ is figure and ax.get_title() == "MNIST"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["", "", ""]


def test_round_trip_through_json():
    display = ComparisonDisplay(METHODS, [BEFORE, AFTER], "ECE", "MNIST")
    again = ComparisonDisplay.from_dict(json.loads(json.dumps(display.to_dict())))
    assert again.to_dict() == display.to_dict()
    assert again.plot().dots_[0].get_xdata().tolist() == [0.2, 0.05, 0.1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([], [BEFORE], "ECE"), r"`methods` to hold at least one name\. Received: none"),
        ((METHODS, [], "ECE"), r"list of 1 or 2 dictionaries\. Received: \[\]"),
        ((METHODS, [BEFORE] * 3, "ECE"), "list of 1 or 2 dictionaries"),
        (
            (METHODS, [{"label": "a", "mean": [1, 2, 3]}], "ECE"),
            r"label, mean, interval\. Received: \['label', 'mean'\]",
        ),
        ((METHODS[:2], [BEFORE], "ECE"), r"`series\[0\]\['mean'\]` of shape \[2\]\. Received: shape \[3\]"),
        ((METHODS, [{**BEFORE, "mean": [1, 2, np.nan]}], "ECE"), r"to be finite\. Received: 1 of NaN"),
        ((METHODS, [{**BEFORE, "interval": [1, 2, -3]}], "ECE"), r"half-widths, 0 or more\. Received: \[1, 2, -3\]"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ComparisonDisplay(*arguments)
