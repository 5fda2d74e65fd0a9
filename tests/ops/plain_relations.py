"""The papers' distillation losses the slow way: NumPy float64, explicit loops, no code shared with the package."""

import itertools
import math

import numpy as np

from tests.ops.plain_forms import softmax


def divergence(p, q):
    """KL(p ‖ q), with 0 log 0 = 0."""
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q) if a > 0)


def pearson(a, b):
    """Pearson's correlation of two lists, as the textbook has it."""
    a, b = [float(x) for x in a], [float(x) for x in b]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    cov = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    return cov / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def dist(teacher, student, beta=1.0, gamma=1.0, temperature=1.0):
    """Huang et al. 2022: β of the mean distance of rows, γ of columns, τ² as in their code."""
    p_t = [softmax(np.asarray(z, "float64") / temperature) for z in teacher]
    p_s = [softmax(np.asarray(z, "float64") / temperature) for z in student]
    rows = [1 - pearson(s, t) for s, t in zip(p_s, p_t)]
    columns = [1 - pearson([s[k] for s in p_s], [t[k] for t in p_t]) for k in range(len(p_t[0]))]
    return temperature**2 * (beta * sum(rows) / len(rows) + gamma * sum(columns) / len(columns))


def huber(d):
    return 0.5 * d * d if abs(d) <= 1 else abs(d) - 0.5


def relational_distance(teacher, student):
    """Park et al. 2019, as their code has it: μ over the distances above 0, the mean over all N² pairs."""

    def potentials(x):
        n = len(x)
        d = {(i, j): math.dist(x[i], x[j]) for i in range(n) for j in range(n)}
        above = [v for v in d.values() if v > 0]
        return {pair: v / (sum(above) / len(above)) for pair, v in d.items()}

    t, s = potentials(teacher), potentials(student)
    return sum(huber(t[pair] - s[pair]) for pair in t) / len(t)


def relational_angle(teacher, student):
    """Park et al. 2019, as their code has it: cosines of normalised differences, the mean over all N³ triples."""

    def cosine(x, i, j, k):
        a, b = np.subtract(x[j], x[i]), np.subtract(x[k], x[i])
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return 0.0 if lengths == 0 else float(a @ b) / lengths

    triples = list(itertools.product(range(len(teacher)), repeat=3))
    return sum(huber(cosine(teacher, *t) - cosine(student, *t)) for t in triples) / len(triples)


def similarity_preserving(teacher, student):
    """Tung and Mori 2019: 1/b² of the squared Frobenius norm between row-normalised Gram matrices."""

    def rows(x):
        gram = [[math.fsum(np.ravel(a) * np.ravel(b)) for b in x] for a in x]
        return [np.array(row) / math.sqrt(math.fsum(v * v for v in row)) for row in gram]

    n = len(teacher)
    return sum(float(((t - s) ** 2).sum()) for t, s in zip(rows(teacher), rows(student))) / n**2


def attention_transfer(teacher, student, power=2):
    """Zagoruyko and Komodakis 2017, one example: the mean of squared differences of normalised maps."""

    def attention(x):
        x = np.asarray(x, "float64")
        q = [sum(abs(v) ** power for v in x[i]) for i in np.ndindex(x.shape[:-1])]
        return [v / math.sqrt(sum(u * u for u in q)) for v in q]

    t, s = attention(teacher), attention(student)
    return sum((a - b) ** 2 for a, b in zip(s, t)) / len(t)


def decoupled(label, teacher, student, temperature=1.0):
    """Zhao et al. 2022, one example: (TCKD, NCKD)."""
    t, s = (softmax(np.asarray(z, "float64") / temperature) for z in (teacher, student))
    others = [k for k in range(len(t)) if k != label]
    target = divergence([t[label], sum(t[others])], [s[label], sum(s[others])])
    return target, divergence(t[others] / sum(t[others]), s[others] / sum(s[others]))


def standardized(z):
    """Sun et al. 2024: less the mean, over the population's standard deviation."""
    z = [float(v) for v in z]
    mean = sum(z) / len(z)
    sigma = math.sqrt(sum((v - mean) ** 2 for v in z) / len(z))
    return np.array([(v - mean) / sigma for v in z])


def jensen_shannon(p, q):
    middle = [(a + b) / 2 for a, b in zip(p, q)]
    return (divergence(p, middle) + divergence(q, middle)) / 2
