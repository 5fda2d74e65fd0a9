import json
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from pytest import approx

from keras_ls.plots import ReliabilityComparisonDisplay, ReliabilityDisplay
from keras_ls.plots.reliability_comparison_display import STYLES

EDGES = [0.0, 0.25, 0.5, 0.75, 1.0]
# bins of 4, 4, 0 and 8; of 0, 2, 2 and 4
HARD = ReliabilityDisplay([4, 4, 0, 8], [0.25, 0.75, None, 0.75], [0.2, 0.4, None, 0.95], EDGES, name="hard")
SMOOTHED = ReliabilityDisplay([0, 2, 2, 4], [None, 0.5, 0.5, 1.0], [None, 0.4, 0.6, 0.9], EDGES, name="smoothed")


def test_a_line_a_model_broken_where_a_bin_is_empty():
    hard, smoothed = ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot().lines_
    assert hard.get_xdata() == approx([0.2, 0.4, np.nan, 0.95], nan_ok=True)
    assert hard.get_ydata() == approx([0.25, 0.75, np.nan, 0.75], nan_ok=True)
    assert smoothed.get_ydata() == approx([np.nan, 0.5, 0.5, 1.0], nan_ok=True)


def test_intervals_are_those_of_the_single_diagrams():
    display = ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot()
    containers = [c for c in display.ax_.containers if c.has_yerr]
    for container, single in zip(containers, (HARD, SMOOTHED)):
        ends = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments() if len(segment)])
        assert ends[~np.isnan(ends).any(axis=1)] == approx(single.interval[:, single.weight > 0].T)


def test_legend_has_the_errors():
    # (4 · .05 + 4 · .35 + 8 · .2) / 16; (2 · .1 + 2 · .1 + 4 · .1) / 8
    (legend,) = ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot().figure_.legends
    assert [text.get_text() for text in legend.get_texts()] == ["hard, ECE 0.200", "smoothed, ECE 0.100"]


def test_strip_has_the_shares_of_each():
    strip = ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot().strip_
    assert [list(patch.get_data().values) for patch in strip.patches] == [[0.25, 0.25, 0, 0.5], [0, 0.25, 0.25, 0.5]]


def test_no_two_lines_look_the_same_in_grey():
    lightness = [np.dot([0.299, 0.587, 0.114], to_rgb(style["color"])) for style in STYLES]
    assert (np.abs(np.diff(lightness)) > 0.1).all()  # of neighbours in the legend
    assert (
        len({str(style["linestyle"]) for style in STYLES}) == len({style["marker"] for style in STYLES}) == len(STYLES)
    )


def test_from_predictions_bins_each_as_a_single_diagram_does():
    rng = np.random.default_rng(0)
    labels, weight = rng.integers(0, 4, 60), rng.integers(0, 3, 60)
    a, b = rng.normal(size=(2, 60, 4))
    options = {"num_bins": 6, "binning": "quantile", "closed": "right"}
    display = ReliabilityComparisonDisplay.from_predictions(
        {"a": (labels, a), "b": (labels, b, weight)}, title="two", **options
    )
    assert display.table == {
        "a": ReliabilityDisplay.from_predictions(labels, a, **options).table,
        "b": ReliabilityDisplay.from_predictions(labels, b, sample_weight=weight, **options).table,
    }
    assert display.ax_.get_title() == "two"


def test_json_round_trip():
    display = ReliabilityComparisonDisplay([HARD, SMOOTHED], title="digits")
    again = ReliabilityComparisonDisplay.from_dict(json.loads(json.dumps(display.to_dict(), allow_nan=False)))
    assert again.table == display.table and again.title == "digits"
    assert [line.get_label() for line in again.plot().lines_] == [line.get_label() for line in display.plot().lines_]


def test_draws_on_given_axes_without_warnings(column_axes):
    display = ReliabilityComparisonDisplay([HARD, SMOOTHED])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # among matplotlib's own dependencies
        display.plot(column_axes)
        column_axes.figure.canvas.draw()
    assert display.ax_ is column_axes and column_axes.figure.legends == []
    assert [text.get_text() for text in column_axes.get_legend().get_texts()] == [
        "hard, ECE 0.200",
        "smoothed, ECE 0.100",
    ]
    assert len(plt.get_fignums()) == 1


def test_panels_side_by_side_share_their_axes():
    axes = ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot_panels()
    assert [ax.get_title() for ax in axes] == ["hard", "smoothed"]
    assert axes[0].get_shared_y_axes().joined(*axes)
    given = plt.subplots(1, 2)[1]
    assert ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot_panels(given) == list(given)
    with pytest.raises(ValueError, match=r"`axes` to be 2, one a panel. Received: 1"):
        ReliabilityComparisonDisplay([HARD, SMOOTHED]).plot_panels(given[0])


@pytest.mark.parametrize(
    "displays, message",
    [
        ([], "list of 1 to 5 ReliabilityDisplays. Received: 0"),
        ([HARD] * 6, "list of 1 to 5 ReliabilityDisplays. Received: 6"),
        ([HARD, "smoothed"], "Received: str"),
        ([HARD, HARD], r"a `name` each, all different. Received: \['hard', 'hard'\]"),
        ([ReliabilityDisplay([1], [1], [1], [0, 1])], r"a `name` each.*Received: \[None\]"),
    ],
)
def test_bad_displays(displays, message):
    with pytest.raises(ValueError, match=message):
        ReliabilityComparisonDisplay(displays)


@pytest.mark.parametrize(
    "predictions, message",
    [
        ([([0], [[0.0, 1.0]])], "dictionary from names.*Received: list"),
        ({"a": ([0],)}, r"`predictions\['a'\]` to be \(labels, logits\).*Received: tuple of 1"),
        ({"a": np.zeros((2, 2))}, "Received: ndarray"),
        ({}, "Received: 0"),
    ],
)
def test_bad_predictions(predictions, message):
    with pytest.raises(ValueError, match=message):
        ReliabilityComparisonDisplay.from_predictions(predictions)
