"""Compressed logits against values derived by hand and loops in plain NumPy."""

import math

import numpy as np
import pytest

from keras_ls.distillation.teacher_cache.rows import compress, divergences, expand, row_type
from tests.distillation.networks import kl

LOGITS = np.random.default_rng(0).normal(scale=4, size=(50, 12)).astype("float32")


def softmax(z):
    e = np.exp(np.asarray(z, "float64") - np.max(z))
    return e / e.sum()


def test_float32_is_exact():
    restored = expand(compress(LOGITS, "float32"), 12)
    assert restored.dtype == "float32"
    np.testing.assert_array_equal(restored, LOGITS)


def test_a_tail_by_hand():
    # softmax of (log 8, log 4, log 3, log 1) is (8, 4, 3, 1)/16; the two smallest share 4/16, 2/16 each
    z = np.log([[3.0, 8.0, 1.0, 4.0]])
    restored = expand(compress(z, "float32", 2), 4)
    np.testing.assert_allclose(softmax(restored[0]), [2 / 16, 8 / 16, 2 / 16, 4 / 16], rtol=1e-6)
    # KL = 3/16 log(3/2) + 1/16 log(1/2)
    error = divergences(z, restored, 1.0)[0]
    assert error == pytest.approx(3 / 16 * math.log(3 / 2) - 1 / 16 * math.log(2), rel=1e-5)


@pytest.mark.parametrize("top_k", [1, 3, 11])
def test_the_largest_and_the_mass_of_the_others_are_exact(top_k):
    restored = expand(compress(LOGITS, "float32", top_k), 12)
    for z, found in zip(LOGITS, restored):
        largest = sorted(range(12), key=lambda c: -z[c])[:top_k]
        p, q = softmax(z), softmax(found)
        for c in range(12):
            if c in largest:
                assert found[c] == z[c]
                assert q[c] == pytest.approx(p[c], rel=1e-5)
            else:
                assert q[c] == pytest.approx((1 - sum(p[largest])) / (12 - top_k), rel=1e-4, abs=1e-9)


def test_one_logit_in_the_tail_is_that_logit():
    np.testing.assert_allclose(expand(compress(LOGITS, "float32", 11), 12), LOGITS, rtol=1e-6)


def test_float16_beyond_its_range():
    # 70000 > 65504; relative to the largest they are 0, -3 and less than e to any power that matters
    z = np.array([[7e4, 7e4 - 3, -1e6]], "float32")
    restored = expand(compress(z, "float16"), 3)
    assert restored[0, :2].tolist() == [7e4, 7e4 - 3]
    np.testing.assert_allclose(softmax(restored[0]), softmax(z[0]), atol=1e-12)


def test_float16_keeps_the_level_of_the_logits():
    # half precision has 11 bits: an error of at most 2^-12 of the distance to the largest, which is exact
    restored = expand(compress(LOGITS, "float16"), 12)
    distance = LOGITS.max(axis=1, keepdims=True) - LOGITS
    assert (np.abs(restored - LOGITS) <= distance * 2**-11 + 1e-6).all()
    np.testing.assert_array_equal(restored.max(axis=1), LOGITS.max(axis=1))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergences(temperature):
    restored = expand(compress(LOGITS, "float16", 3), 12)
    np.testing.assert_allclose(
        divergences(LOGITS, restored, temperature), kl(LOGITS, restored, temperature), rtol=1e-9, atol=1e-12
    )


def test_sequences_are_rows_of_rows():
    z = LOGITS.reshape(10, 5, 12)
    for arguments in (("float32",), ("float16",), ("float16", 3)):
        together = expand(compress(z, *arguments), 12)
        np.testing.assert_array_equal(together.reshape(50, 12), expand(compress(LOGITS, *arguments), 12))


@pytest.mark.parametrize("num_classes, bytes_an_index", [(10, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_bytes_a_row(num_classes, bytes_an_index):
    # id 8, checksum 8, offset 4; 5 indices; 5 values and the tail of 2 bytes
    assert row_type((num_classes,), "float16", 5).itemsize == 20 + 5 * bytes_an_index + 6 * 2
    assert row_type((num_classes,), "float32").itemsize == 20 + 4 * num_classes
    assert not row_type((num_classes,), "float32").hasobject


def test_infinitely_many_ties():
    # equal logits: whichever are kept, all come back equal
    np.testing.assert_allclose(expand(compress(np.ones((2, 6)), "float32", 2), 6), 1.0, rtol=1e-6)
