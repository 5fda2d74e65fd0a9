"""Figures of results: every kind of display is drawn from its JSON, in its place and size."""

import numpy as np
import pytest

from keras_ls import plots
from keras_ls.reports.figures import HEIGHT, WIDTH, draw
from keras_ls.reports.result import Figure

SINGLE = plots.ReliabilityDisplay([4, 4], [0.25, 0.5], [0.25, 0.75], [0, 0.5, 1], name="cat")


def test_every_display_has_a_size():
    assert set(WIDTH) == set(HEIGHT) == set(plots.__all__)


@pytest.mark.parametrize(
    "display, titles",
    [
        (plots.ReliabilityComparisonDisplay([SINGLE], title="both"), ["both", "both"]),
        (plots.ClasswiseReliabilityDisplay([SINGLE], [1], [0.025, 0.125]), ["", "", "cat: 0.125", "cat: 0.125"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_reliability_of_several(display, titles):
    saved = display.to_dict()
    figure = draw(Figure("name", saved["display"], [[saved, saved]], "how to read it"))
    figure.canvas.draw()
    (band,) = figure.subfigs
    assert sorted(ax.get_title() for ax in band.axes) == sorted(titles)
    assert band.legends == []  # a panel's legend has numbers of its own
    np.testing.assert_allclose(figure.get_size_inches(), [2 * WIDTH[saved["display"]], HEIGHT[saved["display"]]])
