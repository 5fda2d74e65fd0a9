import keras
import ml_dtypes
import numpy as np
import pytest
from keras.ops import convert_to_numpy, convert_to_tensor

from keras_ls.ops.binning import bin_statistics, merge_into_quantile_bins, quantile_bin_index, uniform_bin_index
from tests.ops import plain_forms
from tests.precision import digits

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
each_dtype = pytest.mark.parametrize("dtype", [*list(DTYPES)[:3], pytest.param("float64", marks=pytest.mark.float64)])
CLOSED = ["left", "right"]
approx = pytest.approx


# JAX compiles anew for every size
ON_JAX = keras.backend.backend() == "jax"
BINS = (1, 2, 3, 7, 10, 15, 30) if ON_JAX else range(1, 31)

# equal width --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", CLOSED)
@each_dtype
def test_every_edge_and_its_neighbours(dtype, closed):
    for num_bins in BINS:
        edges = (np.arange(num_bins + 1) / num_bins).astype(DTYPES[dtype])
        above = np.nextafter(edges[:-1], DTYPES[dtype](2))
        below = np.nextafter(edges[1:], DTYPES[dtype](-1))
        m = np.arange(num_bins)
        # [m/B, (m+1)/B) and 1.0 in the last; (m/B, (m+1)/B] and 0.0 in the first
        on_edge = [*m, num_bins - 1] if closed == "left" else [0, *m]
        values, expected = np.concatenate([edges, above, below]), np.concatenate([on_edge, m, m])
        index = uniform_bin_index(convert_to_tensor(values), num_bins, closed)
        assert keras.backend.standardize_dtype(index.dtype) == "int32"
        np.testing.assert_array_equal(index, expected, err_msg=f"{num_bins} bins, {closed}, {dtype}")


@each_dtype
def test_three_tenths(dtype):
    # int(.3 / .1) is 2; so is int(.6 / .1) 5
    assert int(0.3 / 0.1) == 2
    tenths = convert_to_tensor(np.array([0.3, 0.6, 0.7], DTYPES[dtype]))
    np.testing.assert_array_equal(uniform_bin_index(tenths, 10), [3, 6, 7])
    np.testing.assert_array_equal(uniform_bin_index(tenths, 10, "right"), [2, 5, 6])


@pytest.mark.parametrize("closed", CLOSED)
def test_random_confidences_against_the_walk(closed):
    values = np.random.default_rng(0).random(500)
    for num_bins in (1, 7, 15, 30):
        expected = [plain_forms.uniform_index(v, num_bins, closed) for v in values]
        np.testing.assert_array_equal(uniform_bin_index(values, num_bins, closed), expected)


def test_any_shape():
    index = uniform_bin_index([[0.1, 1.0], [0.3, 0.75]], 4)
    np.testing.assert_array_equal(index, [[0, 3], [1, 3]])
    assert uniform_bin_index(0.5, 4).shape == ()


def test_integer_and_boolean_confidences():
    # 0 and 1 are the first and the last bin, whatever their type
    np.testing.assert_array_equal(uniform_bin_index([0, 1], 15), [0, 14])
    np.testing.assert_array_equal(uniform_bin_index(np.array([False, True]), 15), [0, 14])


# equal mass ---------------------------------------------------------------------------------------------------------


def quantile(values, num_bins, closed="left", weight=None):
    weight = np.ones(len(values)) if weight is None else weight
    return convert_to_numpy(quantile_bin_index(values, weight, num_bins, closed)).tolist()


@pytest.mark.parametrize("closed", CLOSED)
def test_quantile_edges_at_every_size(closed):
    # among them 46 examples in 10 bins: .7 · 45 is 31.499999999999996 in floating point, and 31.5 rounds up
    for num_bins in (1, 10, 15) if ON_JAX else (1, 2, 3, 10, 15, 20):
        for n in (1, 3, 46, 100) if ON_JAX else (1, 2, 3, 7, 45, 46, 47, 86, 100):
            values = np.random.default_rng(n).permutation(n) / n
            expected = plain_forms.quantile_index(values, num_bins, closed)
            assert quantile(values, num_bins, closed) == expected, (num_bins, n)


def test_halves_are_rounded_up():
    # edge 7 of 10 among 46: rank round(31.5) = 32, so that the examples of rank 28 to 31 stay in bin 6; 8 · 4.5 = 36
    index = quantile(np.arange(46) / 46, 10)
    assert [index.index(6), index.index(7), index.index(8)] == [27, 32, 36]


@pytest.mark.parametrize("closed", CLOSED)
def test_ties_share_a_bin(closed):
    values = np.random.default_rng(0).integers(0, 12, 200) / 12
    index = quantile(values, 5, closed)
    assert index == plain_forms.quantile_index(values, 5, closed)
    for value in set(values):
        assert len({i for i, v in zip(index, values) if v == value}) == 1


def test_ties_by_hand():
    # ranks 0..5: .2 .2 .2 .2 .8 .9; 3 bins: edges at ranks round(5/3) = 2 and round(10/3) = 3, both .2
    values = [0.2, 0.9, 0.2, 0.2, 0.8, 0.2]
    assert quantile(values, 3) == [2, 2, 2, 2, 2, 2]
    # closed on the right the edges are ranks 1 and 2, again .2: everything up to .2 is in bin 0
    assert quantile(values, 3, "right") == [0, 2, 0, 0, 2, 0]


@pytest.mark.parametrize("closed", CLOSED)
def test_integer_weight_is_repetition(closed):
    rng = np.random.default_rng(1)
    values, times = rng.random(30), rng.integers(0, 5, 30)
    repeated = plain_forms.quantile_index(np.repeat(values, times), 4, closed)
    weighted = np.repeat(quantile(values, 4, closed, times), times)
    assert weighted.tolist() == repeated


