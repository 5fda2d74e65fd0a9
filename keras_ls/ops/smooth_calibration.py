"""Smooth calibration error: the residuals smoothed over confidence, without bins.

Residuals are shared out between the two nearest of 16,384 evenly spaced nodes, so that they add up over batches, and
smoothed there through their Fourier series.
"""

import numpy as np
from keras import ops as K

from keras_ls.ops._backend import accumulation_dtype, divide_no_nan, segment_sum, to_accumulation_dtype
from keras_ls.ops._checks import checked_positive
from keras_ls.ops._inputs import dropped, probability_examples
from keras_ls.ops._predictions import confidence_and_accuracy
from keras_ls.ops._types import Tensor

NODES = 2**14
# narrower kernels than two distances of nodes the nodes do not resolve
LEAST_BANDWIDTH = 2 / NODES
STEPS = 9


def smooth_calibration_error(
    labels: Tensor,
    probabilities: Tensor,
    bandwidth: float | None = None,
    sample_weight: Tensor | None = None,
    axis: int = -1,
) -> Tensor:
    """Smooth calibration error (smECE): of the top label for `[N, K]`, of P(y=1) for `[N]`.

    `smECE_σ = ∫_0^1 |1/n Σ_i w_i (y_i - f_i) K_σ(t, f_i)| dt` for the Gaussian kernel K of standard deviation σ,
    reflected at 0 and 1, with f the confidence and y 1 where right. It does not increase with σ, so that one σ* is its
    own error, `smECE_σ* = σ*`: that value has no parameter, and two predictors that differ little have errors that do.

    The result is exact up to `0.37 (h/σ)² · 1/n Σ_i w_i |y_i - f_i|` with h = 1/16384: 1.4e-5 for σ = 0.01. A σ* below
    2h is not resolved: the error at 2h is given, which then is at most 1.3e-4 too low.

    Args:
        labels: integers or dense targets; `[N]` in [0, 1] for P(y=1).
        probabilities: `[N, K]` or `[N]`; leading axes are flattened.
        bandwidth: σ of at least 2h, or None for σ*.
        sample_weight: `[N]`, or None; the scale of the weights says nothing.
        axis: the class axis of `probabilities`, and of dense labels.

    Returns:
        A scalar in [0, 1]: a difference of probabilities.

    Raises:
        ValueError: for a bandwidth too small, shapes or labels that do not fit, NaN, or no examples.

    Examples:
        One confidence, 0.7, and one in two right: whatever the kernel, `∫ |0.5 - 0.7| K = 0.2`.

        >>> import keras_ls as kls
        >>> round(float(kls.ops.smooth_calibration_error([0, 1], [0.7, 0.7])), 6)
        0.2

    Reference:
        Błasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing", 2024.
    """
    bandwidth = checked_bandwidth(bandwidth)
    labels, probabilities, weight = probability_examples(labels, probabilities, sample_weight, axis)
    confidence, accuracy = confidence_and_accuracy(labels, probabilities)
    return smooth_calibration_error_of_nodes(node_statistics(confidence, accuracy, weight), bandwidth)


