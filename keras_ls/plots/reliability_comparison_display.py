"""The reliability of several models in one diagram."""

from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.axes import Axes

from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._types import Tensor
from keras_ls.plots.canvas import BLUE, INK, ORANGE, SKY, VERMILION, add_legend, own_or_given_row
from keras_ls.plots.display import Display
from keras_ls.plots.reliability_bins import bins_of_predictions
from keras_ls.plots.reliability_display import ReliabilityDisplay
from keras_ls.plots.reliability_drawing import add_headline, add_strip, draw_dots, draw_frame
from keras_ls.plots.saved_data import as_displays, checked_saved

LEGEND_HALF = 21  # letters that fit in half a column's width
# dark and light in turn, and of no two the same dashes and marker
STYLES = (
    {"color": INK, "linestyle": "-", "marker": "o"},
    {"color": ORANGE, "linestyle": "--", "marker": "s", "markerfacecolor": "white"},
    {"color": BLUE, "linestyle": "-.", "marker": "^"},
    {"color": SKY, "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "D", "markerfacecolor": "white"},
    {"color": VERMILION, "linestyle": ":", "marker": "v"},
)


class ReliabilityComparisonDisplay(Display):
    """Reliability diagram of several models: a line each of accuracy over mean confidence.

    The points of a line are its bins that are not empty, with the 95 % Jeffreys intervals of `ReliabilityDisplay`; the
    strip below has the share of the examples in each bin, and the legend each model's ECE. Lines differ in dashes,
    markers and lightness, so that they are told apart in grey.

    Args:
        displays: 1 to 5 `ReliabilityDisplay`s, or the dictionaries that their `to_dict` returns, each with a name of
            its own.
        title: above the axes, or None.

    Attributes:
        ax_, figure_: what was drawn on.
        strip_: the axes of the strip.
        lines_: one line a model.

    Raises:
        ValueError: for none or too many displays, and for names that are missing or the same.

    Examples:
        >>> import keras_ls as kls
        >>> edges = [0, 0.5, 1]
        >>> hard = kls.plots.ReliabilityDisplay([4, 4], [0.25, 0.5], [0.4, 0.9], edges, name="hard")
        >>> smoothed = kls.plots.ReliabilityDisplay([0, 8], [None, 0.75], [None, 0.8], edges, name="smoothed")
        >>> display = kls.plots.ReliabilityComparisonDisplay([hard, smoothed]).plot()
        >>> display.ax_.get_legend_handles_labels()[1]
        ['hard, ECE 0.275', 'smoothed, ECE 0.050']


    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """

    def __init__(self, displays: Sequence[ReliabilityDisplay | dict[str, Any]], title: str | None = None):
        self.displays = as_displays("displays", displays, ReliabilityDisplay, len(STYLES))
        names = [display.name for display in self.displays]
        if None in names or len(set(names)) < len(names):
            raise ValueError(f"Expected `displays` with a `name` each, all different. Received: {names}.")
        self.title = None if title is None else str(title)

    @classmethod
    def from_predictions(
        cls,
        predictions: dict[str, tuple[Tensor, ...]],
        *,
        num_bins: int = 15,
        binning: Literal["uniform", "quantile"] = "uniform",
        closed: Literal["left", "right"] = "left",
        from_logits: bool = True,
        title: str | None = None,
        axis: int = -1,
        ax: Axes | None = None,
    ) -> "ReliabilityComparisonDisplay":
        """Bins the predictions of each model as `ReliabilityDisplay.from_predictions` does, and draws them together.

        Args:
            predictions: a dictionary from names to `(labels, logits)` or `(labels, logits, sample_weight)`: labels
                integers `[N]` or dense `[N, K]`, logits `[N, K]`, or both `[N]` for P(y=1). Weights count as for a
                single diagram.
            num_bins: B ≥ 1.
            binning: "uniform" or "quantile".
            closed: the side on which a bin includes its edge, "left" or "right".
            from_logits: whether softmax (or sigmoid) is still to be applied.
            title: above the axes.
            axis: the class axis of the logits, and of dense labels.
            ax: matplotlib axes; None for a figure of its own.

        Returns:
            The display, drawn.

        Raises:
            ValueError: for other than a dictionary of two or three arrays each, and what a single diagram raises.

        Examples:
            >>> import keras_ls as kls
            >>> y, p, softer = [0, 1], [[0.9, 0.1], [0.8, 0.2]], [[0.7, 0.3], [0.6, 0.4]]
            >>> models = {"sharp": (y, p), "soft": (y, softer)}
            >>> display = kls.plots.ReliabilityComparisonDisplay.from_predictions(models, num_bins=2, from_logits=False)
            >>> {name: round(rows[1]["confidence"], 6) for name, rows in display.table.items()}
            {'sharp': 0.85, 'soft': 0.65}
        """
        if not isinstance(predictions, dict):
            raise ValueError(
                "Expected `predictions` to be a dictionary from names to (labels, logits). "
                f"Received: {type(predictions).__name__}."
            )
        check, displays = LogitsCheck("ReliabilityComparisonDisplay.from_predictions"), []
        for name, arrays in predictions.items():
            if not isinstance(arrays, (tuple, list)) or len(arrays) not in (2, 3):
                size = f" of {len(arrays)}" if isinstance(arrays, (tuple, list)) else ""
                raise ValueError(
                    f"Expected `predictions[{name!r}]` to be (labels, logits) or (labels, logits, sample_weight). "
                    f"Received: {type(arrays).__name__}{size}."
                )
            labels, logits, weight = (*arrays, None)[:3]
            if from_logits:
                check.see(logits, axis)
            bins = bins_of_predictions(labels, logits, num_bins, binning, closed, from_logits, weight, axis)
            displays.append(ReliabilityDisplay(*bins, name=name))
        return cls(displays, title).plot(ax)

    @property
    def table(self) -> dict[str, list[dict[str, float | None]]]:
        """The table of `ReliabilityDisplay` by the name of each model."""
        return {display.name: display.table for display in self.displays}

    def plot(
        self, ax: Axes | None = None, *, xlabel: str = "confidence", ylabel: str = "accuracy", legend: bool = True
    ) -> "ReliabilityComparisonDisplay":
        """Draws the models over one another.

        Args:
            ax: matplotlib axes; None for a figure of its own, of a column's width.
            xlabel: what is predicted.
            ylabel: what happened.
            legend: whether to draw the legend of names and ECEs.

        Returns:
            The display, with `ax_`, `figure_`, `strip_` and `lines_`.
        """
        own = ax is None
        labels = [f"{display.name}, ECE {display.calibration_error:.3f}" for display in self.displays]
        columns = 2 if max(map(len, labels)) <= LEGEND_HALF else 1
        ax = self._draw_on(ax, height=3.1 + 0.17 * -(-len(labels) // columns))
        shares = [display.weight / display.weight.sum() for display in self.displays]
        self.lines_ = []
        for display, label, style in zip(self.displays, labels, STYLES):
            bars = draw_dots(ax, display, fmt="", lw=1.1, ms=3.5, elinewidth=0.7, label=label, **style)
            self.lines_.append(bars.lines[0])
        draw_frame(ax, xlabel, ylabel, self.title)
        self.strip_ = strip = add_strip(ax, max(share.max() for share in shares))
        for display, share, style in zip(self.displays, shares, STYLES):
            strip.stairs(share, display.edges, color=style["color"], linestyle=style["linestyle"], linewidth=1)
        if legend and own:
            add_legend(ax, own, columns)
        elif legend:  # not where it hides the strip
            add_headline(ax, None, self.displays, handlelength=3)
        return self

    def plot_panels(
        self, axes: Sequence[Axes] | None = None, *, xlabel: str = "confidence", ylabel: str = "accuracy"
    ) -> list[Axes]:
        """Draws each model in a panel of its own, side by side, with shared axes.

        Args:
            axes: one matplotlib axes a model; None for a figure of their own.
            xlabel: what is predicted.
            ylabel: what happened.

        Returns:
            The list of axes.

        Raises:
            ValueError: for another number of axes.
        """
        axes = own_or_given_row(axes, len(self.displays), width=2.6, height=3)
        for i, (display, ax) in enumerate(zip(self.displays, axes)):
            display.plot(ax, xlabel=xlabel, ylabel=ylabel if i == 0 else "", legend=i == 0)
        return axes

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as JSON takes them."""
        displays = [display.to_dict() for display in self.displays]
        return {"display": type(self).__name__, "displays": displays, "title": self.title}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ReliabilityComparisonDisplay":
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        return cls(**checked_saved(cls.__name__, data, ["displays"], optional=["title"]))
