"""What losses add to the cross-entropy to keep predictions from growing too sure, per example."""

from keras import ops as K

from keras_ls.ops.checks import checked_non_negative
from keras_ls.ops.crossentropy import zero_where_impossible
from keras_ls.ops.float64 import mean
from keras_ls.ops.precision import at_least_float32


def entropy(logits):
    """Entropy of a prediction: `H(p) = -Σ_k p_k log p_k`, with `p = softmax(z)`.

    Args:
        logits: `[..., K]`.

    Returns:
        Nats, `[...]`, in [0, log K]; at least float32.

    Examples:
        >>> import math, keras_ls as kls
        >>> round(float(kls.ops.entropy([[0.0, 0.0, -math.inf]])[0]), 4)  # log 2
        0.6931

    Reference:
        Shannon, "A Mathematical Theory of Communication", 1948.
    """
    log_p = K.log_softmax(at_least_float32(logits), axis=-1)
    return -K.sum(zero_where_impossible(K.exp(log_p), log_p), axis=-1)


def excess_margin(logits, margin):
    """How far logits fall behind the largest one, beyond a margin: `1/K Σ_k max(0, max_j z_j - z_k - m)`.

    Args:
        logits: `[..., K]`.
        margin: m >= 0.

    Returns:
        `[...]`, in units of logits, >= 0; at least float32.

    Raises:
        ValueError: for a negative margin.

    Examples:
        Distances 0, 5 and 12: `(0 + 0 + 2) / 3`.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.excess_margin([[12.0, 7.0, 0.0]], margin=10.0)[0]), 4)
        0.6667

    Reference:
        Liu et al., "The Devil is in the Margin: Margin-based Label Smoothing for Network Calibration", 2022.
    """
    margin = checked_non_negative("margin", margin)
    logits = at_least_float32(logits)
    return mean(K.relu(K.expand_dims(_top(logits), -1) - logits - margin), axis=-1)


def top_logit_excess(logits):
    """How far the largest logit lies above the mean: `max_k z_k - 1/K Σ_k z_k`.

    Args:
        logits: `[..., K]`.

    Returns:
        `[...]`, in units of logits, >= 0; at least float32.

    Examples:
        >>> import keras_ls as kls
        >>> float(kls.ops.top_logit_excess([[4.0, 0.0, -1.0]])[0])
        3.0

    Reference:
        Zhou et al., "MaxSup: Overcoming Representation Collapse in Label Smoothing", 2025.
    """
    logits = at_least_float32(logits)
    return _top(logits) - mean(logits, axis=-1)


def _top(logits):
    return K.max(logits, axis=-1, initial=float("-inf"))  # of an empty batch, too
