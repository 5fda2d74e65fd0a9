"""The reliability diagram: is a model right as often as it says?"""

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from keras_ls.ops._checks import check_unit_interval
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._types import Tensor
from keras_ls.ops.calibration import checked_calibration_options
from keras_ls.plots.display import Display
from keras_ls.plots.reliability_bins import (
    bins_of_examples,
    cells_of_examples,
    examples_of_predictions,
    jeffreys_interval,
)
from keras_ls.plots.reliability_drawing import (
    SHARES,
    add_headline,
    add_strip,
    draw_bars,
    draw_curve,
    draw_dots,
    draw_frame,
    places,
)
from keras_ls.plots.saved_data import as_numbers, check_finite, checked_saved, to_plain
from keras_ls.plots.smooth_reliability import CURVES, checked_curve, smooth_reliability

DENSITY_CELLS = 100


class ReliabilityDisplay(Display):
    """Reliability diagram: accuracy over bins of confidence, with its gap to the mean confidence.

    Each bar is as high as the accuracy of its bin; a hatched bar spans the gap from there to the mean confidence. The
    dot stands at (mean confidence, accuracy), so that its height over or under the diagonal is the gap too, and carries
    the 95 % Jeffreys interval of the accuracy, `Beta(½ + hits, ½ + misses)`. Empty bins stay blank. The strip below has
    the share of the examples in each bin, or in each of F finer cells with `density`. The legend has
    `ECE = Σ_m n_m/n |acc_m - conf_m|`. With `smooth`, a curve that needs no bins replaces the bars.

    Args:
        weight: `[B]`, the number of the examples in each bin; the intervals take it for a count.
        accuracy: `[B]`, their mean accuracy; NaN where a bin is empty.
        confidence: `[B]`, their mean confidence; NaN where a bin is empty.
        edges: `[B + 1]`, ascending from bin to bin, in [0, 1].
        name: the title of the panel, or None.
        density: `[F]`, the weight in each of F cells of equal width, or None.
        smooth: a dictionary, or None: "confidence", "accuracy", "low" and "high", `[G]`, the points of a smooth curve
            and its 95 % band (NaN where there are no examples, None for no band); "bandwidth" and "error", the
            smoothing and the smooth calibration error.

    Attributes:
        ax_, figure_: what was drawn on.
        strip_: the axes of the strip.
        bars_: the bars of the accuracies, one a bin that is not empty; None where a curve replaces them.
        gaps_: the bars of the gaps, by "over-confident" and "under-confident" where there are such bins.
        curve_, band_: the smooth curve and its band, or None.

    Raises:
        ValueError: for shapes that do not fit, values out of range, or nothing but empty bins.

    Examples:
        >>> import keras_ls as kls
        >>> display = kls.plots.ReliabilityDisplay([4, 0, 6], [0.25, None, 0.5], [0.2, None, 0.9], [0, 0.4, 0.6, 1])
        >>> round(display.calibration_error, 6)  # (4 · 0.05 + 6 · 0.4) / 10
        0.26
        >>> [round(float(bar.get_height()), 2) for bar in display.plot().bars_]
        [0.25, 0.5]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017. Interval: Brown, Cai and DasGupta, "Interval
        Estimation for a Binomial Proportion", 2001. Curve: Błasiok and Nakkiran, "Smooth ECE: Principled Reliability
        Diagrams via Kernel Smoothing", 2023.
    """

    def __init__(
        self,
        weight: Tensor,
        accuracy: Tensor,
        confidence: Tensor,
        edges: Tensor,
        name: str | None = None,
        density: Tensor | None = None,
        smooth: dict[str, Any] | None = None,
    ):
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
        self.density = None if density is None else as_numbers("density", density, [None])
        total = self.weight.sum()
        if density is not None and not ((self.density >= 0).all() and np.isclose(self.density.sum(), total)):
            raise ValueError(
                f"Expected `density` without negative numbers, with the sum of `weight`: {total:g}. "
                f"Received: a sum of {self.density.sum():g}. Count the same examples in both."
            )
        self.smooth = checked_curve(smooth)

    @classmethod
    def from_predictions(
        cls,
        labels: Tensor,
        logits: Tensor,
        *,
        num_bins: int = 15,
        binning: Literal["uniform", "quantile"] = "uniform",
        closed: Literal["left", "right"] = "left",
        from_logits: bool = True,
        sample_weight: Tensor | None = None,
        name: str | None = None,
        density: bool = False,
        smooth: bool = False,
        resamples: int = 500,
        seed: int = 0,
        axis: int = -1,
        ax: Axes | None = None,
    ) -> "ReliabilityDisplay":
        """Bins predictions as `keras_ls.ops.calibration_error` does, and draws their reliability diagram.

        Args:
            labels: integers `[N]` or dense targets `[N, K]`; `[N]` in [0, 1] for P(y=1).
            logits: `[N, K]` for the top label, `[N]` for P(y=1); probabilities with `from_logits=False`. Maps and
                sequences, `[N, ..., K]`, count as one example a place.
            num_bins: B ≥ 1.
            binning: "uniform" (equal width, over [0, 1]) or "quantile" (equal mass, from the lowest confidence to the
                highest).
            closed: the side on which a bin includes its edge, "left" or "right".
            from_logits: whether softmax (or sigmoid) is still to be applied.
            sample_weight: `[N]`, or None. An integer weight counts as that many examples. Where any is no whole number,
                the scale of the weights says nothing: they are made to sum to Kish's effective sample size
                `(Σ w)² / Σ w²`, which is the number of examples where all are equal.
            name: the title of the panel.
            density: whether to show the shares of 100 cells instead of those of the bins.
            smooth: whether to draw a smooth curve instead of bars. It is off the diagonal by the mean of accuracy less
                confidence around each confidence, under a Gaussian reflected at 0 and 1 whose bandwidth is the smooth
                calibration error (at least 0.005).
            resamples: of the curve's band: 95 % of the curves of as many bootstrap samples, at each confidence by
                itself and with the bandwidth held; 0 for none. Where all examples are right it has no width.
            seed: of the resamples.
            axis: the class axis of `logits`, and of dense labels.
            ax: matplotlib axes; None for a figure of its own.

        Returns:
            The display, drawn.

        Raises:
            ValueError: for unknown options, shapes or labels that do not fit, NaN, no examples, or "probabilities"
                outside [0, 1].

        Examples:
            Confidences 0.9, 0.9, 0.8 (one wrong) and 0.6 (right) in the two halves of [0, 1]:

            >>> import keras_ls as kls
            >>> p = [[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]
            >>> display = kls.plots.ReliabilityDisplay.from_predictions([0, 1, 0, 1], p, num_bins=2, from_logits=False)
            >>> [(row["upper"], row["weight"], row["accuracy"]) for row in display.table]
            [(0.5, 0.0, None), (1.0, 4.0, 0.75)]
        """
        checked_calibration_options(num_bins, binning, "l1", closed, False)
        if from_logits:
            LogitsCheck("ReliabilityDisplay.from_predictions").see(logits, axis)
        examples = examples_of_predictions(labels, logits, from_logits, sample_weight, axis)
        return cls(
            *bins_of_examples(*examples, num_bins, binning, closed),
            name=name,
            density=cells_of_examples(*examples, DENSITY_CELLS)[0] if density else None,
            smooth=smooth_reliability(*examples, resamples, seed) if smooth else None,
        ).plot(ax)

    @property
    def calibration_error(self) -> float:
        """ECE: `Σ_m n_m/n |acc_m - conf_m|`, in [0, 1]."""
        return float(np.nansum(self.weight * np.abs(self.accuracy - self.confidence)) / self.weight.sum())

    @property
    def interval(self) -> np.ndarray:
        """`[2, B]`: the 95 % Jeffreys interval of each accuracy, its weight taken for a count; NaN for an empty bin."""
        return jeffreys_interval(self.weight, self.accuracy)

    @property
    def table(self) -> list[dict[str, float | None]]:
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

    def plot(
        self,
        ax: Axes | None = None,
        *,
        xlabel: str = "confidence",
        ylabel: str = "accuracy",
        legend: bool = True,
        bars: bool | None = None,
    ) -> "ReliabilityDisplay":
        """Draws the diagram.

        Args:
            ax: matplotlib axes; None for a figure of its own, of a column's width.
            xlabel: what is predicted.
            ylabel: what happened.
            legend: False leaves only ECE and n: one legend is enough for panels side by side.
            bars: whether to draw bars; by default where there is no smooth curve.

        Returns:
            The display, with `ax_`, `figure_`, `strip_`, `bars_`, `gaps_`, `curve_` and `band_`.
        """
        ax = self._draw_on(ax, height=3.2)
        self.bars_, self.gaps_ = (
            draw_bars(ax, self, ylabel) if bars or (bars is None and not self.smooth) else (None, {})
        )
        self.curve_, self.band_ = draw_curve(ax, self.smooth, f"{ylabel}, smooth") if self.smooth else (None, None)
        draw_dots(ax, self, label="bin, 95 % interval" if self.smooth else "95 % interval")
        draw_frame(ax, xlabel, ylabel, self.name)
        self.strip_ = self._draw_strip(ax)

        n = self.weight.sum()
        errors = [f"ECE = {self.calibration_error:.3f}"]
        errors += [f"smooth ECE = {self.smooth['error']:.3f}"] if self.smooth else []
        add_headline(ax, "\n".join([*errors, f"n = {n:,.{0 if n % 1 == 0 else 1}f}"]), [self], legend)
        return self

    def _draw_strip(self, ax):
        if self.density is None:
            share = self.weight[self.weight > 0] / self.weight.sum()
            strip = add_strip(ax, share.max())
            strip.bar(*np.insert(places(self), 1, share, axis=0), **SHARES)
        else:
            share = self.density / self.density.sum()
            strip = add_strip(ax, share.max())
            strip.stairs(share, np.linspace(0, 1, len(share) + 1), fill=True, **SHARES)
        return strip

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as JSON takes them: lists, with None for NaN."""
        arrays = {key: to_plain(getattr(self, key)) for key in ("weight", "accuracy", "confidence", "edges")}
        density = {} if self.density is None else {"density": to_plain(self.density)}
        smooth = {}
        if self.smooth is not None:
            smooth["smooth"] = {key: to_plain(v) if key in CURVES else v for key, v in self.smooth.items()}
        return {"display": type(self).__name__, **arrays, "name": self.name, **density, **smooth}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ReliabilityDisplay":
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        required = ("weight", "accuracy", "confidence", "edges")
        return cls(**checked_saved(cls.__name__, data, required, optional=["name", "density", "smooth"]))
