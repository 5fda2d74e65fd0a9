import numpy as np
import pytest
import tensorflow as tf

from keras_ls import data


def places(count, height=6, width=5):
    """Images whose pixels say where they are: channel 0 the row, channel 1 the column, counted from 1."""
    grid = np.stack(np.meshgrid(np.arange(1, height + 1), np.arange(1, width + 1), indexing="ij"), axis=-1)
    return np.repeat(grid[None], count, axis=0).astype("float32")


def mapped(augment, images, passes=1):
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(len(images)))).repeat(passes)
    found = list(dataset.enumerate().map(augment).as_numpy_iterator())
    np.testing.assert_array_equal([label for _, label in found], np.tile(np.arange(len(images)), passes))
    return np.stack([image for image, _ in found])


def test_every_crop_is_a_window_and_all_windows_are_equally_likely():
    count = 4000
    crops = mapped(data.random_crop_and_flip(4, seed=3), places(count))
    rows, columns = crops[..., 0], crops[..., 1]
    flipped = columns[:, 0, 0] > columns[:, 0, -1]
    columns = np.where(flipped[:, None, None], columns[:, :, ::-1], columns)
    top, left = rows[:, 0, 0].astype(int), columns[:, 0, 0].astype(int)
    np.testing.assert_array_equal(rows, (top[:, None] + np.arange(4))[:, :, None] + np.zeros((1, 1, 4)))
    np.testing.assert_array_equal(columns, (left[:, None] + np.arange(4))[:, None, :] + np.zeros((1, 4, 1)))
    # a 4×4 crop of 6×5 has 3·2 places, flipped or not: 12 cells of 4000/12 each, within 4 standard deviations
    cells = np.bincount((top - 1) * 4 + (left - 1) * 2 + flipped, minlength=12)
    assert len(cells) == 12
    assert np.abs(cells - count / 12).max() < 4 * np.sqrt(count / 12 * 11 / 12)


def test_shifts_are_uniform_and_what_moves_in_is_zero():
    count = 4000
    shifted = mapped(data.random_shift(2, seed=0), places(count, 7, 7))
    # the middle pixel is (4, 4): it now shows the row and column that were moved there
    down, right = (4 - shifted[:, 3, 3]).astype(int).T
    for image, y, x in zip(shifted[:50], down[:50], right[:50]):
        expected = np.zeros((7, 7, 2))
        source = places(1, 7, 7)[0]
        expected[max(y, 0) : 7 + min(y, 0), max(x, 0) : 7 + min(x, 0)] = source[
            max(-y, 0) : 7 - max(y, 0), max(-x, 0) : 7 - max(x, 0)
        ]
        np.testing.assert_array_equal(image, expected)
    # 5·5 shifts of -2 to 2
    cells = np.bincount((down + 2) * 5 + right + 2, minlength=25)
    assert len(cells) == 25
    assert np.abs(cells - count / 25).max() < 4 * np.sqrt(count / 25 * 24 / 25)


def test_padding_comes_before_the_crop():
    crops = mapped(data.random_crop_and_flip(6, seed=0, padding=1), places(200, 6, 6))
    # row 0 is padding, 1 to 6 are pixels, 7 is padding: the crop starts at 0, 1 or 2
    first = crops[:, 0, :, 0].max(axis=1)
    assert set(first) == {0, 1, 2}
    np.testing.assert_array_equal(crops[:, -1, :, 0].max(axis=1), np.where(first == 2, 0, first + 5))


def test_numbers_are_those_of_the_seed_and_the_index():
    images = places(40)
    crops = mapped(data.random_crop_and_flip(3, seed=7), images, passes=2)
    np.testing.assert_array_equal(crops, mapped(data.random_crop_and_flip(3, seed=7), images, passes=2))
    assert (crops != mapped(data.random_crop_and_flip(3, seed=8), images, passes=2)).any(axis=(1, 2, 3)).mean() > 0.7
    # 24 crops: the second pass, whose indices go on, repeats about one in 24
    assert (crops[:40] != crops[40:]).any(axis=(1, 2, 3)).mean() > 0.7
    # neither the order nor what comes before matters: index 25 alone
    image, label = data.random_crop_and_flip(3, seed=7)(25, (images[25], 25))
    np.testing.assert_array_equal(image, crops[25])
    assert label == 25


def test_a_parallel_map_gives_the_same_images():
    augment = data.random_shift(2, seed=1)
    images = places(30)
    expected = mapped(augment, images)
    examples = tf.data.Dataset.from_tensor_slices((images,)).enumerate()
    found = np.stack([image for (image,) in examples.map(augment, num_parallel_calls=2).as_numpy_iterator()])
    np.testing.assert_array_equal(found, expected)


def test_dtype_and_weights_pass_through():
    image, label, weight = data.random_shift(0, seed=0)(0, (np.full((2, 2, 1), 7, "uint8"), 3, 0.5))
    assert image.dtype == tf.uint8
    np.testing.assert_array_equal(image, np.full((2, 2, 1), 7))
    assert (label, weight) == (3, 0.5)