def node_statistics(confidence, accuracy, weight):
    """Residuals shared out over the nodes, and the weight: from these, every smooth calibration error follows.

    Node j lies at `(j + 1/2) h`. A confidence between two nodes leaves its residual to both, to each the more the
    nearer it is; before the first and behind the last it is all theirs, as the reflection has it.

    Args:
        confidence: `[N]`.
        accuracy: 1 where right and 0 where wrong, or anything between for soft targets, `[N]`.
        weight: `[N]`; an example of weight 0 is dropped, whatever its values. None: all count 1.

    Returns:
        `[16385]`: weight · (accuracy - confidence) at each node, then the sum of the weight, all in the scale of the
        weights; float64 (float32 on JAX).

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.smooth_calibration import node_statistics
        >>> statistics = node_statistics([0.5], [1.0], [2.0])  # half-way between two nodes
        >>> [float(v) for v in statistics[8191:8193]], float(statistics[-1])
        ([0.5, 0.5], 2.0)
    """
    weight = K.ones_like(confidence) if weight is None else weight
    weight = to_accumulation_dtype(weight)
    confidence, accuracy = (dropped(to_accumulation_dtype(x), weight) for x in (confidence, accuracy))
    residual = weight * (accuracy - confidence)
    # a NaN is at no place; its residual is NaN wherever that is put
    place = K.where(K.isnan(confidence), K.zeros_like(confidence), confidence) * NODES - 0.5
    place = K.clip(place, 0, NODES - 1)
    node = K.clip(K.floor(place), 0, NODES - 2)
    share = place - node
    node = K.cast(node, "int32")
    parts = K.concatenate([residual * (1 - share), residual * share])
    at_nodes = segment_sum(parts, K.concatenate([node, node + 1]), NODES)
    return K.concatenate([at_nodes, K.reshape(K.sum(weight), (1,))])


def smooth_calibration_error_of_nodes(statistics, bandwidth=None):
    """The smooth calibration error of residuals at the nodes.

    Args:
        statistics: as `node_statistics` returns them; the error does not depend on their scale.
        bandwidth: σ, or None for that which is its own error.

    Returns:
        A scalar; 0 without examples.

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.ops.smooth_calibration import smooth_calibration_error_of_nodes
        >>> from keras_ls.ops.smooth_calibration import node_statistics
        >>> statistics = node_statistics([0.7, 0.7], [0.0, 1.0], [1.0, 1.0])
        >>> round(float(smooth_calibration_error_of_nodes(statistics)), 6)
        0.2
    """
    statistics = to_accumulation_dtype(statistics)
    residual, total = statistics[:-1], statistics[-1]
    # mirrored at 1, and so with period 2 at 0: a convolution of this is that of the reflected kernel
    real, imaginary = K.rfft(K.concatenate([residual, K.flip(residual)]))
    frequency = K.convert_to_tensor(np.pi * np.arange(NODES + 1), dtype=residual.dtype)

    def error(sigma):
        gaussian = K.exp(-0.5 * K.square(frequency * sigma))
        smoothed = K.irfft((real * gaussian, imaginary * gaussian), fft_length=2 * NODES)[:NODES]
        return divide_no_nan(K.sum(K.abs(smoothed)), total)

    if bandwidth is not None:
        return error(bandwidth)
    # The error does not increase with σ: σ* lies between any σ and its error. The secant finds it within 1e-9; where σ
    # hardly moves any more it stays, as rounding would make the slope.
    low, high, sigma, before = (K.convert_to_tensor(x, residual.dtype) for x in (LEAST_BANDWIDTH, 1.0, 0.05, 0.0))
    gap_before, still = K.zeros_like(sigma), 1e-12 if accumulation_dtype() == "float64" else 1e-5
    for step in range(STEPS):
        value = error(sigma)
        gap = value - sigma
        low = K.clip(K.minimum(sigma, value), low, high)
        high = K.clip(K.maximum(sigma, value), low, high)
        moved = K.abs(sigma - before) > still
        slope = K.where(moved, gap - gap_before, K.ones_like(gap))
        change = K.where(moved, gap * (sigma - before) / slope, K.zeros_like(gap))
        following = value if step == 0 else sigma - change
        before, gap_before, sigma = sigma, gap, K.clip(following, low, high)
    return value


def checked_bandwidth(bandwidth):
    """Returns `bandwidth` as a float that the nodes resolve, or None for None, or raises `ValueError`."""
    if bandwidth is None:
        return None
    if checked_positive("bandwidth", bandwidth) < LEAST_BANDWIDTH:
        raise ValueError(
            f"Expected `bandwidth` of at least 2 / {NODES}. Received: {bandwidth!r}. Use None for the one that is its "
            "own error."
        )
    return float(bandwidth)
