import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_ls import plots

BINS = plots.ReliabilityDisplay([4, 0, 6], [0.25, None, 0.5], [0.2, None, 0.9], [0, 0.4, 0.6, 1], name="net")
DISPLAYS = {
    "ReliabilityDisplay": BINS,
    "ReliabilityComparisonDisplay": plots.ReliabilityComparisonDisplay([BINS]),
    "ClasswiseReliabilityDisplay": plots.ClasswiseReliabilityDisplay([BINS], classes=[1], errors=[0.1, 0.2]),
    "ProjectionDisplay": plots.ProjectionDisplay([[0.0, 2.0], [1.0, 0.0], [-1.0, 0.0]], [2, 1, 0], ["a", "b", "c"]),
    "SmoothingSweepDisplay": plots.SmoothingSweepDisplay([{"label": "a", "gamma": [0.0, 1.0], "accuracy": [0.5, 1]}]),
    "ComparisonDisplay": plots.ComparisonDisplay(["a"], [{"label": "l", "mean": [0.5], "interval": None}], "ECE"),
}
each = pytest.mark.parametrize("name", plots.__all__)


def image(html):
    """The pixels of the image in what a notebook gets, and its width there."""
    name, width, data = re.fullmatch(r'<img alt="(\w+)" width="(\d+)" src="data:image/png;base64,(.*)">', html).groups()
    return name, int(width), plt.imread(io.BytesIO(base64.b64decode(data)))


def saved(figure):
    file = io.BytesIO()
    figure.savefig(file, dpi=200)
    return plt.imread(io.BytesIO(file.getvalue()))


@each
def test_a_notebook_shows_the_figure_once(name):
    display, same = (DISPLAYS[name].from_dict(DISPLAYS[name].to_dict()).plot() for _ in range(2))
    for drawn in (display, same):
        drawn.figure_.set_facecolor("red")
    expected = saved(same.figure_)
    plt.close(same.figure_)
    shown, width, pixels = image(display._repr_html_())
    assert (shown, width, pixels.shape[1]) == (name, 330, 660)
    np.testing.assert_array_equal(pixels, expected)
    assert plt.get_fignums() == []  # what is open is shown below the cell


@each
def test_a_display_that_is_not_drawn(name):
    display = DISPLAYS[name].from_dict(DISPLAYS[name].to_dict())
    pixels = image(display._repr_html_())[2]
    assert plt.get_fignums() == [] and not hasattr(display, "figure_")
    np.testing.assert_array_equal(pixels, saved(display.plot().figure_))


def test_the_figure_of_given_axes_stays_as_it_is():
    figure, (ax, _) = plt.subplots(1, 2)
    display = plots.ReliabilityDisplay.from_dict(BINS.to_dict()).plot(ax)
    before = saved(figure)
    pixels = image(display._repr_html_())[2]
    assert plt.get_fignums() == [figure.number] and display.ax_ is ax
    np.testing.assert_array_equal(saved(figure), before)
    np.testing.assert_array_equal(pixels, saved(plots.ReliabilityDisplay.from_dict(BINS.to_dict()).plot().figure_))
