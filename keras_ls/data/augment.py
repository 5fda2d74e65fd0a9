"""Random crops, flips and shifts: the same seed gives the same images, in whatever order they are made."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_ls.ops._checks import checked_count, checked_positive
from keras_ls.ops._types import Tensor


def random_crop_and_flip(size: int, seed: int, padding: int = 0) -> Callable[[Any, tuple], tuple]:
    """A function for `dataset.enumerate().map` that crops a random square and mirrors it half of the time.

    Its randomness is a function of `(seed, index)` and of nothing else. `enumerate` after `repeat`, and every pass has
    crops of its own.

    Args:
        size: height and width of the crop.
        seed: an integer.
        padding: pixels of zeros around the image before it is cropped.

    Returns:
        A function of `(index, (image, ...))` that returns `(image, ...)`; images are `[H, W, C]`.

    Raises:
        ValueError: for sizes that are no counts; and, when it is mapped, for images smaller than the crop, for batches,
            and for a dataset without `enumerate`.

    Examples:
        >>> import numpy as np, tensorflow as tf, keras_ls as kls
        >>> data = tf.data.Dataset.from_tensor_slices((np.zeros((5, 32, 32, 3)), np.arange(5))).repeat(2)
        >>> data = data.enumerate().map(kls.data.random_crop_and_flip(24, seed=0))
        >>> data.element_spec[0].shape
        TensorShape([24, 24, 3])

    Reference:
        Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012; with
        padding: He et al., "Deep Residual Learning for Image Recognition", 2016.
    """
    size, padding = checked_count("size", size), checked_count("padding", padding, minimum=0)

    def crop_and_flip(image, seeds):
        draws = _draws(seeds)
        image = _crop(_pad(image, padding), (size, size), draws[:2])
        return tf.where(draws[2] < 0.5, image, tf.reverse(image, axis=[1]))

    return _mappable(crop_and_flip, seed)


def random_shift(pixels: int, seed: int) -> Callable[[Any, tuple], tuple]:
    """A function for `dataset.enumerate().map` that moves an image by up to `pixels` up, down, left and right.

    All `(2 pixels + 1)²` shifts are equally likely; what moves in is 0.

    Args:
        pixels: the furthest shift along an axis.
        seed: an integer.

    Returns:
        A function of `(index, (image, ...))` that returns `(image, ...)`; see `random_crop_and_flip`.

    Raises:
        ValueError: as `random_crop_and_flip`.

    Examples:
        >>> import numpy as np, tensorflow as tf, keras_ls as kls
        >>> data = tf.data.Dataset.from_tensors((np.ones((28, 28, 1)), 7))
        >>> image, label = next(iter(data.enumerate().map(kls.data.random_shift(2, seed=0))))
        >>> image.shape, int(label)
        (TensorShape([28, 28, 1]), 7)

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    pixels = checked_count("pixels", pixels, minimum=0)

    def shift(image, seeds):
        return _crop(_pad(image, pixels), image.shape[:2], _draws(seeds)[:2])

    return _mappable(shift, seed)


def inception_random_crop(size: int, seed: int) -> Callable[[Any, tuple], tuple]:
    """A function for `dataset.enumerate().map` that gives a random part of an image as Inception networks train on it.

    A rectangle of 10 to 100 % of the image's area, whose width is 0.75 to 1.33 of its height, is resized to a square,
    mirrored half of the time, and scaled from [0, 1] to [-1, 1]. TF-slim, whose crop this is, also changes colours.

    Args:
        size: height and width of what comes out; 299 for Inception-v4.
        seed: an integer.

    Returns:
        A function of `(index, (image, ...))` that returns `(image, ...)`; see `random_crop_and_flip`. Images are
        `[H, W, C]` of any size, in [0, 1] or uint8; `[size, size, C]`, float32, come out.

    Raises:
        ValueError: as `random_crop_and_flip`, but for sizes of images.

    Examples:
        >>> import numpy as np, tensorflow as tf, keras_ls as kls
        >>> data = tf.data.Dataset.from_tensors((np.ones((375, 500, 3)), 7))
        >>> image, label = next(iter(data.enumerate().map(kls.data.inception_random_crop(299, seed=0))))
        >>> image.shape, float(image[0, 0, 0])
        (TensorShape([299, 299, 3]), 1.0)

    Reference:
        Szegedy et al., "Going Deeper with Convolutions", 2015, section 6; the numbers are those of TF-slim's
        `inception_preprocessing`, 2016.
    """
    size = checked_count("size", size)

    def crop_flip_and_scale(image, seeds):
        corner, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=tf.stack([seeds[0], -1 - seeds[1]]),  # other numbers than the flip's: an index is not negative
            min_object_covered=0.1,
            aspect_ratio_range=(0.75, 1.33),
            area_range=(0.05, 1.0),
            max_attempts=100,
        )
        cropped = tf.ensure_shape(tf.slice(image, corner, extent), [None, None, image.shape[2]])
        image = _inception_pixels(cropped, size)
        return tf.where(_draws(seeds)[0] < 0.5, image, tf.reverse(image, axis=[1]))

    return _mappable(crop_flip_and_scale, seed, any_size=True)


