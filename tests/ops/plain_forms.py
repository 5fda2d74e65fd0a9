"""The same numbers the slow way: NumPy float64, one explicit loop, no code shared with the package."""

import math
from fractions import Fraction

import numpy as np


def uniform_index(value, num_bins, closed="left"):
    """Bin of one number, by walking along the edges in exact arithmetic."""
    for m in range(num_bins):
        upper = Fraction(m + 1, num_bins)
        if Fraction(float(value)) < upper or (closed == "right" and Fraction(float(value)) == upper):
            return m
    return num_bins - 1


def quantile_index(values, num_bins, closed="left"):
    """Bins of a list: edge k is the example of rank round-half-up(k (n-1) / B); it opens bin k or follows bin k-1."""
    ordered = sorted(values)
    n = len(ordered)
    edges = []
    for k in range(1, num_bins):
        rank = math.floor(Fraction(k * (n - 1), num_bins) + Fraction(1, 2))
        edges.append(ordered[rank] if closed == "left" else ordered[max(rank - 1, 0)])
    if closed == "left":
        return [sum(edge <= v for edge in edges) for v in values]
    return [sum(edge < v for edge in edges) for v in values]


def calibration_error(confidence, accuracy, index, weight=None, norm="l1", debiased=False):
    """The textbook formula, bin after bin."""
    confidence, accuracy = np.asarray(confidence, "float64"), np.asarray(accuracy, "float64")
    weight = np.ones(len(confidence)) if weight is None else np.asarray(weight, "float64")
    index = np.asarray(index)
    terms, largest = 0.0, 0.0
    for m in range(max(index) + 1):
        inside = index == m
        n = weight[inside].sum()
        if n == 0:
            continue
        acc = (weight * accuracy)[inside].sum() / n
        conf = (weight * confidence)[inside].sum() / n
        gap = abs(acc - conf)
        largest = max(largest, gap)
        if norm == "l1":
            terms += n * gap
        elif not debiased:
            terms += n * gap**2
        elif n > 1:
            terms += n * (gap**2 - acc * (1 - acc) / (n - 1))
    if norm == "max":
        return largest
    mean = terms / weight.sum()
    return mean if norm == "l1" else math.sqrt(max(mean, 0.0))


def smoothed_crossentropy(label, logits, alpha, prior=None):
    """-Σ_k q_k log p_k of one example with an integer label."""
    logits = [float(z) for z in logits]
    top = max(logits)
    log_sum = top + math.log(sum(math.exp(z - top) for z in logits))
    total = 0.0
    for k, z in enumerate(logits):
        u = 1 / len(logits) if prior is None else prior[k]
        total -= ((1 - alpha) * (k == label) + alpha * u) * (z - log_sum)
    return total


def class_separation(features, labels):
    """Kornblith et al. 2021, the four sums as printed."""

    def distance(a, b):
        return 1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))

    classes = sorted(set(labels))
    rows = {k: [x for x, y in zip(features, labels) if y == k] for k in classes}
    within, total = 0.0, 0.0
    for k in classes:
        for x in rows[k]:
            for other in rows[k]:
                within += distance(x, other) / (len(classes) * len(rows[k]) ** 2)
    for j in classes:
        for k in classes:
            for x in rows[j]:
                for other in rows[k]:
                    total += distance(x, other) / (len(classes) ** 2 * len(rows[j]) * len(rows[k]))
    return 1 - within / total
