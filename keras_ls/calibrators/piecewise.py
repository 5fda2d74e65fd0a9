"""Functions of one number in pieces, one function a class: which piece, and the line through it."""

from keras import ops as K

from keras_ls.ops._backend import take_inside


def piece_index(x, starts, closed="left"):
    """The piece of each number: the last one whose start is not above it; the first for numbers below all.

    A binary search of fixed length, so that every backend compiles it, and no `[..., K, L]` tensor is made.

    Args:
        x: `[..., K]`.
        starts: `[K, L]`, each row in ascending order; equal starts make pieces that hold nothing.
        closed: "left": a piece holds its start; "right": its start belongs to the piece before.

    Returns:
        int32 `[..., K]` in [0, L).

    Examples:
        >>> from keras_ls.calibrators.piecewise import piece_index
        >>> [int(piece_index([x], [[0.0, 0.5, 0.9]])[0]) for x in (-1.0, 0.2, 0.5, 1.0)]
        [0, 0, 1, 2]
        >>> int(piece_index([0.5], [[0.0, 0.5, 0.9]], closed="right")[0])
        0
    """
    x, starts = K.convert_to_tensor(x), K.convert_to_tensor(starts)
    last = starts.shape[-1] - 1
    index = K.zeros(K.shape(x), dtype="int32")
    step = 1 << max(last.bit_length() - 1, 0)
    while step and last:
        candidate = index + step
        start = at_index(starts, K.minimum(candidate, last))
        reached = start <= x if closed == "left" else start < x
        index = K.where(K.logical_and(candidate <= last, reached), candidate, index)
        step >>= 1
    return index


def at_index(table, index):
    """`table[k, index[..., k]]`.

    Args:
        table: `[K, L]`.
        index: int32 `[..., K]` in [0, L).

    Returns:
        `[..., K]`.

    Examples:
        >>> from keras_ls.calibrators.piecewise import at_index
        >>> [float(v) for v in at_index([[1.0, 2.0], [3.0, 4.0]], [[1, 0]])[0]]
        [2.0, 3.0]
    """
    table = K.convert_to_tensor(table)
    rows, size = table.shape
    return take_inside(K.reshape(table, (-1,)), K.cast(index, "int32") + size * K.arange(rows, dtype="int32"))


def interpolate_probability(log_odds, knots, values):
    """A function of probability p that is linear between knots and constant outside, from the log-odds u of p.

    Between knots u_0 and u_1, `f = v_0 + (v_1 - v_0) (p - p_0) / (p_1 - p_0)`, where
    `(p - p_0) / (p_1 - p_0) = σ(u)/σ(u_1) · (1 - exp(u_0 - u)) / (1 - exp(u_0 - u_1))` keeps its digits where p rounds
    to 1.

    Args:
        log_odds: u, `[..., K]`, finite.
        knots: log-odds of the knots, `[K, L]` with L ≥ 2, in ascending order; the last may be repeated.
        values: v, `[K, L]`.

    Returns:
        f, `[..., K]`.

    Examples:
        Half-way between p = 0.2, which becomes 0, and p = 0.8, which becomes 0.5:

        >>> import math
        >>> from keras_ls.calibrators.piecewise import interpolate_probability
        >>> knot = math.log(0.8 / 0.2)
        >>> round(float(interpolate_probability([0.0], [[-knot, knot]], [[0.0, 0.5]])[0]), 6)
        0.25
    """
    u, knots = K.convert_to_tensor(log_odds), K.convert_to_tensor(knots)
    left = K.minimum(piece_index(u, knots), knots.shape[-1] - 2)
    start, end = at_index(knots, left), at_index(knots, left + 1)
    u = K.minimum(K.maximum(u, start), end)
    width = -K.expm1(start - end)
    share = K.exp(K.log_sigmoid(u) - K.log_sigmoid(end)) * -K.expm1(start - u) / K.where(width > 0, width, 1.0)
    share = K.where(width > 0, share, 1.0 + 0 * u)
    low, high = at_index(values, left), at_index(values, left + 1)
    return low + (high - low) * K.minimum(share, 1.0)
