"""What losses add to the cross-entropy to keep predictions from growing too sure, per example.

A class whose logit is -inf is not possible (a masked vocabulary), and no mean counts it.
"""

import math

from keras import ops as K

from keras_ls.ops._backend import mean
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops._tensors import checked_logits
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import (
    is_masked,
    mean_of_possible,
    share_of_possible,
    where_masked,
    zero_where_impossible,
)


def entropy(logits: Tensor, axis: int = -1) -> Tensor:
    """Entropy of a prediction: `H(p) = -Σ_k p_k log p_k`, with `p = softmax(z)`.

    Args:
        logits: `[..., K]`, or K along `axis`.
        axis: the class axis.

    Returns:
        Nats, `[...]`, in [0, log K]; at least float32.

    Raises:
        ValueError: for logits that are NaN or +inf.

    Examples:
        >>> import math, keras_ls as kls
        >>> round(float(kls.ops.entropy([[0.0, 0.0, -math.inf]])[0]), 4)  # log 2
        0.6931

    Reference:
        Shannon, "A Mathematical Theory of Communication", 1948.
    """
    return entropy_core(checked_logits("logits", logits, axis))


def entropy_core(logits):
    """`entropy` of checked logits, classes last."""
    log_p = K.log_softmax(logits, axis=-1)
    return -K.sum(zero_where_impossible(K.exp(log_p), log_p), axis=-1)


def excess_margin(logits: Tensor, margin: float, axis: int = -1) -> Tensor:
    """How far logits fall behind the largest one, beyond a margin: `1/K Σ_k max(0, max_j z_j - z_k - m)`.

    Args:
        logits: `[..., K]`, or K along `axis`.
        margin: m >= 0.
        axis: the class axis.

    Returns:
        `[...]`, in units of logits, >= 0; at least float32.

    Raises:
        ValueError: for a negative margin, and logits that are NaN or +inf.

    Examples:
        Distances 0, 5 and 12: `(0 + 0 + 2) / 3`.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.excess_margin([[12.0, 7.0, 0.0]], margin=10.0)[0]), 4)
        0.6667

    Reference:
        Liu et al., "The Devil is in the Margin: Margin-based Label Smoothing for Network Calibration", 2022.
    """
    return excess_margin_core(checked_logits("logits", logits, axis), checked_non_negative("margin", margin))


def excess_margin_core(logits, margin):
    """`excess_margin` of checked logits, classes last."""
    top = K.expand_dims(_top(logits), -1)
    masked = is_masked(mean(logits, axis=-1))

    def spread():
        possible = logits > -math.inf
        behind = K.relu(top - K.where(possible, logits, K.broadcast_to(top, K.shape(logits))) - margin)
        return K.sum(share_of_possible(logits) * behind, axis=-1)

    return where_masked(masked, spread, lambda: mean(K.relu(top - logits - margin), axis=-1))


def top_logit_excess(logits: Tensor, axis: int = -1) -> Tensor:
    """How far the largest logit lies above the mean: `max_k z_k - 1/K Σ_k z_k`.

    Args:
        logits: `[..., K]`, or K along `axis`.
        axis: the class axis.

    Returns:
        `[...]`, in units of logits, >= 0; at least float32.

    Raises:
        ValueError: for logits that are NaN or +inf.

    Examples:
        >>> import keras_ls as kls
        >>> float(kls.ops.top_logit_excess([[4.0, 0.0, -1.0]])[0])
        3.0

    Reference:
        Zhou et al., "MaxSup: Overcoming Representation Collapse in Label Smoothing", 2025.
    """
    return top_logit_excess_core(checked_logits("logits", logits, axis))


def top_logit_excess_core(logits):
    """`top_logit_excess` of checked logits, classes last."""
    return _top(logits) - mean_of_possible(logits)


def _top(logits):
    return K.max(logits, axis=-1, initial=float("-inf"))  # of an empty batch, too
