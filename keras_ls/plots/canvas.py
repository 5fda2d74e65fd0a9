"""What the displays draw on and with: axes of a column's width, and inks that differ without colour too."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMN_WIDTH = 3.3  # inches

# Okabe and Ito's colour-blind-safe colours, in an order that alternates dark and light
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, MIDTONE = "#222222", "#999999"

LABEL_SIZE, TICK_SIZE = "small", "x-small"  # relative to the user's font size


def own_or_given_row(axes, count, width, height):
    """Returns `axes` as a list of `count`, or for None those of a new figure, of `width` x `height` inches each."""
    if axes is None:
        import matplotlib.pyplot as plt

        size = (width * count, height)
        _, axes = plt.subplots(1, count, figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False)
    axes = list(np.ravel(axes))
    if len(axes) != count:
        raise ValueError(f"Expected `axes` to be {count}, one a panel. Received: {len(axes)}.")
    return axes


def unseen_figure(width, height):
    """Returns a figure of a size in inches with a canvas of its own: no pyplot, no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def pixels(figure, dpi):
    """Returns a figure of `unseen_figure` as an image: uint8 `[height, width, 3]`."""
    figure.set_dpi(dpi)
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def label_axes(ax, xlabel, ylabel, title=None):
    """Axis labels, small ticks and an open frame."""
    ax.set_xlabel(xlabel, fontsize=LABEL_SIZE, labelpad=2)
    ax.set_ylabel(ylabel, fontsize=LABEL_SIZE, labelpad=2)
    if title is not None:
        ax.set_title(title, fontsize=LABEL_SIZE)
    ax.tick_params(labelsize=TICK_SIZE, length=2.5, pad=2)
    ax.spines[["top", "right"]].set_visible(False)


def add_legend(ax, own, ncols=1):
    """A legend below the axes of a figure of our `own`, which has room; else inside, where it hides least."""
    if own:
        handles = ax.get_legend_handles_labels()
        ax.figure.legend(
            *handles, fontsize=TICK_SIZE, loc="outside lower center", ncols=ncols, frameon=False, handlelength=2.6
        )
    else:
        ax.legend(fontsize=TICK_SIZE, loc="best", framealpha=0.85, edgecolor="none", labelspacing=0.3, handlelength=2.6)
