import numpy as np
import pytest

from keras_ls.ops import example_weights
from keras_ls.ops.precision import to_accumulation_dtype

approx = pytest.approx


@pytest.mark.parametrize(
    ("weight", "counts", "examples"),
    [
        ([3, 0, 2], True, 5),
        ([0.5, 0, 2], False, 2),
        ([0.5, 0.5, 0.5], False, 3),
        ([2.0**40, 1], True, 2**40 + 1),
        ([0, 0], True, 0),
        ([1e-30, 1e-30], False, 2),
    ],
)
def test_whole_numbers_are_counts(weight, counts, examples):
    weight = np.array(weight, "float64")
    assert bool(example_weights.are_counts(weight)) == counts
    assert float(example_weights.number_of_examples(weight)) == approx(examples, rel=1e-6)
    totals = to_accumulation_dtype(example_weights.weight_totals(weight))
    found = example_weights.examples_of_totals(totals, to_accumulation_dtype(weight.sum()))
    assert float(found[0]) == approx(examples, rel=1e-6) and bool(found[1]) == counts


def test_to_counts():
    assert [float(w) for w in example_weights.to_counts([4.0, 0.0, 2.0])] == [4, 0, 2]
    # .2 + .6 + 0: two above 0
    assert [float(w) for w in example_weights.to_counts([0.2, 0.6, 0.0])] == approx([0.5, 1.5, 0], rel=1e-6)
    # equal ones are 1, without rounding
    assert [float(w) for w in example_weights.to_counts([0.1] * 7)] == [1.0] * 7
    assert [float(w) for w in example_weights.to_counts([1e-30, 3e-30])] == approx([0.5, 1.5], rel=1e-6)


def test_effective_size():
    # (.5 + .5 + 1.5)² / (.25 + .25 + 2.25); of equal weights their number; one heavy weight is one example
    total, squares = (to_accumulation_dtype(x) for x in ([2.5, 0.4, 1e6 + 1e-6, 0.0], [2.75, 0.04, 1e12, 0.0]))
    assert [float(n) for n in example_weights.effective_size(total, squares)] == approx(
        [6.25 / 2.75, 4, 1, 0], rel=1e-5
    )
    assert example_weights.to_effective_counts([0.5, 0.5, 1.5]).sum() == approx(6.25 / 2.75)
    assert example_weights.to_effective_counts([0.1, 0.1]).tolist() == [1, 1]
    assert example_weights.to_effective_counts([3, 1]).tolist() == [3, 1]


def test_squares_out_of_range_are_no_number():
    total, squares = (to_accumulation_dtype(x) for x in ([1.0, 1.0], [0.0, np.inf]))
    assert np.isnan([float(n) for n in example_weights.effective_size(total, squares)]).all()
