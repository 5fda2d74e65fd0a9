"""Small names beside points, each where it hides least."""

from itertools import pairwise

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.font_manager import FontProperties

from keras_ls.plots.canvas import TICK_SIZE

# from the marker to the name, in points: near before far, above and below before the corners and sides
NEAR = 4
OFFSETS = [
    (x * reach, y * reach)
    for reach in (NEAR, 8, 13)
    for x, y in ((0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0))
]
ALIGNMENT = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}
TEXT_COST, OUTSIDE_COST = (
    4,
    1000,
)  # of hiding a spot of a name, of leaving the frame; a spot of line costs 1


def place_labels(ax, anchors, texts, colors):
    """Writes each text beside its anchor, where its box meets the least of lines, error bars and other texts.

    One text after the other, without looking back: few points stay legible, very many may still overlap.

    Args:
        ax: axes whose lines are drawn; their limits should not change any more.
        anchors: `[P, 2]`, in data coordinates.
        texts: `[P]`; an empty one is left out.
        colors: `[P]`.
    """
    ax.autoscale_view()
    points_a_pixel = 72 / ax.figure.dpi
    size = FontProperties(size=TICK_SIZE).get_size_in_points()
    paths = [line.get_transform().transform(line.get_xydata()) for line in ax.lines if line.get_linestyle() != "None"]
    bars = [collection for collection in ax.collections if isinstance(collection, LineCollection)]
    paths += [bar.get_transform().transform(segment) for bar in bars for segment in bar.get_segments()]
    spots = np.concatenate([_along(path * points_a_pixel) for path in paths])
    costs = np.ones(len(spots))
    frame = ax.get_window_extent().extents * points_a_pixel
    for anchor, text, color in zip(anchors, texts, colors):
        if not text:
            continue
        at = ax.transData.transform(anchor) * points_a_pixel
        half = np.array([0.32 * size * len(text), 0.5 * size])
        boxes = [
            (at + offset + np.sign(offset) * half - half, at + offset + np.sign(offset) * half + half)
            for offset in OFFSETS
        ]
        hidden = [
            costs[((spots > low - 1) & (spots < high + 1)).all(axis=1)].sum()
            + OUTSIDE_COST * ((low < frame[:2]).any() or (high > frame[2:]).any())
            + 0.4 * np.abs(offset).max()
            for offset, (low, high) in zip(OFFSETS, boxes)
        ]
        best = int(np.argmin(hidden))
        offset, (low, high) = OFFSETS[best], boxes[best]
        far = np.abs(offset).max() > NEAR
        ax.annotate(
            text,
            anchor,
            offset,
            textcoords="offset points",
            ha=ALIGNMENT[np.sign(offset[0])][0],
            va=ALIGNMENT[np.sign(offset[1])][1],
            fontsize=TICK_SIZE,
            color=color,
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": color, "shrinkA": 0, "shrinkB": 2} if far else None,
        )
        grid = np.stack(np.meshgrid(np.linspace(low[0], high[0], 9), np.linspace(low[1], high[1], 4)), axis=-1)
        spots = np.concatenate([spots, grid.reshape(-1, 2)])
        costs = np.concatenate([costs, np.full(36, float(TEXT_COST))])


def _along(corners, spacing=2.0):
    # points along a broken line, about `spacing` apart
    corners = corners[np.isfinite(corners).all(axis=1)]
    parts = [corners]
    for a, b in pairwise(corners):
        parts.append(np.linspace(a, b, 2 + int(min(np.linalg.norm(b - a) / spacing, 1000))))
    return np.concatenate(parts)
