"""Fine, ordered cells of confidence, from which a stream can form what only whole arrays define.

Equal-mass bins, rankings and the like need all confidences at once; a histogram fine enough stands in for them. Equal
widths would not do: of a modern network, half of all confidences may exceed 1 - 1/4096. So half of the cells are
spread evenly over confidence and half over its log-odds.
"""

import functools

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops.binning import edge_index
from keras_ls.ops.precision import at_least_float32

FINE_CELLS = 4096
# of float32 numbers none but 1 has log-odds above 17
LARGEST_LOG_ODDS = 17.0


def fine_cell_index(confidence, num_cells=FINE_CELLS):
    """The index of the fine cell that holds each confidence.

    `floor(F u(c))`, with `u(c) = c/2 + (clip(log(c / (1 - c)), -17, 17) + 17) / 68`. Found by comparing with the cells'
    edges: of two confidences the larger is never in the lower cell, and equal ones share theirs, which the rounding of
    logarithms would not warrant.

    Args:
        confidence: values in [0, 1], any shape; half precision is widened to float32.
        num_cells: F.

    Returns:
        int32 tensor in [0, F) of the shape of `confidence`; 0 is in the first cell and 1 in the last.

    Examples:
        `.49995 + (9.21 + 17) / 68 = .88540` and `.499995 + (11.513 + 17) / 68 = .91931`, times 4096. Cells of equal
        width would have these two in one.

        >>> import keras_ls as kls
        >>> from keras_ls.ops.fine_cells import fine_cell_index
        >>> [int(i) for i in fine_cell_index([0.0, 0.5, 0.9999, 0.99999])]
        [0, 2048, 3626, 3765]
    """
    confidence = at_least_float32(confidence)
    edges = _edges(num_cells).astype(keras.backend.standardize_dtype(confidence.dtype))
    return edge_index(K.convert_to_tensor(edges), confidence)


@functools.cache
def _edges(num_cells):
    """Where u(c) = j/F, for j = 1 ... F-1, by bisection of the log-odds."""
    target = np.arange(1, num_cells) / num_cells
    low, high = np.full(num_cells - 1, -LARGEST_LOG_ODDS), np.full(num_cells - 1, LARGEST_LOG_ODDS)
    for _ in range(60):
        middle = (low + high) / 2
        coordinate = 0.5 / (1 + np.exp(-middle)) + 0.25 * (middle / LARGEST_LOG_ODDS + 1)
        low, high = np.where(coordinate < target, middle, low), np.where(coordinate < target, high, middle)
    return 1 / (1 + np.exp(-high))
