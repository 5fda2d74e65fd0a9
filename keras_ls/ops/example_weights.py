"""What sample weights count for: whole numbers are counts of examples, other weights are shares, without a scale.

An integer weight equals repeating the example. Weights of which one is no whole number (importance weights, weights
that sum to 1) count no examples, so that nothing may depend on their scale: where a result depends on the number of
examples, they stand for as many as have a weight above 0. Equal weights then give what no weights give.
"""

import numpy as np
from keras import ops as K

from keras_ls.ops.float64 import divide_no_nan
from keras_ls.ops.precision import to_accumulation_dtype


def are_counts(weight, axis=None):
    """Whether all weights are whole numbers; over `axis`, or over all."""
    return K.all(weight == K.floor(weight), axis=axis)


def number_of_examples(weight, axis=None):
    """How many examples the weights stand for: their sum where all are whole, else how many are above 0."""
    weight = to_accumulation_dtype(weight)
    above = K.sum(to_accumulation_dtype(weight > 0), axis=axis)
    return K.where(are_counts(weight, axis), K.sum(weight, axis=axis), above)


def to_counts(weight):
    """The weights in examples: whole ones as they are, others scaled so as to sum to how many are above 0."""
    weight = to_accumulation_dtype(weight)
    share = divide_no_nan(weight, K.max(weight))  # of equal weights 1, which no sum rounds
    above = K.sum(to_accumulation_dtype(weight > 0))
    return K.where(are_counts(weight), weight, share * divide_no_nan(above, K.sum(share)))


def to_effective_counts(weight):
    """NumPy weights in examples, for a variance: whole ones as they are, others summing to their `effective_size`."""
    weight = np.asarray(weight, "float64")
    if (weight == np.floor(weight)).all():
        return weight
    share = weight / weight.max()  # of equal weights 1, which no sum rounds
    return share * (share.sum() / np.square(share).sum())


def effective_size(total, squares):
    """Kish's effective sample size `(Σ w)² / Σ w²`: of equal weights their number. 0 where there is none.

    NaN where the squares are too large or too small for their dtype.
    """
    size = divide_no_nan(total * total, squares)
    lost = K.logical_or(K.logical_and(total > 0, squares == 0), squares == float("inf"))
    return K.where(lost, K.full_like(size, float("nan")), size)


def weight_totals(weight, axis=None):
    """`[3, ...]`: how many weights are above 0, how many are no whole number, and the sum of the squares.

    They add up over batches, and tell afterwards what the weights counted for: `examples_of_totals`.
    """
    weight = to_accumulation_dtype(weight)
    above, broken = (to_accumulation_dtype(x) for x in (weight > 0, weight != K.floor(weight)))
    return K.stack([K.sum(x, axis=axis) for x in (above, broken, weight * weight)])


def examples_of_totals(totals, weight):
    """`(examples, counts)`: `number_of_examples` and `are_counts` of weights of this sum and `weight_totals`."""
    counts = totals[1] == 0
    return K.where(counts, weight, totals[0]), counts
