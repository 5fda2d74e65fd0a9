"""Bins of confidence in [0, 1]: which bin, and each bin's sufficient statistics.

Uniform bins are `[m/B, (m+1)/B)` when `closed="left"`, `(m/B, (m+1)/B]` when `closed="right"`; 1.0 lies in the last
bin and 0.0 in the first either way. Membership is decided by comparing with the edges, never by multiplying: in
floating point `int(0.3 / 0.1)` is 2.
"""

import functools

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops._backend import (
    at_least_float32,
    cumsum,
    divide_no_nan,
    segment_sum,
    take_inside,
    to_accumulation_dtype,
)
from keras_ls.ops._inputs import dropped
from keras_ls.ops._weights import are_counts, number_of_examples

# so many examples round to the same edges as any more do
_MANY = 2.0**20


def uniform_bin_index(confidence, num_bins, closed="left"):
    """The index of the equal-width bin that holds each confidence.

    The edges are rounded to the dtype of `confidence`, so that a half-precision 0.3 counts as 0.3.

    Args:
        confidence: values in [0, 1], any shape; integers count as float32.
        num_bins: B.
        closed: "left" or "right": the side on which a bin includes its edge.

    Returns:
        int32 tensor in [0, B) of the shape of `confidence`.

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.binning import uniform_bin_index
        >>> [int(i) for i in uniform_bin_index([0.0, 0.3, 0.99, 1.0], num_bins=10)]
        [0, 3, 9, 9]
    """
    confidence = K.convert_to_tensor(confidence)
    dtype = keras.backend.standardize_dtype(confidence.dtype)
    if "float" not in dtype:
        dtype = "float32"  # as integers, all edges would be 0
    edges = np.concatenate([[-np.inf], np.arange(1, num_bins) / num_bins])
    edges = at_least_float32(K.convert_to_tensor(edges, dtype=dtype))
    confidence = at_least_float32(confidence)
    if num_bins > 1 << 16 or dtype in ("float16", "bfloat16"):  # rounding may move an edge by more than below
        return edge_index(edges[1:], confidence, closed)
    # by multiplication never too low and at most one too high, which the edge below puts right: quicker than a search
    guess = K.cast(confidence * (num_bins * (1 + 2**-20)), "int32")
    guess = K.maximum(K.minimum(guess, num_bins - 1), 0)
    lower = take_inside(edges, guess)
    return guess - K.cast(confidence < lower if closed == "left" else confidence <= lower, "int32")


def quantile_bin_index(confidence, weight, num_bins, closed="left", examples=None):
    """The index of the equal-mass bin that holds each confidence; equal confidences share a bin.

    The edge between bins k-1 and k lies at the example of rank `round(k (n - 1) / B)`, counted from 0 with halves
    rounded up; that example opens bin k (`closed="left"`), or its predecessor closes bin k-1 (`closed="right"`).

    Args:
        confidence: `[N]`.
        weight: `[N]`; an integer weight counts as that many examples. Where any is no whole number, their scale says
            nothing and n is the number of those above 0: each takes its share of n ranks.
        num_bins: B.
        closed: "left" or "right".
        examples: n, where another number is known, as of values that stand for several examples each; None for the
            one above.

    Returns:
        int32 tensor `[N]` in [0, B).

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.binning import quantile_bin_index
        >>> index = quantile_bin_index([0.1, 0.05, 0.5, 0.2, 0.99, 0.99], [1.0] * 6, num_bins=3)
        >>> [int(i) for i in index]
        [0, 0, 2, 1, 2, 2]
    """
    confidence = at_least_float32(confidence)
    weight = to_accumulation_dtype(weight)
    examples = number_of_examples(weight) if examples is None else to_accumulation_dtype(examples)
    order = K.argsort(confidence)
    cumulative = cumsum(K.take(weight, order))
    cumulative = cumulative * divide_no_nan(examples, cumulative[-1])
    # the first position whose cumulative weight exceeds the rank
    position = K.searchsorted(cumulative, _edge_ranks(examples, num_bins, closed), side="right")
    edges = K.take(K.take(confidence, order), K.clip(position, 0, K.size(order) - 1))
    return edge_index(edges, confidence, closed)


