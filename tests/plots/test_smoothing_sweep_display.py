import json
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pytest import approx

from keras_ls.plots import SmoothingSweepDisplay

STUDENT = {
    "label": "student of a hard teacher",
    "gamma": [0.3, 0.0, 0.1],
    "accuracy": [0.86, 0.84, 0.87],
    "interval": [0.01, 0.0, 0.02],
    "points": ["T=4", "T=1", "T=2"],
}
TEACHER = {"label": "teacher", "gamma": [0.05, 0.2], "accuracy": [0.9, 0.91], "interval": None, "points": None}


@pytest.fixture
def display():
    return SmoothingSweepDisplay([STUDENT, TEACHER])


def test_lines_join_the_points_in_the_order_given(display):
    student, teacher = display.plot().lines_
    assert student.get_xydata() == approx(np.array([[0.3, 0.86], [0.0, 0.84], [0.1, 0.87]]))
    assert teacher.get_xydata() == approx(np.array([[0.05, 0.9], [0.2, 0.91]]))


def test_error_bars_reach_one_half_width_up_and_down(display):
    (bars,) = display.plot().ax_.collections  # the teacher has none
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert np.array(ends) == approx(np.array([[0.85, 0.87], [0.84, 0.84], [0.85, 0.89]]))


def test_points_are_named_at_their_places(display):
    texts = display.plot().ax_.texts
    assert {text.get_text(): tuple(map(float, text.xy)) for text in texts} == {
        "T=4": (0.3, 0.86),
        "T=1": (0.0, 0.84),
        "T=2": (0.1, 0.87),
    }


def test_names_do_not_overlap():
    # nine points of a line, as far apart as a name is wide or closer
    gamma = np.linspace(0, 0.8, 9)
    curve = {"label": "c", "gamma": gamma, "accuracy": 0.8 + 0.1 * gamma, "points": [f"T={k + 10}" for k in range(9)]}
    display = SmoothingSweepDisplay([curve]).plot()
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    frame = display.ax_.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_curves_differ_without_colour():
    curves = [TEACHER | {"label": str(k)} for k in range(8)]
    lines = SmoothingSweepDisplay(curves).plot().lines_
    assert len({line.get_marker() for line in lines}) == 8
    assert len({line.get_linestyle() for line in lines[:4]}) == 4


def test_axes_say_what_they_show(display):
    ax = display.plot().ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("effective smoothing γ", "accuracy")
    legend = display.figure_.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["student of a hard teacher", "teacher"]


def test_symlog_is_linear_up_to_the_smallest_positive_gamma(display):
    ax = display.plot(xscale="symlog").ax_
    assert ax.get_xscale() == "symlog"
    assert ax.xaxis.get_transform().linthresh == approx(0.05)
    assert display.plot().ax_.get_xscale() == "linear"


def test_json_round_trip(display):
    again = SmoothingSweepDisplay.from_dict(json.loads(json.dumps(display.to_dict(), allow_nan=False)))
    assert again.to_dict() == display.to_dict()
    assert again.to_dict()["curves"] == [STUDENT, TEACHER]


def test_what_is_not_known_may_be_left_out():
    display = SmoothingSweepDisplay([{"label": "a", "gamma": [0.1], "accuracy": [0.5]}])
    assert display.to_dict()["curves"][0]["interval"] is None
    assert not display.plot().ax_.texts


def test_draws_on_given_axes_without_warnings(column_axes, display):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # among matplotlib's own dependencies
        display.plot(column_axes)
        column_axes.figure.canvas.draw()
    assert display.ax_ is column_axes
    assert display.figure_ is column_axes.figure
    assert len(column_axes.get_legend().get_texts()) == 2
    assert len(plt.get_fignums()) == 1


def test_draws_over_what_the_axes_have_already(column_axes, display):
    column_axes.axhline(0.88)
    column_axes.plot([0, float("nan"), 0.3], [0.85, 0.9, 0.9])
    display.plot(column_axes)
    assert len(column_axes.texts) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": [0.9]}, r"Expected `curves\[0\]\['accuracy'\]` of shape \[3\]. Received: shape \[1\]"),
        ({"accuracy": None}, r"Expected `curves\[0\]\['accuracy'\]`"),
        ({"gamma": [0, 1, float("inf")]}, r"Expected `curves\[0\]\['gamma'\]` to be finite"),
        ({"interval": [0.1, -0.1, 0]}, "to be half-widths, 0 or more"),
        ({"points": ["T=1"]}, "to be 3 names"),
        ({"colour": "red"}, "Expected `curves.0.` to be a dictionary of label, gamma, accuracy"),
    ],
)
def test_bad_curve(change, message):
    with pytest.raises(ValueError, match=message):
        SmoothingSweepDisplay([STUDENT | change])


def test_bad_data(display):
    with pytest.raises(ValueError, match=r"Expected `curves` to be a list of dictionaries. Received: dict"):
        SmoothingSweepDisplay(STUDENT)
    with pytest.raises(ValueError, match="at least one curve"):
        SmoothingSweepDisplay([])
    with pytest.raises(ValueError, match="Received: a dictionary without curves"):
        SmoothingSweepDisplay.from_dict({})
    with pytest.raises(ValueError, match="Expected `xscale` to be one of 'linear', 'symlog'"):
        display.plot(xscale="log")
