"""Images in files, read when they are needed."""

import functools
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_ls.ops._checks import checked_choice, checked_count
from keras_ls.ops._types import Tensor


class ImageFiles:
    """JPEG and PNG files with their labels: an index in memory, images read and decoded in whatever order is asked for.

    `tf.data.Dataset.range(len(files)).map(files.read)` is the dataset `(image, label)`; shuffle the numbers, not the
    images.

    Args:
        paths: of the files.
        labels: int64 `[N]`.
        image_size: height and width to which the central square of an image is resized; None for images of their own
            sizes.
        channels: 3 for colours, 1 for grey.

    Attributes:
        paths: tuple of the files.
        labels: NumPy, int64 `[N]`, read-only.

    Raises:
        ValueError: for numbers of paths and labels that differ, no paths, and settings out of range.

    Examples:
        >>> import pathlib, tempfile, tensorflow as tf, keras_ls as kls
        >>> path = str(pathlib.Path(tempfile.mkdtemp()) / "white.png")
        >>> tf.io.write_file(path, tf.io.encode_png(tf.fill([6, 4, 3], tf.constant(255, "uint8"))))
        >>> files = kls.data.ImageFiles([path], [7], image_size=2)
        >>> image, label = files.read(0)
        >>> image.shape, float(tf.reduce_min(image)), int(label)
        (TensorShape([2, 2, 3]), 1.0, 7)
    """

    def __init__(self, paths: Sequence[str], labels: Sequence[int], image_size: int | None = None, channels: int = 3):
        self.paths = tuple(os.path.expanduser(path) for path in paths)
        self.labels = np.array(labels, "int64")
        self.labels.flags.writeable = False
        if self.labels.shape != (len(self.paths),) or not self.paths:
            raise ValueError(
                "Expected a label for each path, and at least one. "
                f"Received: {len(self.paths)} paths, labels of shape {self.labels.shape}."
            )
        self.image_size = None if image_size is None else checked_count("image_size", image_size)
        self.channels = checked_choice("channels", channels, (1, 3))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> "ImageFiles":
        """Part of them: a slice, or an array of indices."""
        rows = np.arange(len(self))[rows]
        return ImageFiles([self.paths[i] for i in rows], self.labels[rows], self.image_size, self.channels)

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} files, image_size={self.image_size}, channels={self.channels})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of labels, sizes and the last two parts of the paths; contents are not read."""
        digest = hashlib.sha256(f"{self.image_size} {self.channels}".encode())
        for path, label in zip(self.paths, self.labels):
            name = "/".join(path.split(os.sep)[-2:])
            digest.update(f"{name}\0{label}\0{os.path.getsize(path)}\0".encode())
        return digest.hexdigest()

    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Image and label of an index, for `map`, also in parallel.

        Args:
            index: an integer, or a tensor of one.

        Returns:
            `(image, label)`: float32 in [0, 1] `[H, W, channels]`, and int64.

        Raises:
            ValueError: for several indices.
            tf.errors.NotFoundError: for a file that is gone.
            tf.errors.InvalidArgumentError: for a file that is neither JPEG nor PNG, with its path, and for a damaged
                one, which `unreadable` finds.
        """
        if tf.convert_to_tensor(index).shape.rank != 0:
            raise ValueError(f"Expected one index. Received: {index}. Map it before batch().")
        paths, labels = self._index
        path = tf.gather(paths, index)
        content = tf.io.read_file(path)
        start = tf.strings.substr(content, 0, 3)
        known = tf.reduce_any(start == [b"\xff\xd8\xff", b"\x89PN"])
        with tf.control_dependencies([tf.debugging.Assert(known, ["Expected a JPEG or PNG file. Received:", path])]):
            image = tf.io.decode_image(content, self.channels, expand_animations=False)
        image = tf.cast(tf.ensure_shape(image, [None, None, self.channels]), "float32") / 255
        if self.image_size is not None:
            image = _central_square(image, self.image_size)
        return image, tf.gather(labels, index)

    def unreadable(self) -> tuple[str, ...]:
        """Paths of the files that cannot be read or decoded; it reads all of them, some hundred a second and core."""
        indices = tf.data.Dataset.range(len(self))
        readable = indices.map(lambda i: (i, self.read(i)), num_parallel_calls=tf.data.AUTOTUNE)
        found = {int(i) for i in readable.map(lambda i, example: i).ignore_errors().as_numpy_iterator()}
        return tuple(path for i, path in enumerate(self.paths) if i not in found)

    @functools.cached_property
    def _index(self):
        with tf.init_scope(), tf.device("CPU:0"):  # one copy, whatever graph asks first
            return tf.constant(self.paths), tf.constant(self.labels)


def _central_square(image, size):
    height_and_width = tf.shape(image)[:2]
    side = tf.reduce_min(height_and_width)
    top, left = tf.unstack((height_and_width - side) // 2)
    return tf.image.resize(image[top : top + side, left : left + side], (size, size), antialias=True)
