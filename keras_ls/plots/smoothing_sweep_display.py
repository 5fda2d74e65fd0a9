"""Accuracy against effective smoothing, for several ways of training."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from keras_ls.ops._checks import checked_choice
from keras_ls.plots.canvas import (
    BLUE,
    GREEN,
    INK,
    MIDTONE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    add_legend,
    label_axes,
)
from keras_ls.plots.display import Display
from keras_ls.plots.label_placement import place_labels
from keras_ls.plots.saved_data import as_numbers, check_finite, checked_saved, to_plain

STYLES = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILION, "marker": "s", "linestyle": "--", "markerfacecolor": "white"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": INK, "marker": "D", "linestyle": ":", "markerfacecolor": "white"},
    {"color": PURPLE, "marker": "v", "linestyle": "-"},
    {"color": ORANGE, "marker": "P", "linestyle": "--"},
    {"color": SKY, "marker": "X", "linestyle": "-."},
    {"color": MIDTONE, "marker": "*", "linestyle": ":"},
)
KEYS = ("label", "gamma", "accuracy")


class SmoothingSweepDisplay(Display):
    """Lines of accuracy against effective smoothing γ, one a way of training, with intervals and named points.

    The paper's figure 5. The points of a curve are joined in the order given, which need not be that of γ.

    Args:
        curves: dictionaries of "label"; "gamma" `[P]`; "accuracy" `[P]`; and, if known, "interval" `[P]`, the
            half-widths of intervals around the accuracies, and "points" `[P]`, names such as "T=2".
        xlabel: what γ is.
        ylabel: what accuracy is.

    Attributes:
        ax_, figure_: what was drawn on.
        lines_: one line a curve.

    Raises:
        ValueError: for no curves, missing or unknown keys, lengths that differ, or values that are not finite.

    Examples:
        >>> import keras_ls as kls
        >>> student = {"label": "student", "gamma": [0.0, 0.15], "accuracy": [0.86, 0.87], "points": ["T=1", "T=2"]}
        >>> display = kls.plots.SmoothingSweepDisplay([student]).plot()
        >>> display.lines_[0].get_xdata().tolist()
        [0.0, 0.15]

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 4, 2019.
    """

    def __init__(
        self, curves: Iterable[dict[str, Any]], xlabel: str = "effective smoothing γ", ylabel: str = "accuracy"
    ):
        if isinstance(curves, dict) or not hasattr(curves, "__iter__"):
            raise ValueError(f"Expected `curves` to be a list of dictionaries. Received: {type(curves).__name__}.")
        self.curves = [_checked_curve(f"curves[{i}]", curve) for i, curve in enumerate(curves)]
        if not self.curves:
            raise ValueError("Expected `curves` to hold at least one curve. Received: none.")
        self.xlabel, self.ylabel = xlabel, ylabel

    def plot(
        self, ax: Axes | None = None, *, xscale: Literal["linear", "symlog"] = "linear"
    ) -> "SmoothingSweepDisplay":
        """Draws the curves.

        Args:
            ax: matplotlib axes; None for a figure of its own, of a column's width.
            xscale: "linear", or "symlog": linear from 0 to the smallest positive γ, logarithmic above.

        Returns:
            The display, with `ax_`, `figure_` and `lines_`.

        Raises:
            ValueError: for another scale.
        """
        checked_choice("xscale", xscale, ["linear", "symlog"])
        own = ax is None
        ax = self._draw_on(ax, height=3.2)
        gamma = np.concatenate([curve["gamma"] for curve in self.curves])
        if xscale == "symlog" and (gamma > 0).any():
            ax.set_xscale("symlog", linthresh=gamma[gamma > 0].min())
        self.lines_ = []
        for i, curve in enumerate(self.curves):
            style = STYLES[i % len(STYLES)]
            bars = ax.errorbar(
                curve["gamma"],
                curve["accuracy"],
                curve["interval"],
                label=curve["label"],
                lw=1.1,
                ms=4,
                capsize=2,
                elinewidth=0.8,
                zorder=2 + i / 10,
                **style,
            )
            self.lines_.append(bars.lines[0])
        label_axes(ax, self.xlabel, self.ylabel)
        ax.margins(x=0.08, y=0.12)
        if own:  # laid out before names are placed
            add_legend(ax, own)
            self.figure_.draw_without_rendering()
        place_labels(
            ax,
            anchors=np.concatenate([np.stack([c["gamma"], c["accuracy"]], axis=-1) for c in self.curves]),
            texts=[name for c in self.curves for name in c["points"] or [""] * len(c["gamma"])],
            colors=[line.get_color() for line in self.lines_ for _ in line.get_xdata()],
        )
        if not own:
            add_legend(ax, own)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as JSON takes them."""
        curves = [{key: v if key in ("label", "points") else to_plain(v) for key, v in c.items()} for c in self.curves]
        return {"display": type(self).__name__, "curves": curves, "xlabel": self.xlabel, "ylabel": self.ylabel}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SmoothingSweepDisplay":
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        return cls(**checked_saved(cls.__name__, data, ["curves"], optional=["xlabel", "ylabel"]))


def _checked_curve(name, curve):
    if not isinstance(curve, dict) or not set(KEYS) <= set(curve) <= {*KEYS, "interval", "points"}:
        had = sorted(map(str, curve)) if isinstance(curve, dict) else type(curve).__name__
        raise ValueError(
            f"Expected `{name}` to be a dictionary of {', '.join(KEYS)} and, if known, interval and points. "
            f"Received: {had}."
        )
    gamma = as_numbers(f"{name}['gamma']", curve["gamma"], [None])
    checked = {"label": str(curve["label"]), "gamma": gamma}
    for key in ("accuracy", "interval"):
        value = curve.get(key)
        known = value is not None or key == "accuracy"
        checked[key] = as_numbers(f"{name}[{key!r}]", value, [len(gamma)]) if known else None
    for key in ("gamma", "accuracy", "interval"):
        if checked[key] is not None:
            check_finite(f"{name}[{key!r}]", checked[key])
    if checked["interval"] is not None and (checked["interval"] < 0).any():
        raise ValueError(f"Expected `{name}['interval']` to be half-widths, 0 or more. Received: {curve['interval']}.")
    points = curve.get("points")
    if points is not None and (isinstance(points, str) or len(points) != len(gamma)):
        raise ValueError(f"Expected `{name}['points']` to be {len(gamma)} names. Received: {points!r}.")
    checked["points"] = None if points is None else [str(point) for point in points]
    return checked
