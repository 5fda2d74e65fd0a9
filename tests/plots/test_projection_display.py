import json
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pytest import approx

from keras_ls.plots import ProjectionDisplay

NAMES = ["airplane", "automobile", "bird"]
# A right triangle at height 5: centroid (1, 1, 5), axes along x and y.
TEMPLATES = [[0.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 3.0, 5.0]]
IN_PLANE = [[-1.0, -1.0], [2.0, -1.0], [-1.0, 2.0]]
FEATURES = [[1.0, 1.0, 7.0], [2.0, 1.0, -7.0], [1.0, 4.0, 0.0], [9.0, 9.0, 9.0]]


@pytest.fixture
def display():
    return ProjectionDisplay([[0, 0], [1, 0], [0, 3]], [0, 1, 2], NAMES, IN_PLANE, title="training")


def test_points_lie_where_the_plane_has_them():
    display = ProjectionDisplay.from_features(FEATURES[:3], [4, 7, 9], TEMPLATES, NAMES)
    # minus the centroid, without the height
    assert display.points == approx(np.array([[0, 0], [1, 0], [0, 3]]))
    assert display.templates == approx(np.array(IN_PLANE), abs=1e-6)
    assert display.labels.tolist() == [0, 1, 2]
    for scatter, point in zip(display.scatters_, display.points):
        assert np.array(scatter.get_offsets()) == approx(point[None])


def test_classes_choose_order_and_drop_the_rest():
    # the templates are those of classes 9, 4 and 7
    display = ProjectionDisplay.from_features(FEATURES, [4, 7, 9, 1], TEMPLATES, classes=[9, 4, 7])
    assert display.labels.tolist() == [1, 2, 0]
    assert display.class_names == ["9", "4", "7"]
    assert len(display.points) == 3


def test_templates_are_joined_and_named(display):
    ax = display.plot().ax_
    triangle = ax.lines[0].get_xydata()
    assert triangle == approx(np.array([*IN_PLANE, IN_PLANE[0]]))
    assert [text.get_text() for text in ax.texts] == ["$w_1$", "$w_2$", "$w_3$"]
    assert not ProjectionDisplay([[0, 0]], [0], NAMES).plot().ax_.lines


def test_legend_and_markers_differ_without_colour(display):
    display.plot()
    texts = [text.get_text() for text in display.figure_.legends[0].get_texts()]
    assert texts[:3] == NAMES
    outlines = {scatter.get_paths()[0].vertices.tobytes() for scatter in display.scatters_}
    assert len(outlines) == 3


def test_limits_hold_points_and_templates_in_a_square(display):
    # x from -1 to 2, y from -1 to 3: the longer side 4, with 6 % on either side, about (.5, 1)
    assert display.limits == approx((0.5 - 2.24, 0.5 + 2.24, 1 - 2.24, 1 + 2.24))
    ax = display.plot().ax_
    assert (*ax.get_xlim(), *ax.get_ylim()) == approx(display.limits)
    assert ax.get_aspect() == 1


def test_panels_share_limits(display):
    far = ProjectionDisplay([[10.0, 0.0]], [0], NAMES)
    limits = ProjectionDisplay.common_limits([display, far])
    figure, axes = plt.subplots(1, 2)
    for ax, panel in zip(axes, (display, far)):
        panel.plot(ax, limits=limits, legend=False)
        assert (*ax.get_xlim(), *ax.get_ylim()) == approx(limits)
        assert ax.get_legend() is None
    figure.canvas.draw()


def test_one_point_still_has_limits():
    left, right, bottom, top = ProjectionDisplay([[2.0, 2.0]], [0], NAMES).limits
    assert left < 2 < right and bottom < 2 < top


def test_json_round_trip(display):
    text = json.dumps(display.to_dict(), allow_nan=False)
    again = ProjectionDisplay.from_dict(json.loads(text))
    assert again.to_dict() == display.to_dict()
    assert again.plot().ax_.get_title() == "training"
    bare = ProjectionDisplay([[0, 0]], [0], NAMES)
    assert ProjectionDisplay.from_dict(json.loads(json.dumps(bare.to_dict()))).templates is None


def test_draws_on_given_axes_without_warnings(column_axes, display):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # among matplotlib's own dependencies
        display.plot(column_axes)
        column_axes.figure.canvas.draw()
    assert display.ax_ is column_axes
    assert display.figure_ is column_axes.figure
    assert [text.get_text() for text in column_axes.get_legend().get_texts()][:3] == NAMES
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[0, 0, 0]]}, r"Expected `points` of shape \[N, 2\]. Received: shape \[1, 3\]"),
        ({"points": [[0, float("nan")]] * 3}, "Expected `points` to be finite"),
        ({"points": np.zeros((0, 2)), "labels": []}, "Expected at least one point"),
        ({"labels": [0, 1]}, r"Expected `labels` of shape \[3\]"),
        ({"labels": [0, 1, 3]}, "Expected `labels` 0, 1 and 2.*Received: 3"),
        ({"class_names": ["a", "b"]}, "Expected `class_names` to be three different ones"),
        ({"templates": [[0, 0]]}, r"Expected `templates` of shape \[3, 2\]"),
    ],
)
def test_bad_data(change, message):
    data = {"points": [[0, 0], [1, 0], [0, 3]], "labels": [0, 1, 2], "class_names": NAMES} | change
    with pytest.raises(ValueError, match=message):
        ProjectionDisplay(**data)


def test_bad_features_and_limits(display):
    with pytest.raises(ValueError, match=r"exactly three classes. Received: 4 .*Name the three with `classes`"):
        ProjectionDisplay.from_features(FEATURES, [0, 1, 2, 3], TEMPLATES)
    with pytest.raises(ValueError, match=r"Expected `labels` \[4\], one a feature"):
        ProjectionDisplay.from_features(FEATURES, [0, 1, 2], TEMPLATES)
    with pytest.raises(ValueError, match="Expected `classes` to be three different ones"):
        ProjectionDisplay.from_features(FEATURES, [0, 1, 2, 3], TEMPLATES, classes=[0, 0, 1])
    with pytest.raises(ValueError, match="span a plane"):
        ProjectionDisplay.from_features(FEATURES[:3], [0, 1, 2], [[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    with pytest.raises(ValueError, match="Expected `limits`"):
        display.plot(limits=(1, 0, 0, 1))
    with pytest.raises(ValueError, match="without labels"):
        ProjectionDisplay.from_dict({"points": [], "class_names": NAMES})
