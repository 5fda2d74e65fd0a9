"""The reliability of the probability of each class, in small panels."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from keras_ls.ops._checks import check_no_nan, check_some_weight, check_unit_interval, checked_count, concrete
from keras_ls.ops._inputs import flatten_examples
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._predictions import to_probabilities
from keras_ls.ops._tensors import NAN_ADVICE
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import to_effective_counts
from keras_ls.ops.calibration import checked_calibration_options
from keras_ls.plots.canvas import LABEL_SIZE, TICK_SIZE
from keras_ls.plots.display import Display
from keras_ls.plots.reliability_bins import bins_of_examples
from keras_ls.plots.reliability_display import ReliabilityDisplay
from keras_ls.plots.reliability_drawing import ACCURACY, SHARES, add_strip, draw_dots, draw_frame, places
from keras_ls.plots.saved_data import as_displays, as_numbers, check_finite, checked_saved

MOST = 25  # panels


class ClasswiseReliabilityDisplay(Display):
    """Reliability diagrams of P(class k), one small panel a class: how often is it k, where the model says p?

    A panel's bars and dots are those of `ReliabilityDisplay` for the one class: the frequency of k over bins of its
    probability, with 95 % Jeffreys intervals; the strip below has the share of the examples in each bin, the largest
    as high as the strip. Its title has the class's error `Σ_m n_m/n |freq_m - p_m|`, and a figure of its own the
    mean of the errors over all classes.

    Args:
        displays: 1 to 25 `ReliabilityDisplay`s, or the dictionaries that their `to_dict` returns; their names are
            those of the classes.
        classes: integers `[P]`, the class of each panel.
        errors: `[K]`, the errors of all classes, also of those without a panel.

    Attributes:
        ax_, axes_, figure_: what was drawn on: the place of the whole, and the panels.

    Raises:
        ValueError: for no panels or too many, and for classes or errors that do not fit.

    Examples:
        >>> import keras_ls as kls
        >>> cat = kls.plots.ReliabilityDisplay([4, 4], [0.25, 0.5], [0.25, 0.75], [0, 0.5, 1], name="cat")
        >>> display = kls.plots.ClasswiseReliabilityDisplay([cat], classes=[1], errors=[0.025, 0.125]).plot()
        >>> display.axes_[0].get_title(), display.mean_error
        ('cat: 0.125', 0.075)

    Reference:
        Kull et al., "Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class Probabilities with Dirichlet
        Calibration", 2019.
    """

    def __init__(self, displays: Sequence[ReliabilityDisplay | dict[str, Any]], classes: Sequence[int], errors: Tensor):
        self.displays = as_displays("displays", displays, ReliabilityDisplay, MOST)
        self.errors = as_numbers("errors", errors, [None])
        check_finite("errors", self.errors)
        self.classes = _checked_classes(classes, len(self.errors))
        if len(self.classes) != len(self.displays):
            raise ValueError(
                f"Expected `classes`, one a panel: {len(self.displays)}. Received: {len(self.classes)} classes."
            )

    @classmethod
    def from_predictions(
        cls,
        labels: Tensor,
        logits: Tensor,
        *,
        classes: Iterable[int] | None = None,
        max_panels: int = 9,
        class_names: Sequence[str] | None = None,
        num_bins: int = 15,
        binning: Literal["uniform", "quantile"] = "uniform",
        closed: Literal["left", "right"] = "left",
        from_logits: bool = True,
        sample_weight: Tensor | None = None,
        axis: int = -1,
        ax: Axes | None = None,
    ) -> "ClasswiseReliabilityDisplay":
        """Bins the probability of each class as `keras_ls.ops.calibration_error` does P(y=1), and draws the panels.

        Args:
            labels: integers `[N]` or dense targets `[N, K]`.
            logits: `[N, K]`; probabilities with `from_logits=False`.
            classes: those to draw, at most 25; by default all, or where these are more than `max_panels` the ones of
                the largest errors, the largest first.
            max_panels: how many to draw where `classes` does not say; 1 to 25.
            class_names: `[K]`; the numbers by default.
            num_bins: B ≥ 1.
            binning: "uniform" or "quantile".
            closed: the side on which a bin includes its edge, "left" or "right".
            from_logits: whether softmax is still to be applied.
            sample_weight: `[N]`, or None, as for a single diagram.
            axis: the class axis of `logits`, and of dense labels.
            ax: matplotlib axes, in whose place the panels are drawn; None for a figure of its own.

        Returns:
            The display, drawn.

        Raises:
            ValueError: for P(y=1) alone, classes or names that do not fit, and what a single diagram raises.

        Examples:
            Class 0 is said with 0.8, 0.8, 0.6 and comes 1 time in 3; class 1 with 0.2, 0.2, 0.4, and comes twice:

            >>> import keras_ls as kls
            >>> p = [[0.8, 0.2], [0.8, 0.2], [0.6, 0.4]]
            >>> options = {"num_bins": 1, "from_logits": False}
            >>> display = kls.plots.ClasswiseReliabilityDisplay.from_predictions([0, 1, 1], p, **options)
            >>> [round(float(error), 6) for error in display.errors]
            [0.4, 0.4]
        """
        checked_calibration_options(num_bins, binning, "l1", closed, False)
        if from_logits:
            LogitsCheck("ClasswiseReliabilityDisplay.from_predictions").see(logits, axis)
        checked_count("max_panels", max_panels)
        labels, weight, p = _examples(labels, logits, from_logits, sample_weight, axis)
        size = p.shape[1]
        names = [str(name) for name in (range(size) if class_names is None else class_names)]
        if len(names) != size:
            raise ValueError(f"Expected `class_names`, one a class: {size}. Received: {len(names)}.")
        truth = labels if labels.ndim == 2 else labels[:, None] == np.arange(size)
        every = [
            ReliabilityDisplay(
                *bins_of_examples(p[:, k], truth[:, k].astype("float32"), weight, num_bins, binning, closed), name=name
            )
            for k, name in enumerate(names)
        ]
        errors = [display.calibration_error for display in every]
        if classes is None:
            most = min(max_panels, MOST)
            classes = range(size) if size <= most else np.argsort(errors, kind="stable")[::-1][:most]
        classes = _checked_classes(classes, size)
        return cls([every[k] for k in classes], classes, errors).plot(ax)

    @property
    def mean_error(self) -> float:
        """The class-wise calibration error: the mean of the errors of all K classes, in [0, 1]."""
        return float(self.errors.mean())

    @property
    def table(self) -> dict[int, list[dict[str, float | None]]]:
        """The table of `ReliabilityDisplay` by class."""
        return {k: display.table for k, display in zip(self.classes, self.displays)}

    def plot(
        self, ax: Axes | None = None, *, columns: int | None = None, xlabel: str = "P(class)", ylabel: str = "frequency"
    ) -> "ClasswiseReliabilityDisplay":
        """Draws the panels.

        Args:
            ax: matplotlib axes, in whose place the panels are drawn; None for a figure of its own, of a column's width.
            columns: of panels; about as many as rows by default.
            xlabel: what is predicted.
            ylabel: what happened.

        Returns:
            The display, with `ax_`, `axes_` and `figure_`.
        """
        count = len(self.displays)
        columns = math.isqrt(count - 1) + 1 if columns is None else min(checked_count("columns", columns), count)
        rows = -(-count // columns)
        own = ax is None
        ax = self._draw_on(ax, height=0.6 + 1.15 * rows)
        total = len(self.errors)
        title = f"class-wise ECE = {self.mean_error:.4f}; {count if count == total else f'{count} of {total}'} classes"
        if own:
            self.figure_.suptitle(title, fontsize=LABEL_SIZE)
        ax.set_axis_off()
        grid = ax.get_subplotspec().subgridspec(rows, columns)
        self.axes_ = []
        for i, display in enumerate(self.displays):
            shared = self.axes_[0] if i else None
            panel = self.figure_.add_subplot(grid[i // columns, i % columns], sharex=shared, sharey=shared)
            _draw_panel(panel, display, xlabel if i + columns >= count else None, ylabel if i % columns == 0 else None)
            self.axes_.append(panel)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as JSON takes them."""
        displays = [display.to_dict() for display in self.displays]
        return {
            "display": type(self).__name__,
            "displays": displays,
            "classes": self.classes,
            "errors": self.errors.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ClasswiseReliabilityDisplay":
        """Rebuilds a display from the data that `to_dict` returned; `ValueError` for anything else."""
        return cls(**checked_saved(cls.__name__, data, ["displays", "classes", "errors"]))


def _examples(labels, logits, from_logits, sample_weight, axis):
    labels, logits, weight = flatten_examples(labels, logits, sample_weight, axis=axis, from_logits=from_logits)
    if len(logits.shape) != 2:
        raise ValueError(
            "Expected predictions `[N, K]` of K classes. Received: P(y=1) alone. Draw it with `ReliabilityDisplay`."
        )
    check_some_weight(weight)
    kept = concrete(weight) != 0
    labels, weight, p = (concrete(array)[kept] for array in (labels, weight, to_probabilities(logits, from_logits)))
    check_no_nan("logits" if from_logits else "probabilities", p, NAN_ADVICE)
    check_unit_interval("`probabilities`", p, "Pass `from_logits=True` for logits.")
    return labels, to_effective_counts(weight), p


def _checked_classes(classes, size):
    classes = as_numbers("classes", list(classes), [None])
    valid = np.isin(classes, np.arange(size)).all() and len(set(classes)) == len(classes)
    if not valid or not 1 <= len(classes) <= MOST:
        raise ValueError(
            f"Expected `classes` to be 1 to {MOST} different integers in [0, {size}). Received: {classes.tolist()}."
        )
    return [int(k) for k in classes]


def _draw_panel(ax, bins, xlabel, ylabel):
    full = bins.weight > 0
    center, width = places(bins)
    ax.bar(center, bins.accuracy[full], width, **{**ACCURACY, "linewidth": 0.4})
    draw_dots(ax, bins, ms=1.8, lw=0.7, capsize=1)
    draw_frame(ax, xlabel, ylabel, f"{bins.name}: {bins.calibration_error:.3f}")
    ax.title.set_fontsize(TICK_SIZE)
    ticks = [0, 0.5, 1]
    ax.set_xticks(ticks, ["0", "0.5", "1"])
    ax.set_yticks(ticks, ["0", "0.5", "1"])
    share = bins.weight[full] / bins.weight.sum()
    strip = add_strip(ax, share.max(), ylabel=None)
    strip.set_yticks([])
    strip.bar(center, share, width, **{**SHARES, "linewidth": 0.4})
