"""One measure of several methods, with intervals, before and after something is done to them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from keras_ls.plots.canvas import BLUE, MIDTONE, TICK_SIZE, VERMILION, add_legend, label_axes
from keras_ls.plots.display import Display
from keras_ls.plots.saved_data import as_numbers, check_finite, checked_saved, to_plain

STYLES = (
    {"color": BLUE, "marker": "o"},
    {"color": VERMILION, "marker": "s", "markerfacecolor": "white"},
)
KEYS = ("label", "mean", "interval")


class ComparisonDisplay(Display):
    """A row a method, a dot at its mean with its interval; one or two series, such as before and after a temperature.

    The first method is the one to compare with: a dotted line goes down from its dot.

    Args:
        methods: names, top to bottom.
        series: one or two dictionaries of "label", "mean" `[M]` and "interval" `[M]` (half-widths; None if unknown).
        xlabel: what is measured.
        title: above the axes, or None.

    Attributes:
        ax_, figure_: what was drawn on.
        dots_: one line of dots a series.

    Raises:
        ValueError: for no methods, more than two series, missing or unknown keys, lengths that differ, or means that
            are not finite.

    Examples:
        >>> import keras_ls as kls
        >>> series = [{"label": "as trained", "mean": [0.2, 0.04], "interval": [0.01, 0.01]}]
        >>> display = kls.plots.ComparisonDisplay(["hard", "smoothed"], series, xlabel="ECE").plot()
        >>> display.dots_[0].get_xdata().tolist()
        [0.2, 0.04]
    """

    def __init__(self, methods: Sequence[str], series: Sequence[dict[str, Any]], xlabel: str, title: str | None = None):
        self.methods = [str(method) for method in methods]
        if not self.methods:
            raise ValueError("Expected `methods` to hold at least one name. Received: none.")
        if isinstance(series, dict) or not 1 <= len(series) <= len(STYLES):
            raise ValueError(
                f"Expected `series` to be a list of 1 or {len(STYLES)} dictionaries. Received: {series!r}."
            )
        self.series = [_checked_series(f"series[{i}]", one, len(self.methods)) for i, one in enumerate(series)]
        self.xlabel, self.title = str(xlabel), None if title is None else str(title)

    def plot(self, ax: Axes | None = None, *, names: bool = True, legend: bool = True) -> "ComparisonDisplay":
        """Draws the dots.

        Args:
            ax: matplotlib axes; None for a figure of its own, of a column's width.
            names: whether to write the methods beside their rows.
            legend: whether to draw a legend, where there are two series.

        Returns:
            The display, with `ax_`, `figure_` and `dots_`.
        """
        own = ax is None
        ax = self._draw_on(ax, height=0.8 + 0.22 * len(self.methods))
        rows = np.arange(len(self.methods))
        self.dots_ = []
        for i, one in enumerate(self.series):
            shift = 0.0 if len(self.series) == 1 else 0.28 * (i - 0.5)  # side by side within a row
            style = {**STYLES[i], "linestyle": "none", "ms": 3.5, "capsize": 1.5, "elinewidth": 0.9, "zorder": 3}
            bars = ax.errorbar(one["mean"], rows + shift, xerr=one["interval"], label=one["label"], **style)
            self.dots_.append(bars.lines[0])
            ax.axvline(one["mean"][0], color=STYLES[i]["color"], lw=0.6, ls=":", zorder=1)
        label_axes(ax, self.xlabel, "", self.title)
        ax.set_yticks(rows, self.methods if names else [""] * len(rows), fontsize=TICK_SIZE)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.grid(axis="y", color=MIDTONE, alpha=0.25, lw=0.5)
        ax.locator_params(axis="x", nbins=4)
        ax.margins(x=0.08)
        if legend and len(self.series) > 1:
            add_legend(ax, own, ncols=2)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as JSON takes them."""
        series = [{key: v if key == "label" else to_plain(v) for key, v in one.items()} for one in self.series]
        return {
            "display": type(self).__name__,
            "methods": self.methods,
            "series": series,
            "xlabel": self.xlabel,
            "title": self.title,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ComparisonDisplay":
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        return cls(**checked_saved(cls.__name__, data, ["methods", "series", "xlabel"], optional=["title"]))


def _checked_series(name, series, size):
    if not isinstance(series, dict) or set(series) != set(KEYS):
        had = sorted(map(str, series)) if isinstance(series, dict) else type(series).__name__
        raise ValueError(f"Expected `{name}` to be a dictionary of {', '.join(KEYS)}. Received: {had}.")
    checked = {"label": str(series["label"]), "mean": as_numbers(f"{name}['mean']", series["mean"], [size])}
    check_finite(f"{name}['mean']", checked["mean"])
    interval = series["interval"]
    checked["interval"] = None if interval is None else as_numbers(f"{name}['interval']", interval, [size])
    if checked["interval"] is not None and (checked["interval"] < 0).any():
        raise ValueError(f"Expected `{name}['interval']` to be half-widths, 0 or more. Received: {interval}.")
    return checked
