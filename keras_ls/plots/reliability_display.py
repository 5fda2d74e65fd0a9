"""The reliability diagram: is a model right as often as it says?"""

import numpy as np
from matplotlib.ticker import MaxNLocator

from keras_ls.ops.checks import check_unit_interval
from keras_ls.plots.canvas import INK, LABEL_SIZE, MIDTONE, TICK_SIZE, label_axes, own_or_given
from keras_ls.plots.reliability_bins import bins_of_predictions, jeffreys_interval
from keras_ls.plots.saved_data import as_numbers, check_finite, checked_saved, to_plain

STRIP = 0.24  # height of the strip under the bars, in units of accuracy
NARROWEST = 0.006  # equal confidences share a quantile bin of no width: drawn this wide to be seen
TOP = 1.02  # of both axes: dots at 1 are whole

ACCURACY = {"facecolor": "#A6CEE3", "edgecolor": INK, "linewidth": 0.6}
OVER = {"facecolor": "#FDEBE0", "edgecolor": "#C04A00", "linewidth": 0.8, "hatch": "/////"}
UNDER = {"facecolor": "#F4F8FC", "edgecolor": "#08306B", "linewidth": 0.8, "hatch": "....."}


class ReliabilityDisplay:
    """Reliability diagram: accuracy over bins of confidence, with its gap to the mean confidence.

    Each bar is as high as the accuracy of its bin; a hatched bar spans the gap from there to the mean confidence. The
    dot stands at (mean confidence, accuracy), so that its height over or under the diagonal is the gap too, and carries
    the 95 % Jeffreys interval of the accuracy, `Beta(½ + hits, ½ + misses)`. Empty bins stay blank. The strip below has
    the share of the examples in each bin, and the legend `ECE = Σ_m n_m/n |acc_m - conf_m|`.

    Args:
        weight: `[B]`, the number (or total weight) of the examples in each bin.
        accuracy: `[B]`, their mean accuracy; NaN where a bin is empty.
        confidence: `[B]`, their mean confidence; NaN where a bin is empty.
        edges: `[B + 1]`, ascending from bin to bin, in [0, 1].
        name: the title of the panel, or None.

    Attributes:
        ax_, figure_: what was drawn on.
        strip_: the axes of the strip.
        bars_: the bars of the accuracies, one a bin that is not empty.
        gaps_: the bars of the gaps, by "over-confident" and "under-confident" where there are such bins.

    Raises:
        ValueError: for shapes that do not fit, values out of range, or nothing but empty bins.

    Examples:
        >>> import keras_ls as kls
        >>> display = kls.plots.ReliabilityDisplay([4, 0, 6], [0.25, None, 0.5], [0.2, None, 0.9], [0, 0.4, 0.6, 1])
        >>> round(display.calibration_error, 6)  # (4 · .05 + 6 · .4) / 10
        0.26
        >>> [round(float(bar.get_height()), 2) for bar in display.plot().bars_]
        [0.25, 0.5]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017. Interval: Brown, Cai and DasGupta, "Interval
        Estimation for a Binomial Proportion", 2001.
    """

    def __init__(self, weight, accuracy, confidence, edges, name=None):
        self.weight = as_numbers("weight", weight, [None])
        num_bins = len(self.weight)
        self.accuracy = as_numbers("accuracy", accuracy, [num_bins])
        self.confidence = as_numbers("confidence", confidence, [num_bins])
        self.edges = as_numbers("edges", edges, [num_bins + 1])
        self.name = None if name is None else str(name)
        check_finite("weight", self.weight)
        if not (self.weight >= 0).all() or self.weight.sum() == 0:
            raise ValueError(
                "Expected `weight` without negative numbers and not 0 everywhere. Received: "
                f"{self.weight.tolist()}. A diagram needs at least one example."
            )
        for key, values in (("accuracy", self.accuracy), ("confidence", self.confidence)):
            values[self.weight == 0] = np.nan
            check_unit_interval(f"`{key}` of every bin with weight", values[self.weight > 0])
        check_unit_interval("`edges`", self.edges)
        if (np.diff(self.edges) < 0).any():
            raise ValueError(f"Expected `edges` in ascending order. Received: {self.edges.tolist()}.")

    @classmethod
    def from_predictions(
        cls,
        labels,
        logits,
        *,
        num_bins=15,
        binning="uniform",
        closed="left",
        from_logits=True,
        sample_weight=None,
        name=None,
        ax=None,
    ):
        """Bins predictions as `keras_ls.ops.calibration_error` does, and draws their reliability diagram.

        Args:
            labels: integers `[N]` or dense targets `[N, K]`; `[N]` in [0, 1] for P(y=1).
            logits: `[N, K]` for the top label, `[N]` for P(y=1); probabilities with `from_logits=False`.
            num_bins: B ≥ 1.
            binning: "uniform" (equal width, over [0, 1]) or "quantile" (equal mass, from the lowest confidence to the
                highest).
            closed: the side on which a bin includes its edge, "left" or "right".
            from_logits: whether softmax (or sigmoid) is still to be applied.
            sample_weight: `[N]`, or None. An integer weight counts as that many examples.
            name: the title of the panel.
            ax: matplotlib axes; None for a figure of its own.

        Returns:
            The display, drawn.

        Raises:
            ValueError: for unknown options, shapes or labels that do not fit, NaN, no examples, or "probabilities"
                outside [0, 1].

        Examples:
            Confidences .9, .9, .8 (one wrong) and .6 (right) in the two halves of [0, 1]:

            >>> import keras_ls as kls
            >>> p = [[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]
            >>> display = kls.plots.ReliabilityDisplay.from_predictions([0, 1, 0, 1], p, num_bins=2, from_logits=False)
            >>> [(row["upper"], row["weight"], row["accuracy"]) for row in display.table]
            [(0.5, 0.0, None), (1.0, 4.0, 0.75)]
        """
        bins = bins_of_predictions(labels, logits, num_bins, binning, closed, from_logits, sample_weight)
        return cls(*bins, name=name).plot(ax)

    @property
    def calibration_error(self):
        """ECE: `Σ_m n_m/n |acc_m - conf_m|`, in [0, 1]."""
        return float(np.nansum(self.weight * np.abs(self.accuracy - self.confidence)) / self.weight.sum())

    @property
    def interval(self):
        """`[2, B]`: the 95 % Jeffreys interval of each accuracy, its weight taken for a count; NaN for an empty bin."""
        return jeffreys_interval(self.weight, self.accuracy)

    @property
    def table(self):
        """One dictionary a bin: lower, upper, weight, accuracy, confidence, gap (above 0: over-confident), or None."""
        columns = (
            self.edges[:-1],
            self.edges[1:],
            self.weight,
            self.accuracy,
            self.confidence,
            self.confidence - self.accuracy,
        )
        keys = ("lower", "upper", "weight", "accuracy", "confidence", "gap")
        return [dict(zip(keys, row)) for row in to_plain(np.stack(columns, axis=-1))]

    def plot(self, ax=None, *, xlabel="confidence", ylabel="accuracy", legend=True):
        """Draws the diagram.

        Args:
            ax: matplotlib axes; None for a figure of its own, of a column's width.
            xlabel: what is predicted.
            ylabel: what happened.
            legend: False leaves only ECE and n: one legend is enough for panels side by side.

        Returns:
            The display, with `ax_`, `figure_`, `strip_`, `bars_` and `gaps_`.
        """
        self.ax_ = ax = own_or_given(ax, height=3.2)
        self.figure_ = ax.figure
        full = self.weight > 0
        accuracy, confidence = self.accuracy[full], self.confidence[full]
        width = np.maximum(np.diff(self.edges)[full], NARROWEST)
        center = np.clip((self.edges[:-1] + self.edges[1:])[full] / 2, width / 2, 1 - width / 2)

        self.bars_ = ax.bar(center, accuracy, width, label=ylabel, **ACCURACY)
        self.gaps_ = {}
        for label, some, ink in (
            ("over-confident", confidence > accuracy, OVER),
            ("under-confident", confidence < accuracy, UNDER),
        ):
            if some.any():
                low, high = np.minimum(accuracy, confidence)[some], np.maximum(accuracy, confidence)[some]
                self.gaps_[label] = ax.bar(center[some], high - low, width[some], low, label=label, **ink)
        reach = np.abs(self.interval[:, full] - accuracy)
        ax.errorbar(confidence, accuracy, reach, fmt="o", color=INK, ms=2.5, lw=0.9, capsize=1.5, label="95 % interval")
        ax.plot([0, 1], [0, 1], "--", color=INK, lw=0.9, zorder=2.5)
        ax.axhline(0, color=INK, lw=0.8)

        height = STRIP + TOP
        label_axes(ax, xlabel, ylabel, self.name)
        ax.yaxis.label.set_y((STRIP + 0.5) / height)
        ax.set(xlim=(0, TOP), ylim=(-STRIP, TOP), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
        self.strip_ = self._draw_strip(ax, center, width, 0.8 * STRIP / height)
        # over-confident bars leave the upper left free; under-confident ones have nothing but bar at the lower right
        over = np.nansum(self.weight * (self.confidence - self.accuracy)) >= 0
        n = self.weight.sum()
        ax.legend(
            *(ax.get_legend_handles_labels() if legend else ([], [])),
            title=f"ECE = {self.calibration_error:.3f}\nn = {n:,.{0 if n % 1 == 0 else 1}f}",
            loc="upper left" if over else "lower right",
            bbox_to_anchor=(0, 0, 1, 1) if over else (0, STRIP / height, 1, 1),
            alignment="left",
            fontsize=TICK_SIZE,
            title_fontsize=LABEL_SIZE,
            frameon=not over,
            edgecolor="none",
            framealpha=0.9,
            borderpad=0.2,
            borderaxespad=0.2,
            handlelength=1.3,
            handletextpad=0.5,
            labelspacing=0.2,
        )
        return self

    def _draw_strip(self, ax, center, width, height):
        share = self.weight[self.weight > 0] / self.weight.sum()
        strip = ax.inset_axes([0, 0, 1, height], sharex=ax)
        strip.bar(center, share, width, facecolor=MIDTONE, edgecolor=INK, linewidth=0.6)
        strip.set_ylim(0, 1.05 * share.max())
        strip.yaxis.set_major_locator(MaxNLocator(nbins=2, steps=[1, 2, 5, 10], prune="both"))
        strip.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        label_axes(strip, None, "share")
        strip.tick_params(axis="x", bottom=False, labelbottom=False)
        strip.patch.set_visible(False)
        return strip

    def to_dict(self):
        """Returns the data as JSON takes them: lists, with None for NaN."""
        arrays = {key: to_plain(getattr(self, key)) for key in ("weight", "accuracy", "confidence", "edges")}
        return {"display": type(self).__name__, **arrays, "name": self.name}

    @classmethod
    def from_dict(cls, data):
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        required = ("weight", "accuracy", "confidence", "edges")
        return cls(**checked_saved(cls.__name__, data, required, optional=["name"]))