# sums ---------------------------------------------------------------------------------------------------------------


def test_bin_statistics_against_bincount_on_a_million():
    rng = np.random.default_rng(2)
    n = 1_000_000
    confidence = rng.random(n, dtype="float32")
    accuracy, weight = rng.integers(0, 2, n), rng.integers(0, 3, n).astype("float32")
    index = uniform_bin_index(confidence, 15)
    expected = [np.bincount(index, v, 15) for v in (weight, weight * accuracy, weight.astype("float64") * confidence)]
    np.testing.assert_allclose(
        bin_statistics(index, confidence, accuracy, weight, 15), expected, rtol=digits(1e-12, 1e-4)
    )


def test_bin_statistics_by_hand():
    # bin 0: weights 1 and 3, hits 1 and .5, confidences .2 and .4; bin 1 empty; in bin 2 a dropped NaN beside weight 2
    got = bin_statistics([0, 0, 2, 2], [0.2, 0.4, np.nan, 0.9], [1, 0.5, np.nan, 0], [1, 3, 0, 2], 3)
    np.testing.assert_allclose(got, [[4, 0, 2], [2.5, 0, 0], [1.4, 0, 1.8]], rtol=1e-6)


@pytest.mark.parametrize("closed", CLOSED)
def test_merged_cells_equal_quantile_bins_of_their_examples(closed):
    # every example of a cell has the same confidence: merging cells is binning examples
    rng = np.random.default_rng(3)
    cells = 40
    cell = rng.integers(0, cells, 300)
    values = (cell + 0.5) / cells
    hit = rng.integers(0, 2, 300)
    fine = [np.bincount(cell, w, cells) for w in (np.ones(300), hit, values)]
    for num_bins in (1, 4, 15):
        index = plain_forms.quantile_index(values, num_bins, closed)
        expected = [np.bincount(index, w, num_bins) for w in (np.ones(300), hit, values)]
        np.testing.assert_allclose(
            merge_into_quantile_bins(fine, num_bins, closed), expected, rtol=digits(1e-12), atol=0
        )


@pytest.mark.parametrize("closed", CLOSED)
def test_tables_of_cells_are_merged_row_by_row(closed):
    # rows with examples in all cells, in few, in the first alone, in the last alone, and in none
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 9, (5, 20)).astype("float64")
    counts[1, 3:] = 0
    counts[2, 1:] = 0
    counts[3, :-1] = 0
    counts[4] = 0
    fine = np.stack([counts, counts * rng.random((5, 20)), counts * np.linspace(0, 1, 20)])
    merged = convert_to_numpy(merge_into_quantile_bins(fine, 6, closed))
    for row in range(5):
        cell = np.repeat(np.arange(20), counts[row].astype(int))
        index = np.array(plain_forms.quantile_index(cell, 6, closed), int) if cell.size else np.zeros(0, int)
        values = [fine[i, row][cell] / counts[row][cell] for i in range(3)]
        expected = [np.bincount(index, v, 6) for v in values]
        np.testing.assert_allclose(merged[:, row], expected, rtol=digits(1e-12), atol=1e-6)


def test_weights_that_are_no_whole_numbers_share_the_ranks():
    # .1 .1 .1 .5 among 4 ranks: .5 .5 .5 2.5, together .5 1 1.5 4. Of two bins the edge has rank round(3/2) = 2
    values = [0.1, 0.2, 0.3, 0.4]
    assert quantile(values, 2, weight=[0.1, 0.1, 0.1, 0.5]) == [0, 0, 0, 1]
    assert quantile(values, 2, weight=[0.7] * 4) == [0, 0, 1, 1]
    # one so heavy that both edges of three bins lie at it
    assert quantile(values, 3, weight=[0.5, 1e6 + 0.5, 0.5, 0.5]) == [0, 2, 2, 2]
    # values that stand for two examples each
    index = quantile_bin_index(values, [0.25] * 4, 4, examples=8)
    assert convert_to_numpy(index).tolist() == quantile(values, 4, weight=[2] * 4)


@pytest.mark.parametrize("closed", CLOSED)
def test_equal_weights_say_nothing_of_equal_mass_bins(closed):
    for n in (5, 30, 1001):
        values = np.random.default_rng(n).random(n).round(3)
        for num_bins in (2, 7, 15):
            expected = quantile(values, num_bins, closed)
            for weight in (0.1, 1 / n, 1e-12, 12345.678):
                assert quantile(values, num_bins, closed, np.full(n, weight, "float32")) == expected


def test_cells_of_weights_that_are_no_whole_numbers():
    # halves of .8: after the second cell, which ends at it, or in the second
    fine = np.array([[0.1, 0.3, 0.3, 0.1], [0.0, 0.1, 0.1, 0.1]])
    assert convert_to_numpy(merge_into_quantile_bins(fine, 2))[0].tolist() == approx([0.4, 0.4])
    fine[0] = [0.1, 0.4, 0.2, 0.1]
    assert convert_to_numpy(merge_into_quantile_bins(fine, 2))[0].tolist() == approx([0.1, 0.7])
    assert convert_to_numpy(merge_into_quantile_bins(fine, 2, "right"))[0].tolist() == approx([0.5, 0.3])
    # as many as 8 examples: the edge is rank round(7/2) = 4, the fifth, which the second cell holds
    merged = convert_to_numpy(merge_into_quantile_bins(fine, 2, examples=8))
    assert merged[0].tolist() == approx([0.1, 0.7]) and merged[1].tolist() == approx([0, 0.3])
