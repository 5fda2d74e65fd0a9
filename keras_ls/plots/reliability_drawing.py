"""The parts of reliability diagrams: a frame with a diagonal and a strip of shares, bars and gaps, curves and bands."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from keras_ls.plots.canvas import INK, LABEL_SIZE, MIDTONE, TICK_SIZE, label_axes

STRIP = 0.24  # height of the strip under the bars, in units of accuracy
NARROWEST = 0.006  # equal confidences share a quantile bin of no width: drawn this wide to be seen
TOP = 1.02  # of both axes: dots at 1 are whole

ACCURACY = {"facecolor": "#A6CEE3", "edgecolor": INK, "linewidth": 0.6}
OVER = {"facecolor": "#FDEBE0", "edgecolor": "#C04A00", "linewidth": 0.8, "hatch": "/////"}
UNDER = {"facecolor": "#F4F8FC", "edgecolor": "#08306B", "linewidth": 0.8, "hatch": "....."}
BAND = {"facecolor": "#BBBBBB", "linewidth": 0}
DOTS = {"fmt": "o", "color": INK, "ms": 2.5, "lw": 0.9, "capsize": 1.5}
SHARES = {"facecolor": MIDTONE, "edgecolor": INK, "linewidth": 0.6}


def draw_frame(ax, xlabel, ylabel, title, strip=STRIP):
    """Both axes from 0 to 1 with room below for a strip of height `strip`, the diagonal, and the base line."""
    ax.plot([0, 1], [0, 1], "--", color=INK, lw=0.9, zorder=2.5)
    ax.axhline(0, color=INK, lw=0.8)
    label_axes(ax, xlabel, ylabel, title)
    ax.yaxis.label.set_y((strip + 0.5) / (strip + TOP))
    ticks = np.linspace(0, 1, 6)
    ax.set(xlim=(0, TOP), ylim=(-strip, TOP), xticks=ticks, yticks=ticks)


def draw_bars(ax, bins, label):
    """Bars of accuracy, and hatched ones over their gaps to the confidence: `(bars, gaps by sign)`."""
    full = bins.weight > 0
    accuracy, confidence = bins.accuracy[full], bins.confidence[full]
    center, width = places(bins)
    bars = ax.bar(center, accuracy, width, label=label, **ACCURACY)
    gaps = {}
    for sign, some, ink in (
        ("over-confident", confidence > accuracy, OVER),
        ("under-confident", confidence < accuracy, UNDER),
    ):
        if some.any():
            low, high = np.minimum(accuracy, confidence)[some], np.maximum(accuracy, confidence)[some]
            gaps[sign] = ax.bar(center[some], high - low, width[some], low, label=sign, **ink)
    return bars, gaps


def draw_dots(ax, bins, **style):
    """Dots at (mean confidence, accuracy) with the interval of the accuracy; a line would break at empty bins."""
    reach = np.abs(bins.interval - bins.accuracy)
    return ax.errorbar(bins.confidence, bins.accuracy, reach, **{**DOTS, **style})


def draw_curve(ax, curve, label):
    """A smooth curve and its band: `(line, band)`, the band None where there is none."""
    band = None
    if curve["low"] is not None:
        band = ax.fill_between(curve["confidence"], curve["low"], curve["high"], label="95 % band", **BAND)
    (line,) = ax.plot(curve["confidence"], curve["accuracy"], color=INK, lw=1.1, label=label, zorder=3)
    return line, band


def places(bins):
    """Center and width of the bar of each bin that is not empty."""
    full = bins.weight > 0
    width = np.maximum(np.diff(bins.edges)[full], NARROWEST)
    return np.clip((bins.edges[:-1] + bins.edges[1:])[full] / 2, width / 2, 1 - width / 2), width


def add_strip(ax, highest, ylabel="share"):
    """Axes under the bars of `ax` for shares up to `highest`."""
    strip = ax.inset_axes([0, 0, 1, 0.8 * STRIP / (STRIP + TOP)], sharex=ax)
    strip.set_ylim(0, 1.05 * highest)
    strip.yaxis.set_major_locator(MaxNLocator(nbins=2, steps=[1, 2, 5, 10], prune="both"))
    strip.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    label_axes(strip, None, ylabel)
    strip.tick_params(axis="x", bottom=False, labelbottom=False)
    strip.patch.set_visible(False)
    return strip


def add_headline(ax, text, displays, legend=True, handlelength=1.3):
    """The legend, headed by `text`, where the bars of `displays` leave room: upper left, else lower right."""
    # over-confident bars leave the upper left free; under-confident ones have nothing but bar at the lower right
    gap = sum(np.nansum(d.weight * (d.confidence - d.accuracy)) / d.weight.sum() for d in displays)
    left = max(np.nanmax(np.maximum(d.accuracy, d.confidence), where=d.confidence < 0.5, initial=0) for d in displays)
    upper = gap >= 0 or left < 0.6
    ax.legend(
        *(ax.get_legend_handles_labels() if legend else ([], [])),
        title=text,
        loc="upper left" if upper else "lower right",
        bbox_to_anchor=(0, 0, 1, 1) if upper else (0, STRIP / (STRIP + TOP), 1, 1),
        alignment="left",
        fontsize=TICK_SIZE,
        title_fontsize=LABEL_SIZE,
        frameon=not upper,
        edgecolor="none",
        framealpha=0.9,
        borderpad=0.2,
        borderaxespad=0.2,
        handlelength=handlelength,
        handletextpad=0.5,
        labelspacing=0.2,
    )
