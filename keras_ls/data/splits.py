"""A dataset cut into the parts that a study needs, each used for one thing."""

import dataclasses
import functools
import hashlib

import numpy as np

from keras_ls.data.image_files import ImageFiles

PARTS = ("train", "calibration", "test")


@dataclasses.dataclass(frozen=True)
class Splits:
    """One dataset: train on the first part, fit temperatures on the second, report on the third.

    Attributes:
        name: name of the dataset.
        train: `(x, y)`: float32 `[N, ...]` and int64 `[N]`; or `ImageFiles`, where they do not fit into memory.
        calibration: likewise.
        test: likewise.
        class_names: one a class.
        source: where it comes from, in the few words that a table's title has room for.
    """

    name: str
    train: tuple | ImageFiles
    calibration: tuple | ImageFiles
    test: tuple | ImageFiles
    class_names: tuple
    source: str

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def check_in_memory(self) -> None:
        """Raises `ValueError` for parts that are image files, which the studies do not read."""
        if isinstance(self.train, ImageFiles):
            raise ValueError(
                f"Expected a dataset in memory, whose parts are arrays. Received: {self.name!r}, whose images are "
                "files. Train on them with tf.data, as in the docstring of keras_ls.data.ImageFiles."
            )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of every array, its dtype and its shape; of image files, see `ImageFiles.fingerprint`."""
        digest = hashlib.sha256()
        for part in PARTS:
            content = getattr(self, part)
            if isinstance(content, ImageFiles):
                digest.update(f"{part} {content.fingerprint}".encode())
                continue
            for array in content:
                digest.update(f"{part} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def calibration_cut(count, calibration):
    """Rows `(train, calibration)` of `count` training examples: a fixed permutation, cut."""
    # RandomState, whose numbers no version of NumPy changes
    order = np.random.RandomState(0).permutation(count)
    return np.split(order, [count - calibration])