def merge_into_quantile_bins(fine, num_bins, closed="left", examples=None):
    """Statistics of equal-mass bins from those of many fine, ordered cells: whole cells are merged.

    The rule is `quantile_bin_index`'s, applied to cells. Only examples that share the cell of an edge, but not its
    confidence, may come to lie in a bin that is not theirs. With ε the fraction of such examples, the l1 calibration
    error of the bins is off by at most `2 ε`, the square of their l2 error by at most `4 ε`: no residual exceeds 1.

    Args:
        fine: `[R, ..., F]` sums, the weights first, as `bin_statistics` returns them, for F cells ordered by
            confidence.
        num_bins: B.
        closed: "left" or "right".
        examples: `[...]`, how many examples the weights stand for. None for their sum where the cells hold whole
            numbers, and otherwise for very many, as the scale of weights that are no counts says nothing.

    Returns:
        `[R, ..., B]` sums.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> from keras_ls.ops.binning import merge_into_quantile_bins
        >>> fine = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.6, 0.7, 0.8, 0.9]])
        >>> [round(float(w), 6) for w in merge_into_quantile_bins(fine, num_bins=2)[2]]
        [1.3, 1.7]
    """
    fine = to_accumulation_dtype(fine)
    shape = tuple(fine.shape)
    fine = K.reshape(fine, (shape[0], -1, shape[-1]))
    rows = fine.shape[1]
    cumulative = cumsum(fine[0], axis=1)
    total = cumulative[:, -1:]
    if examples is None:
        examples = K.where(are_counts(fine[0], axis=1)[:, None], total, K.full_like(total, _MANY))
    else:
        examples = K.broadcast_to(to_accumulation_dtype(examples), shape[1:-1])
        examples = K.reshape(examples, (rows, 1))
    cumulative = cumulative * divide_no_nan(examples, total)
    ranks = _edge_ranks(examples, num_bins, closed)
    if closed == "right":  # an edge's cell closes its bin: the bin of a cell follows from the cells before it
        cumulative = K.pad(cumulative[:, :-1], [[0, 0], [1, 0]])
    # the edges that lie in a cell or before it
    index = K.sum(K.cast(cumulative[:, :, None] > ranks[:, None, :], "int32"), axis=-1)
    index = K.reshape(index + num_bins * K.arange(rows, dtype="int32")[:, None], (-1,))
    merged = segment_sum(K.transpose(K.reshape(fine, (shape[0], -1))), index, rows * num_bins)
    return K.reshape(K.transpose(merged), (*shape[:-1], num_bins))


def bin_statistics(index, confidence, accuracy, weight, num_bins, squares=False):
    """Sums over the examples of each bin, from which every binned calibration error follows.

    Args:
        index: bin of each example, `[N]` int32.
        confidence: `[N]`.
        accuracy: 1 where right and 0 where wrong, or anything between for soft targets, `[N]`.
        weight: `[N]`; an example of weight 0 is dropped, whatever its values. None: all count 1.
        num_bins: B.
        squares: whether to add the sums of the squared weights, which tell what weights that are no counts count for.

    Returns:
        `[3, B]`: sums of the weight, of weight · accuracy and of weight · confidence, and with `squares` `[4, B]`;
        float64 (float32 on JAX). All are in the scale of the weights, the squares in its square.

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.binning import bin_statistics
        >>> statistics = bin_statistics([0, 1, 1], [0.25, 0.75, 1.0], [0, 1, 1], [1, 1, 1], num_bins=2)
        >>> [[float(v) for v in row] for row in statistics]
        [[1.0, 2.0], [0.0, 2.0], [0.25, 1.75]]
    """
    index = K.cast(index, "int32")
    weight = None if weight is None else to_accumulation_dtype(weight)
    values = [dropped(to_accumulation_dtype(value), weight) for value in (accuracy, confidence)]
    rows = [K.ones_like(values[1]), *values] if weight is None else [weight, *(weight * value for value in values)]
    rows += [rows[0] * rows[0]] if squares else []
    # row after row: a kernel for rows of three numbers takes several times as long
    return K.stack([segment_sum(row, index, num_bins) for row in rows])


def edge_index(edges, values, closed="left"):
    """How many of the ascending edges lie below each value, or at it where bins are closed on the left; int32."""
    index = K.searchsorted(edges, K.reshape(values, (-1,)), side="right" if closed == "left" else "left")
    # a NaN compares with nothing: keep its index inside, where it makes its bin NaN
    return K.reshape(K.cast(K.clip(index, 0, edges.shape[0]), "int32"), K.shape(values))


def _edge_ranks(examples, num_bins, closed):
    """The ranks, counted from 0, of those at the inner edges among so many examples."""
    k = K.convert_to_tensor(np.arange(1, num_bins), dtype=examples.dtype)
    # round(k (n-1) / B) in whole numbers: in floating point 0.7 · 45 is 31.499999999999996
    last = K.where(examples > 1, examples - 1, K.zeros_like(examples))
    rank = K.floor((2 * k * last + num_bins) / (2 * num_bins))
    # of examples with weight: a dropped one must not close the first bin
    rank = K.maximum(rank - 1, 0) if closed == "right" else rank
    # what cumulative weights that are no whole numbers exceed a rank by is rounding, up to here
    return rank + K.minimum(examples * 2.0**-22, 0.25)


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
        `0.49995 + (9.21 + 17) / 68 = 0.88540` and `0.499995 + (11.513 + 17) / 68 = 0.91931`, times 4096. Cells of equal
        width would have these two in one.

        >>> import keras_ls as kls
        >>> from keras_ls.ops.binning import fine_cell_index
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
