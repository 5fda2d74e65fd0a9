import numpy as np
import pytest

from keras_ls import data


def test_digits_are_scikit_learns_and_every_one_is_in_one_part():
    from sklearn.datasets import load_digits

    splits = data.load("digits")
    x = np.concatenate([splits.train[0], splits.calibration[0], splits.test[0]])
    expected = (load_digits().data / 16).astype("float32")
    assert x.shape == expected.shape == (1797, 64)
    np.testing.assert_array_equal(np.sort(x.sum(axis=1)), np.sort(expected.sum(axis=1)))
    np.testing.assert_array_equal(np.unique(x, axis=0), np.unique(expected, axis=0))


def test_parts_are_stratified():
    # 1,797 digits, 174 to 183 of each: at most one more or less than their share in each part
    for part, size in (("train", 700), ("calibration", 400), ("test", 697)):
        y = getattr(data.load("digits"), part)[1]
        share = (
            np.bincount(np.concatenate([getattr(data.load("digits"), p)[1] for p in data.splits.PARTS])) * size / 1797
        )
        assert len(y) == size
        assert np.abs(np.bincount(y) - share).max() <= 1.5


def test_noise_is_gaussian_of_the_stated_size_and_drawn_once():
    clean, noisy = data.load("digits"), data.load("digits-noise")
    np.testing.assert_array_equal(clean.train[1], noisy.train[1])
    noise = noisy.train[0] - clean.train[0]
    # 44,800 draws: the standard deviation is .4 to within 1.5 %, the mean 0 to within 3 standard errors
    assert noise.std() == pytest.approx(0.4, rel=0.015)
    assert abs(noise.mean()) < 3 * 0.4 / np.sqrt(noise.size)
    np.testing.assert_array_equal(data.DATASETS["digits-noise"]().train[0], noisy.train[0])


def test_fingerprint_tells_data_apart():
    assert data.load("digits").fingerprint != data.load("digits-noise").fingerprint
    assert data.load("digits").fingerprint == data.digits().fingerprint


@pytest.mark.parametrize("part", data.splits.PARTS)
def test_what_is_shared_is_read_only(part):
    x, y = getattr(data.load("digits"), part)
    before = x.copy(), y.copy()
    for array in (x, y, x[:3], x.reshape(-1, 8, 8)):
        with pytest.raises(ValueError, match="read-only"):
            array += 1
    np.testing.assert_array_equal(getattr(data.load("digits"), part)[0], before[0])
    np.testing.assert_array_equal(getattr(data.load("digits"), part)[1], before[1])
    changed = x.copy()
    changed += 1  # of one's own
    assert (changed - x == 1).all()


def test_unknown_name():
    with pytest.raises(ValueError, match=r"Expected `dataset` to be one of .*Received: 'digits-nois'.*'digits-noise'"):
        data.load("digits-nois")
