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


def classwise_calibration_error(
    labels, p, num_bins, binning="uniform", closed="left", norm="l1", debiased=False, threshold=0, weight=None
):
    """One class after the other, each as a prediction of its own; a weight counts as that many examples."""
    labels, p = np.asarray(labels), np.asarray(p)
    times = np.ones(len(labels), int) if weight is None else weight
    errors = []
    for k in range(p.shape[1]):
        counted = [i for i in range(len(labels)) for _ in range(times[i]) if threshold == 0 or p[i, k] > threshold]
        conf, hit = p[counted, k], labels[counted] == k
        if binning == "quantile":
            index = quantile_index(conf, num_bins, closed)
        else:  # the edges in the dtype of the probabilities
            edges = [p.dtype.type(m / num_bins) for m in range(1, num_bins)]
            index = [sum(bool(e <= c if closed == "left" else e < c) for e in edges) for c in conf]
        errors.append(calibration_error(conf, hit, index, None, norm, debiased))
    return errors


def smooth_calibration_error(confidence, accuracy, sigma, weight=None, points=20_000):
    """Each residual times its Gaussian and the images of that beyond 0 and 1, summed and integrated."""
    weight = np.ones(len(confidence)) if weight is None else np.asarray(weight, "float64")
    t = (np.arange(points) + 0.5) / points
    smoothed = np.zeros(points)
    images = range(-math.ceil(4 * sigma) - 1, math.ceil(4 * sigma) + 2)
    for f, y, w in zip(np.asarray(confidence, "float64"), accuracy, weight):
        for centre in [2 * m + f for m in images] + [2 * m - f for m in images]:
            smoothed += w * (y - f) * np.exp(-(((t - centre) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    return np.abs(smoothed).mean() / weight.sum()


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


def neural_collapse(features, labels, kernel, bias, weight):
    """Papyan, Han and Donoho 2020, with the covariances as matrices; NC1, NC2 four times, NC3, NC4."""
    features, kernel = np.asarray(features, "float64"), np.asarray(kernel, "float64")
    K, D = kernel.shape[1], kernel.shape[0]
    means = np.zeros((K, D))
    for c in range(K):
        total = sum(w for y, w in zip(labels, weight) if y == c)
        for h, y, w in zip(features, labels, weight):
            if y == c:
                means[c] += w * h / total
    center = sum(means) / K
    within, between = np.zeros((D, D)), np.zeros((D, D))
    for c in range(K):
        total = sum(w for y, w in zip(labels, weight) if y == c)
        between += np.outer(means[c] - center, means[c] - center) / K
        for h, y, w in zip(features, labels, weight):
            if y == c:
                within += w * np.outer(h - means[c], h - means[c]) / total / K
    numbers = [np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / K]
    rows = means - center, kernel.T
    for one in rows:
        lengths = [math.sqrt(row @ row) for row in one]
        numbers.append(np.std(lengths) / np.mean(lengths))
    for one in rows:
        off = [
            abs(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b) + 1 / (K - 1))
            for i, a in enumerate(one)
            for j, b in enumerate(one)
            if i != j
        ]
        numbers.append(sum(off) / len(off))
    gap = rows[1] / math.sqrt((rows[1] ** 2).sum()) - rows[0] / math.sqrt((rows[0] ** 2).sum())
    numbers.append((gap**2).sum())
    wrong = 0.0
    for h, w in zip(features, weight):
        decided = max(range(K), key=lambda c: kernel[:, c] @ h + bias[c])
        nearest = min(range(K), key=lambda c: (h - means[c]) @ (h - means[c]))
        wrong += w * (decided != nearest)
    return [*numbers, wrong / sum(weight)]


def smoothing_estimate(logits, labels, weight):
    """α and the cosine between what is left of hard labels and what smoothing asks for, example by example."""
    K = len(logits[0])
    left, asked = np.zeros((K, K)), np.zeros((K, K))
    for z, y, w in zip(np.asarray(logits, "float64"), labels, weight):
        p = [math.exp(a) / sum(math.exp(b) for b in z) for a in z]
        middle = sum(z) / K
        for j in range(K):
            for k in range(K):
                left[j, k] += w * ((j == y) - p[j]) * (z[k] - middle)
                asked[j, k] += w * ((j == y) - 1 / K) * (z[k] - middle)
    product = (left * asked).sum()
    return product / (asked**2).sum(), product / math.sqrt((left**2).sum() * (asked**2).sum())


def log_probability(label, logits):
    """log p_y = -log Σ_k exp(z_k - z_y), with its digits kept where p_y is nearly 1."""
    z_y = float(logits[label])
    if z_y == -math.inf:
        return -math.inf
    gaps = [float(z) - z_y for k, z in enumerate(logits) if k != label]
    top = max(gaps)
    if top <= 0:
        return -math.log1p(math.fsum(math.exp(gap) for gap in gaps))
    return -(top + math.log(math.exp(-top) + math.fsum(math.exp(gap - top) for gap in gaps)))


def crossentropy(target, logits):
    """-log p_y of an integer label, -Σ_k q_k log p_k of a distribution."""
    if np.ndim(target) == 0:
        return -log_probability(int(target), logits)
    return -math.fsum(float(q) * log_probability(k, logits) for k, q in enumerate(target) if q != 0)


def entropy(logits):
    """-Σ_k p_k log p_k, with 0 log 0 = 0."""
    log_p = [log_probability(k, logits) for k in range(len(logits))]
    return -math.fsum(math.exp(t) * t for t in log_p if t > -math.inf)


def entropy_gradient(logits):
    """By the product rule: dH/dz_k = -p_k (log p_k + H)."""
    log_p = [log_probability(k, logits) for k in range(len(logits))]
    return np.array([-math.exp(t) * (t + entropy(logits)) if t > -math.inf else 0.0 for t in log_p])


def excess_margin(logits, margin):
    """Liu et al. 2022, as their code has it: the mean over the classes of how far a distance exceeds the margin."""
    top = max(logits)
    return sum(max(0.0, float(top) - float(z) - margin) for z in logits) / len(logits)


def top_logit_excess(logits):
    """Zhou et al. 2025: the largest logit less the mean."""
    return float(max(logits)) - math.fsum(float(z) for z in logits) / len(logits)


def focal_crossentropy(label, logits, gamma):
    """-(1 - p)^γ log p; with "flsd-53", γ is 5 below p = .2 and 3 from there on."""
    t = log_probability(label, logits)
    return -((-math.expm1(t)) ** _focal_power(gamma, t)) * t


def focal_gradient(label, logits, gamma):
    """By the product rule: dℓ/dt = -(1-p)^γ + γ (1-p)^(γ-1) p t for t = log p, and dt/dz_k = [k = y] - p_k."""
    t = log_probability(label, logits)
    gamma, p, rest = _focal_power(gamma, t), math.exp(t), -math.expm1(t)
    slope = -(rest**gamma) + (gamma * rest ** (gamma - 1) * p * t if rest > 0 and p > 0 else 0.0)
    return np.array(
        [slope * (rest if k == label else -math.exp(log_probability(k, logits))) for k in range(len(logits))]
    )


def _focal_power(gamma, t):
    if gamma == "flsd-53":
        return 5.0 if math.exp(t) < 0.2 else 3.0
    return gamma


def binary_smoothed_crossentropy(label, logit, alpha=0.0, rate=0.5):
    """-t log σ(z) - (1 - t) log(1 - σ(z)), where -log σ(z) = log(1 + e^-z) is written without an overflow."""

    def minus_log_sigmoid(z):
        return max(-z, 0.0) + math.log1p(math.exp(-abs(z)))

    target = (1 - alpha) * float(label) + alpha * rate
    return target * minus_log_sigmoid(float(logit)) + (1 - target) * minus_log_sigmoid(-float(logit))


def central_differences(function, x, step=1e-5):
    """Derivatives of a number (or an array) with respect to the entries of x, in the first axes of the result."""
    x = np.asarray(x, "float64")
    slopes = []
    for i in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[i] = step
        slopes.append((np.asarray(function(x + shift)) - np.asarray(function(x - shift))) / (2 * step))
    return np.reshape(slopes, (*x.shape, *np.shape(slopes[0])))


def risk_coverage_area(errors, confidence, orders):
    """The mean risk over coverages, averaged over random orders of what is equally confident."""
    errors, confidence = np.asarray(errors, "float64"), np.asarray(confidence)
    areas = []
    for seed in range(orders):
        shuffled = np.random.default_rng(seed).permutation(len(errors))
        ranked = shuffled[np.argsort(-confidence[shuffled], kind="stable")]
        areas.append(sum(errors[ranked[:i]].mean() for i in range(1, len(errors) + 1)) / len(errors))
    return np.mean(areas)


def log_odds(logits):
    """log p_k - log Σ_{j≠k} p_j, for each class."""
    logits = [float(z) for z in logits]
    found = []
    for k, z in enumerate(logits):
        others = logits[:k] + logits[k + 1 :]
        top = max(others)
        found.append(z - top - math.log(math.fsum(math.exp(other - top) for other in others)))
    return found


def isotonic(x, y, weight=None):
    """Isotonic regression at the examples, by the min-max formula: the largest over a ≤ i of the least mean of a..b."""
    weight = np.ones(len(x)) if weight is None else np.asarray(weight, "float64")
    distinct = sorted(set(x))
    total = [sum(w for value, w in zip(x, weight) if value == d) for d in distinct]
    hits = [sum(w * t for value, t, w in zip(x, y, weight) if value == d) for d in distinct]
    n = len(distinct)
    fitted = {}
    for i in range(n):
        fitted[distinct[i]] = max(
            min(sum(hits[a : b + 1]) / sum(total[a : b + 1]) for b in range(i, n)) for a in range(i + 1)
        )
    return np.array([fitted[value] for value in x])


def line_between(x, knots, values):
    """The value at x of the straight lines through (knot, value), constant outside."""
    if x <= knots[0]:
        return values[0]
    for left in range(len(knots) - 1):
        if x <= knots[left + 1]:
            share = (x - knots[left]) / (knots[left + 1] - knots[left])
            return values[left] + share * (values[left + 1] - values[left])
    return values[-1]


def softmax(logits):
    """exp(log p_k), float64."""
    return np.exp([log_probability(k, logits) for k in range(len(logits))])


def histogram_binning(p, outcome, index, weight=None):
    """Each probability's bin mean."""
    weight = np.ones(len(p)) if weight is None else np.asarray(weight, "float64")
    return np.array(
        [
            sum(w * y for y, w, j in zip(outcome, weight, index) if j == i)
            / sum(w for w, j in zip(weight, index) if j == i)
            for i in index
        ]
    )
