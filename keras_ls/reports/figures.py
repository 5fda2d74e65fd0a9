"""Figures of a result, drawn from its JSON."""

import io
import pathlib

from keras_ls import plots
from keras_ls.files import checked_file_name, local_path, write_beside
from keras_ls.ops._types import PathLike
from keras_ls.plots.canvas import unseen_figure
from keras_ls.reports.result import StudyResult

WIDTH = {
    "ClasswiseReliabilityDisplay": 3.6,
    "ComparisonDisplay": 2.2,
    "ProjectionDisplay": 3.0,
    "ReliabilityComparisonDisplay": 3.4,
    "ReliabilityDisplay": 3.2,
    "SmoothingSweepDisplay": 7.0,
}
HEIGHT = {
    "ClasswiseReliabilityDisplay": 4.1,
    "ComparisonDisplay": 2.9,
    "ProjectionDisplay": 3.3,
    "ReliabilityComparisonDisplay": 3.5,
    "ReliabilityDisplay": 3.5,
    "SmoothingSweepDisplay": 4.6,
}
NAMES = 4.6
OWN_LEGENDS = {"ClasswiseReliabilityDisplay", "ReliabilityComparisonDisplay"}  # none, or one a panel with its numbers


def draw(figure):
    """Draws a `studies.result.Figure`.

    Args:
        figure: the figure as data.

    Returns:
        A matplotlib figure; the panels of a row of projections of one network share their limits.
    """
    kind = getattr(plots, figure.kind)
    displays = [[None if panel is None else kind.from_dict(panel) for panel in row] for row in figure.panels]
    # names of methods stand beside the first panel, and need room however few there are
    least = NAMES if figure.kind == "ComparisonDisplay" else 0.0
    size = (max(least, WIDTH[figure.kind] * len(displays[0])), HEIGHT[figure.kind] * len(displays))
    drawn = unseen_figure(*size)
    for row, band in zip(displays, drawn.subfigures(len(displays), 1, squeeze=False)[:, 0]):
        axes = band.subplots(1, len(row), squeeze=False)[0]
        for i, (display, ax) in enumerate(zip(row, axes)):
            if display is None:
                ax.set_axis_off()
            elif figure.kind == "ProjectionDisplay":
                pair = row[i - i % 2 : i - i % 2 + 2]  # train and validation of one network
                display.plot(ax, limits=display.common_limits(pair), legend=False)
            elif figure.kind == "ReliabilityDisplay":
                display.plot(ax, legend=False)
            elif figure.kind == "ComparisonDisplay":
                display.plot(ax, names=i == 0, legend=False)
            else:
                display.plot(ax)
        if len(row) > 1 and figure.kind not in OWN_LEGENDS:  # one legend a row, below it, where it hides nothing
            entries = {}
            for ax in axes:
                entries |= dict(zip(*reversed(ax.get_legend_handles_labels())))
            style = {"loc": "outside lower center", "ncols": len(entries), "frameon": False, "fontsize": "small"}
            band.legend(entries.values(), entries.keys(), **style)
    return drawn


def png(figure, dpi=140):
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    try:
        draw(figure).savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.1)
    except Exception as error:  # of matplotlib, on data that no study writes
        raise ValueError(
            f"Expected the data of a figure that can be drawn. Received: those of {figure.name!r} ({error}). Run the "
            "study again."
        ) from error
    return buffer.getvalue()


def save_figures(result: StudyResult, directory: PathLike) -> list[pathlib.Path]:
    """Writes each figure of a result as `directory/NAME.png` and returns the paths."""
    directory, paths = local_path("directory", directory), []
    for figure in result.figures:
        path = directory / f"{checked_file_name('figure', figure.name)}.png"
        content = png(figure)
        write_beside(path, lambda p, content=content: p.write_bytes(content))
        paths.append(path)
    return paths