def inception_center_crop(images: Tensor, size: int, fraction: float = 0.875) -> Tensor:
    """The middle of images as Inception networks are evaluated on it: cropped, resized, scaled from [0, 1] to [-1, 1].

    Args:
        images: `[H, W, C]` or `[N, H, W, C]`, in [0, 1] or uint8.
        size: height and width of what comes out; 299 for Inception-v4.
        fraction: of the height and of the width that is kept, above 0, at most 1.

    Returns:
        `[size, size, C]` or `[N, size, size, C]`, float32.

    Raises:
        ValueError: for a size that is no count, and a fraction out of range.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> kls.data.inception_center_crop(np.ones((375, 500, 3), "float32"), 299).shape
        TensorShape([299, 299, 3])

    Reference:
        TF-slim's `inception_preprocessing`, 2016.
    """
    size, fraction = checked_count("size", size), checked_positive("fraction", fraction)
    if fraction > 1:
        raise ValueError(f"Expected `fraction` of at most 1. Received: {fraction}.")
    return _inception_pixels(tf.image.central_crop(tf.convert_to_tensor(images), fraction), size)


def center_crop(images: Tensor, size: int) -> Tensor:
    """The middle of images, for evaluation; where it cannot be the middle, half a pixel above and left of it.

    Args:
        images: `[..., H, W, C]`.
        size: height and width of the crop.

    Returns:
        `[..., size, size, C]`, a view for NumPy arrays.

    Raises:
        ValueError: for images smaller than the crop.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> kls.data.center_crop(np.arange(16).reshape(4, 4, 1), 2)[..., 0].tolist()
        [[5, 6], [9, 10]]
    """
    height, width = images.shape[-3:-1]
    _check_fits(images.shape[-3:-1], (checked_count("size", size),) * 2)
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size, :]


def _mappable(transform, seed, any_size=False):
    """`transform(image, seeds)` as a function of `(index, example)`, with two numbers that seed each index."""
    seed = checked_count("seed", seed, minimum=0)

    def augment(index, example):
        index = tf.convert_to_tensor(index)
        if not index.dtype.is_integer or index.shape.rank != 0:
            raise ValueError(
                f"Expected the index of an example. Received: {index.dtype.name} {index.shape}. "
                "Map it over dataset.enumerate()."
            )
        image = tf.convert_to_tensor(example[0])
        if image.shape.rank != 3 or not (any_size or image.shape.is_fully_defined()):
            raise ValueError(
                f"Expected one image [H, W, C] of known size. Received: {image.shape}. Map it before batch(); "
                "tf.ensure_shape gives a size."
            )
        seeds = tf.stack([tf.constant(seed, "int64"), tf.cast(index, "int64")])
        return (transform(image, seeds), *example[1:])

    return augment


def _draws(seeds):
    """Three uniform draws."""
    # an algorithm by name, as the default one depends on the device
    return tf.random.stateless_uniform([3], seeds, alg="philox")


def _inception_pixels(images, size):
    return tf.image.resize(tf.image.convert_image_dtype(images, "float32"), (size, size)) * 2 - 1


def _pad(image, padding):
    return tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])


def _crop(image, size, draws):
    """A crop whose corner is at the fractions `draws` of the places where it can be."""
    _check_fits(image.shape[:2], size)
    places = [have - want + 1 for have, want in zip(image.shape[:2], size)]
    top, left = tf.unstack(tf.cast(draws * tf.constant(places, draws.dtype), "int32"))
    return tf.slice(image, [top, left, 0], [*size, image.shape[2]])


def _check_fits(have, want):
    if have[0] < want[0] or have[1] < want[1]:
        raise ValueError(
            f"Expected images of at least {want[0]}×{want[1]}. Received: {have[0]}×{have[1]}. Choose a smaller `size`."
        )
