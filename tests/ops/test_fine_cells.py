import math

import keras
import ml_dtypes
import numpy as np
import pytest
from keras.ops import convert_to_numpy, convert_to_tensor

from keras_ls.ops.binning import bin_statistics, fine_cell_index
from tests.metrics.streams import each_way, traced

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
each_dtype = pytest.mark.parametrize("dtype", [*list(DTYPES)[:3], pytest.param("float64", marks=pytest.mark.float64)])


def cells(values, num_cells=4096):
    return convert_to_numpy(fine_cell_index(convert_to_tensor(values), num_cells))


def coordinate(c):
    """u(c), where c is neither 0 nor 1."""
    return 0.5 * c + (min(max(math.log(c / (1 - c)), -17.0), 17.0) + 17.0) / 68.0


@pytest.mark.parametrize("num_cells", [1, 2, 512, 4096])
@pytest.mark.float64
def test_the_stated_coordinate(num_cells):
    rng = np.random.default_rng(0)
    log_odds = np.concatenate([rng.uniform(-16.9, 16.9, 500), rng.normal(size=500)])
    c = np.concatenate([1 / (1 + np.exp(-log_odds)), rng.random(500)])
    place = np.array([coordinate(float(x)) for x in c]) * num_cells
    clear = np.abs(place - np.round(place)) > 1e-6  # of an edge
    assert clear.sum() > 1450
    np.testing.assert_array_equal(cells(c, num_cells)[clear], np.floor(place[clear]))


@each_dtype
def test_the_ends(dtype):
    kind = DTYPES[dtype]
    assert cells(np.array([0, 1], kind)).tolist() == [0, 4095]
    assert cells(np.array([0, 1], kind), 512).tolist() == [0, 511]
    assert cells(np.array([False, True])).tolist() == [0, 4095]
    # half: u = ¼ + 17/68 = ½, the lower end of cell 2048
    assert cells(np.array([0.5, 0.49], kind)).tolist() == [2048, math.floor(4096 * coordinate(float(kind(0.49))))]


@each_dtype
def test_a_larger_confidence_is_never_in_a_lower_cell(dtype):
    # runs of neighbouring numbers around the ends of cells, and all numbers just below 1
    kind = DTYPES[dtype]
    starts = [0.01, 0.25, 0.5, 0.9, 0.99, 1 - 2.0**-9, *np.random.default_rng(1).random(30)]
    runs = [np.array(0, kind), *np.array([1e-7, 1e-6, 1e-4], kind)]
    for start in np.array(starts, kind):
        for _ in range(200):
            start = np.nextafter(start, kind(2))
            runs.append(start)
    below = kind(1)
    for _ in range(200):
        runs.append(below)
        below = np.nextafter(below, kind(0))
    values = np.unique(np.array([x for x in runs if x <= 1], kind))
    index = cells(values)
    assert (np.diff(index) >= 0).all()
    assert len(set(index)) > 30


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_widened(dtype):
    values = np.random.default_rng(2).random(300).astype(DTYPES[dtype])
    np.testing.assert_array_equal(cells(values), cells(values.astype("float32")))


def test_what_equal_widths_cannot_tell_apart():
    # log-odds 9 to 16, all above 1 - 1/4096: half of the cells are spread over 34 units of log-odds, 60 a unit
    c = (1 / (1 + np.exp(-np.arange(9.0, 16.0)))).astype("float32")
    assert (c > 1 - 1 / 4096).all()
    assert (np.diff(cells(c)) > 55).all()
    # and of confidence: steps of a tenth of the middle are 205 cells and those of log-odds besides
    assert (np.diff(cells(np.arange(0.3, 0.75, 0.1))) > 205).all()


@each_way
def test_traced_and_any_shape(jit_compile):
    values = np.random.default_rng(3).random((4, 5)).astype("float32")
    index = traced(lambda x: fine_cell_index(x), jit_compile)(convert_to_tensor(values))
    assert keras.backend.standardize_dtype(index.dtype) == "int32"
    np.testing.assert_array_equal(index, cells(values.reshape(-1)).reshape(4, 5))


def test_nan_stays_inside_where_it_spoils_its_cell():
    index = cells(np.array([np.nan, 0.2], "float32"))
    assert 0 <= index[0] < 4096
    sums = convert_to_numpy(bin_statistics(index, [np.nan, 0.2], [1.0, 1.0], [1.0, 1.0], 4096))
    assert np.isnan(sums[2, index[0]]) and not np.isnan(sums[2, index[1]])