def test_center_crop():
    # rows 1 to 6, the middle 4 are 2 to 5; columns 1 to 5: with 1 to spare, the left one stays
    crop = data.center_crop(places(2), 4)
    np.testing.assert_array_equal(crop[1, :, 0, 0], [2, 3, 4, 5])
    np.testing.assert_array_equal(crop[1, 0, :, 1], [1, 2, 3, 4])
    np.testing.assert_array_equal(data.center_crop(places(2)[0], 4), crop[0])


def test_wrong_use():
    image = places(1)
    with pytest.raises(ValueError, match=r"images of at least 6×6. Received: 6×5. Choose a smaller `size`"):
        data.center_crop(image, 6)
    with pytest.raises(ValueError, match=r"images of at least 7×7. Received: 6×5"):
        mapped(data.random_crop_and_flip(7, seed=0), image)
    with pytest.raises(ValueError, match=r"`size` to be an integer of at least 1. Received: 0"):
        data.random_crop_and_flip(0, seed=0)
    with pytest.raises(ValueError, match=r"`seed` to be an integer of at least 0. Received: None"):
        data.random_shift(2, seed=None)
    dataset = tf.data.Dataset.from_tensor_slices((image, [0]))
    with pytest.raises(ValueError, match=r"index of an example. Received: float32 .*dataset.enumerate"):
        dataset.map(data.random_shift(2, seed=0))
    with pytest.raises(ValueError, match=r"one image \[H, W, C\] of known size. Received: .*before batch"):
        dataset.batch(1).enumerate().map(data.random_shift(2, seed=0))


def test_inception_crops_have_the_sizes_of_the_paper_and_are_flipped_half_of_the_time():
    # after resizing w columns to 50, a step between columns is w/50 pixels, and a mirrored one -w/50
    height, width, count = 90, 120, 600
    augment = data.inception_random_crop(50, seed=5)
    image = tf.constant(places(1, height, width)[0] / 1000)
    crops = np.stack([augment(i, (image,))[0] for i in range(count)])
    assert crops.shape == (count, 50, 50, 2) and crops.dtype == np.float32
    crops = (crops + 1) / 2 * 1000
    steps = np.diff(crops[:, 24:27, 24:27, 1], axis=2).mean(axis=(1, 2))
    rows = np.diff(crops[:, 24:27, 24:27, 0], axis=1).mean(axis=(1, 2)) * 50
    columns = np.abs(steps) * 50
    area, aspect = rows * columns / (height * width), columns / rows
    assert 0.09 < area.min() < 0.15 and area.max() > 0.9  # sizes are whole pixels
    assert 0.72 < aspect.min() < 0.8 and 1.27 < aspect.max() < 1.38
    flipped = steps < 0
    assert abs(flipped.sum() - count / 2) < 4 * np.sqrt(count / 4)
    # the flip tells nothing of the crop: correlations within 4 standard errors
    for value in (area, aspect, crops[:, 25, 25, 0]):
        assert abs(np.corrcoef(flipped, value)[0, 1]) < 4 / np.sqrt(count)
    # all of a row is of the same line: a crop, not a rotation
    np.testing.assert_allclose(crops[..., 0], np.repeat(crops[:, :, :1, 0], 50, axis=2), atol=1e-3)


def test_inception_crops_are_those_of_the_seed_and_the_index():
    images = places(6, 40, 30) / 255
    augment = data.inception_random_crop(8, seed=7)
    crops = mapped(augment, images, passes=2)
    assert len({crop.tobytes() for crop in crops}) == 12
    image, _ = augment(8, (images[2], 2))
    np.testing.assert_array_equal(image, crops[8])
    other = mapped(data.inception_random_crop(8, seed=8), images, passes=2)
    assert (crops != other).any(axis=(1, 2, 3)).all()
    # images of other sizes in one dataset, as uint8
    sizes = tf.data.Dataset.from_tensor_slices([10, 31]).map(
        lambda n: (tf.ensure_shape(tf.fill([n, 2 * n, 3], tf.constant(51, "uint8")), [None, None, 3]), n)
    )
    (batch,) = sizes.enumerate().map(augment).batch(2).map(lambda image, n: image)
    np.testing.assert_allclose(batch, np.full((2, 8, 8, 3), 2 * 51 / 255 - 1), atol=1e-6)


def test_inception_center_crop():
    # 7/8 of 16 rows and columns: 1 to 14; at their own number nothing is interpolated
    image = (places(2, 16, 16) / 16).astype("float32")
    np.testing.assert_allclose(data.inception_center_crop(image, 14), image[:, 1:15, 1:15] * 2 - 1, atol=1e-6)
    np.testing.assert_allclose(data.inception_center_crop(image[0], 16, fraction=1), image[0] * 2 - 1, atol=1e-6)
    white = data.inception_center_crop(np.full((9, 30, 3), 255, "uint8"), 5)
    np.testing.assert_array_equal(white, np.ones((5, 5, 3)))
    with pytest.raises(ValueError, match=r"`fraction` of at most 1. Received: 1.5"):
        data.inception_center_crop(image, 5, fraction=1.5)
    with pytest.raises(ValueError, match=r"`size` to be an integer of at least 1. Received: 0"):
        data.inception_center_crop(image, 0)
