"""Figures of a result, drawn from its JSON."""

import io

from keras_ls import plots
from keras_ls.studies.store import write_beside

WIDTH = {"ReliabilityDisplay": 3.2, "ProjectionDisplay": 3.0, "SmoothingSweepDisplay": 7.0}
HEIGHT = {"ReliabilityDisplay": 3.4, "ProjectionDisplay": 3.1, "SmoothingSweepDisplay": 4.6}


def draw(figure):
    """Draws a `studies.result.Figure`.

    Args:
        figure: the figure as data.

    Returns:
        A matplotlib figure; the panels of a row of projections of one network share their limits.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    displays = [[getattr(plots, figure.kind).from_dict(panel) for panel in row] for row in figure.panels]
    size = (WIDTH[figure.kind] * len(displays[0]), HEIGHT[figure.kind] * len(displays))
    drawn = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(drawn)  # a canvas of its own: no pyplot, no window
    axes = drawn.subplots(len(displays), len(displays[0]), squeeze=False)
    for row, row_axes in zip(displays, axes):
        for i, (display, ax) in enumerate(zip(row, row_axes)):
            if figure.kind == "ProjectionDisplay":
                pair = row[i - i % 2 : i - i % 2 + 2]  # train and validation of one network
                display.plot(ax, limits=display.common_limits(pair), legend=i == 0)
            elif figure.kind == "ReliabilityDisplay":
                display.plot(ax, legend=i == 0)
            else:
                display.plot(ax)
    return drawn


def png(figure, dpi=140):
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    draw(figure).savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save_figures(result, directory):
    """Writes each figure of a result as `directory/NAME.png` and returns the paths."""
    paths = []
    for figure in result.figures:
        path = directory / f"{figure.name}.png"
        content = png(figure)
        write_beside(path, lambda p, content=content: p.write_bytes(content))
        paths.append(path)
    return paths
