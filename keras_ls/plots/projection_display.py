"""Penultimate activations of three classes, seen in the plane of their templates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from keras_ls.ops._checks import checked_choice, concrete
from keras_ls.ops._types import Tensor
from keras_ls.ops.geometry import class_plane, project
from keras_ls.plots.canvas import BLUE, GREEN, INK, LABEL_SIZE, ORANGE, add_legend, label_axes
from keras_ls.plots.display import Display
from keras_ls.plots.saved_data import as_numbers, check_finite, checked_saved, to_plain

STYLES = (
    {"marker": "o", "facecolor": BLUE, "edgecolor": BLUE},
    {"marker": "^", "facecolor": ORANGE, "edgecolor": INK},
    {"marker": "s", "facecolor": "none", "edgecolor": GREEN},
)


class ProjectionDisplay(Display):
    """Scatter of three classes' activations, projected onto the plane through the classes' templates.

    One panel of the paper's figure 1: `(x - centroid) · basisᵀ` of each penultimate activation x. Crosses joined by a
    line are the templates w₁, w₂, w₃ of the classes, in the order of the legend. Both axes have one scale, the units
    of the activations, so that distances in the panel are distances in the plane.

    Args:
        points: `[N, 2]`, coordinates in the plane.
        labels: integers `[N]`: 0, 1 or 2.
        class_names: three names.
        templates: `[3, 2]`, the templates in the same coordinates, or None.
        title: the title of the panel, or None.

    Attributes:
        ax_, figure_: what was drawn on.
        scatters_: one scatter a class.

    Raises:
        ValueError: for shapes that do not fit, labels other than 0, 1 and 2, NaN, or another number of names.

    Examples:
        >>> import keras_ls as kls
        >>> points = [[0.0, 2.0], [1.0, 0.0], [-1.0, 0.0], [-1.2, 0.0]]
        >>> display = kls.plots.ProjectionDisplay(points, [2, 1, 0, 0], ["plane", "car", "bird"]).plot()
        >>> [len(scatter.get_offsets()) for scatter in display.scatters_]
        [2, 1, 1]

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 2, 2019.
    """

    def __init__(
        self,
        points: Tensor,
        labels: Tensor,
        class_names: Sequence[str],
        templates: Tensor | None = None,
        title: str | None = None,
    ):
        self.points = as_numbers("points", points, [None, 2])
        check_finite("points", self.points)
        if not len(self.points):
            raise ValueError("Expected at least one point. Received: none. Do examples of the three classes occur?")
        labels = as_numbers("labels", labels, [len(self.points)])
        if not np.isin(labels, (0, 1, 2)).all():
            wrong = labels[~np.isin(labels, (0, 1, 2))][0]
            raise ValueError(
                f"Expected `labels` 0, 1 and 2, the places of the class names. Received: {wrong:g}. "
                "`from_features` takes the labels of the data set."
            )
        self.labels = labels.astype(int)
        self.class_names = _three("class_names", class_names)
        self.templates = None
        if templates is not None:
            self.templates = as_numbers("templates", templates, [3, 2])
            check_finite("templates", self.templates)
        self.title = None if title is None else str(title)

    @classmethod
    def from_features(
        cls,
        features: Tensor,
        labels: Tensor,
        templates: Tensor,
        class_names: Sequence[str] | None = None,
        classes: Sequence[int] | None = None,
        title: str | None = None,
        ax: Axes | None = None,
    ) -> "ProjectionDisplay":
        """Projects penultimate activations onto the plane of three classes' templates, and draws them.

        Args:
            features: `[N, D]` penultimate activations; those of other classes are left out.
            labels: `[N]`, the class of each.
            templates: `[3, D]`, the columns of the last layer's kernel for the three classes.
            class_names: three names; the labels themselves by default.
            classes: the labels of the three classes, in the order of the templates; by default the three that occur,
                ascending.
            title: the title of the panel.
            ax: matplotlib axes; None for a figure of its own.

        Returns:
            The display, drawn.

        Raises:
            ValueError: for shapes that do not fit, templates on one line, NaN, or other than three classes.

        Examples:
            The plane of three templates at height 5; the height of a feature is lost.

            >>> import keras_ls as kls
            >>> templates = [[0.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 3.0, 5.0]]
            >>> features = [[1.0, 1.0, 7.0], [2.0, 1.0, 7.0], [1.0, 4.0, 7.0]]
            >>> display = kls.plots.ProjectionDisplay.from_features(features, [2, 4, 7], templates)
            >>> display.points.tolist(), display.class_names
            ([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], ['2', '4', '7'])
        """
        origin, basis = class_plane(templates)
        points = concrete(project(features, origin, basis))
        labels = np.asarray(concrete(labels) if hasattr(labels, "shape") else labels)
        if labels.shape != points.shape[:1]:
            raise ValueError(f"Expected `labels` [{len(points)}], one a feature. Received: shape {list(labels.shape)}.")
        if classes is None:
            classes = np.unique(labels).tolist()
            if len(classes) != 3:
                raise ValueError(
                    f"Expected labels of exactly three classes. Received: {len(classes)} ({classes[:10]}). "
                    "Name the three with `classes`."
                )
        occurring = np.unique(labels).tolist()
        classes = [checked_choice("class name", name, occurring) for name in _three("classes", classes, text=False)]
        kept = np.isin(labels, classes)
        place = np.argmax(labels[kept, None] == np.asarray(classes), axis=1)
        names = classes if class_names is None else class_names
        return cls(points[kept], place, names, concrete(project(templates, origin, basis)), title).plot(ax)

    @property
    def limits(self) -> tuple[float, float, float, float]:
        """`(left, right, bottom, top)` of a square that holds points and templates, with a margin of 6 %."""
        return self.common_limits([self])

    @staticmethod
    def common_limits(displays: Sequence["ProjectionDisplay"]) -> tuple[float, float, float, float]:
        """The limits that panels of several displays can share, for `plot(limits=...)`.

        Examples:
            >>> import keras_ls as kls
            >>> near = kls.plots.ProjectionDisplay([[0.0, 0.0], [1.0, 1.0]], [0, 1], ["a", "b", "c"])
            >>> far = kls.plots.ProjectionDisplay([[100.0, 50.0]], [2], ["a", "b", "c"])
            >>> [round(float(limit)) for limit in kls.plots.ProjectionDisplay.common_limits([near, far])]
            [-6, 106, -31, 81]
        """
        clouds = [cloud for d in displays for cloud in (d.points, d.templates) if cloud is not None]
        low, high = np.min([c.min(axis=0) for c in clouds], axis=0), np.max([c.max(axis=0) for c in clouds], axis=0)
        center, half = (low + high) / 2, 0.56 * (high - low).max() or 1.0
        return (center[0] - half, center[0] + half, center[1] - half, center[1] + half)

    def plot(
        self, ax: Axes | None = None, limits: Sequence[float] | None = None, *, legend: bool = True
    ) -> "ProjectionDisplay":
        """Draws the panel.

        Args:
            ax: matplotlib axes; None for a figure of its own, of a column's width.
            limits: `(left, right, bottom, top)`; by default the panel's own. `common_limits` makes panels comparable.
            legend: whether to draw the legend: below the panel in a figure of its own, else inside it. For panels side
                by side, `figure.legend(*display.ax_.get_legend_handles_labels())` makes one for all.

        Returns:
            The display, with `ax_`, `figure_` and `scatters_`.

        Raises:
            ValueError: for limits that are not four ascending numbers.
        """
        limits = as_numbers("limits", self.limits if limits is None else limits, [4])
        if not (limits[0] < limits[1] and limits[2] < limits[3]):
            raise ValueError(f"Expected `limits` (left, right, bottom, top), ascending. Received: {limits.tolist()}.")
        own = ax is None
        ax = self._draw_on(ax, height=3.6)
        self.scatters_ = [
            ax.scatter(*self.points[self.labels == k].T, s=14, linewidth=0.6, alpha=0.75, label=name, **style)
            for k, (name, style) in enumerate(zip(self.class_names, STYLES))
        ]
        if self.templates is not None:
            self._draw_templates(ax)
        label_axes(ax, "plane axis 1", "plane axis 2", self.title)
        ax.set(xlim=limits[:2], ylim=limits[2:])
        ax.set_aspect("equal", adjustable="box")
        if legend:
            add_legend(ax, own, ncols=2)
        return self

    def _draw_templates(self, ax):
        around = np.vstack([self.templates, self.templates[:1]])
        ax.plot(*around.T, color=INK, lw=0.7)
        ax.plot(*self.templates.T, "X", color=INK, mec="white", mew=0.7, ms=7, label="templates $w_1$, $w_2$, $w_3$")
        outward = self.templates - self.templates.mean(axis=0)
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
        for k, (template, direction) in enumerate(zip(self.templates, outward), 1):
            ax.annotate(
                f"$w_{k}$",
                template,
                direction * (11, 9),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=LABEL_SIZE,
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as JSON takes them."""
        arrays = {key: to_plain(getattr(self, key)) for key in ("points", "labels", "templates")}
        return {"display": type(self).__name__, **arrays, "class_names": self.class_names, "title": self.title}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ProjectionDisplay":
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        required = ("points", "labels", "class_names")
        return cls(**checked_saved(cls.__name__, data, required, optional=["templates", "title"]))


def _three(name, values, text=True):
    values = list(values)
    if len(values) != 3 or len(set(values)) != 3:
        raise ValueError(f"Expected `{name}` to be three different ones. Received: {values!r}.")
    return [str(value) for value in values] if text else values
