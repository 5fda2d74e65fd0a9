"""What all displays have in common: what they draw on, and how a notebook shows them."""

import base64
import copy
import io

from matplotlib.axes import Axes

from keras_ls.plots.canvas import COLUMN_WIDTH

PIXELS_PER_INCH = 100  # in a notebook, whose images have twice as many for screens that can show them


class Display:
    """Data, and a `plot(ax=None)` that draws them; the last line of a notebook's cell shows the figure.

    Attributes:
        ax_, figure_: what was drawn on.
    """

    _has_own_figure = False

    def _draw_on(self, ax: Axes | None, height: float) -> Axes:
        """Returns `ax`, or for None the axes of a new figure of column width and `height` inches."""
        self._has_own_figure = ax is None
        if ax is None:
            import matplotlib.pyplot as plt  # it may open a window; not for figures that are drawn to be saved

            _, ax = plt.subplots(figsize=(COLUMN_WIDTH, height), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax

    def _repr_html_(self) -> str:
        """The display's own figure as an image; a new one where it is not drawn, or among others in given axes."""
        import matplotlib.pyplot as plt

        figure = (self if self._has_own_figure else copy.copy(self).plot()).figure_
        plt.close(figure)  # or the notebook would show it a second time, below
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=2 * PIXELS_PER_INCH)
        return (
            f'<img alt="{type(self).__name__}" width="{figure.get_figwidth() * PIXELS_PER_INCH:.0f}" '
            f'src="data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}">'
        )
