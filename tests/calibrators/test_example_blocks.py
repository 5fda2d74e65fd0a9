"""`ExampleBlocks`: no block is lost, no copy of the whole is made, and threads change nothing."""

import tracemalloc

import numpy as np
import pytest

from keras_ls.calibrators import example_blocks
from keras_ls.calibrators.affine_solver import solve_affine
from keras_ls.calibrators.example_blocks import ExampleBlocks
from keras_ls.calibrators.temperature_solver import solve_temperature


def sums(z, labels, weight):
    return np.array([weight.sum(), weight @ z.sum(axis=1), weight @ labels])


@pytest.mark.parametrize("budget", [0, 1 << 30], ids=["read again", "kept"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_block_counts_once(budget, threads, monkeypatch):
    monkeypatch.setattr(example_blocks, "BUDGET", budget)
    monkeypatch.setattr(example_blocks, "_BLOCK", 70)  # 10 rows of 7
    monkeypatch.setattr(example_blocks.os, "cpu_count", lambda: threads)
    # integers, whose sums are exact
    rng = np.random.default_rng(0)
    logits, labels, weight = rng.integers(-9, 9, (123, 7)), rng.integers(0, 7, 123), rng.integers(0, 3, 123)
    weight[30:50] = 0  # whole blocks
    blocks = ExampleBlocks(labels, logits.astype("float32"), weight)
    for _ in range(2):
        assert blocks.sum(sums).tolist() == [weight.sum(), weight @ logits.sum(axis=1), weight @ labels]
        rows = np.concatenate(blocks.sum(lambda z, labels, weight: [z]))
        np.testing.assert_array_equal(rows, logits[weight > 0])


def test_binary_logits_are_read_as_two():
    rows = ExampleBlocks(np.array([1.0, 0.25]), np.array([3.0, -1.0]), np.ones(2)).sum(lambda *block: [block])
    ((z, labels, weight),) = rows
    assert z.tolist() == [[0.0, 3.0], [0.0, -1.0]]
    assert labels.tolist() == [[0.0, 1.0], [0.75, 0.25]]
    assert weight.tolist() == [1.0, 1.0]


def test_an_error_in_any_block_is_raised(monkeypatch):
    monkeypatch.setattr(example_blocks, "_BLOCK", 20)
    logits = np.zeros((40, 2))
    logits[35, 1] = np.nan
    with pytest.raises(ValueError, match=r"without NaN or \+inf. Received: 1 such values in a block of 10"):
        ExampleBlocks(np.zeros(40, int), logits, np.ones(40)).sum(sums)
    weight = np.arange(40) != 35
    assert ExampleBlocks(np.zeros(40, int), logits, weight).sum(sums)[0] == 39


@pytest.mark.parametrize("solver", ["temperature", "vector"])
def test_large_arrays_are_not_copied(solver):
    # 6 million float32 logits are 24 MB: a copy, or float64 ones of 48 MB, would show; blocks of 1 MB do not
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((60_000, 100), "float32")
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    weight = np.ones(len(labels), "float32")
    weight[::1000] = 0
    assert logits.size > example_blocks.BUDGET
    tracemalloc.start()
    if solver == "temperature":
        solve_temperature(logits, labels, weight, (0.01, 100.0))
    else:
        solve_affine(labels, logits, weight, np.zeros((2, 100)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    threads = example_blocks.os.cpu_count()
    assert peak < 4e6 + min(threads, 46) * 8e6 and (threads > 2 or peak < 20e6)


def test_results_do_not_depend_on_what_is_kept(monkeypatch):
    rng = np.random.default_rng(1)
    logits = 3 * rng.normal(size=(500, 6))
    labels = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
    kept = solve_temperature(logits, labels, np.ones(500), (0.01, 100.0))
    monkeypatch.setattr(example_blocks, "BUDGET", 0)
    monkeypatch.setattr(example_blocks, "_BLOCK", 100)
    again = solve_temperature(logits, labels, np.ones(500), (0.01, 100.0))
    assert again.temperature == pytest.approx(kept.temperature, rel=1e-10)
    assert again.nll_after == pytest.approx(kept.nll_after, abs=1e-12)
