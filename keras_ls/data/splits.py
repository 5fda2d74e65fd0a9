"""A dataset cut into the parts that a study needs, each used for one thing."""

import dataclasses
import functools
import hashlib

import numpy as np

PARTS = ("train", "calibration", "test")


@dataclasses.dataclass(frozen=True)
class Splits:
    """Arrays of one dataset: train on the first part, fit temperatures on the second, report on the third.

    Attributes:
        name: name of the dataset.
        train: `(x, y)`: float32 `[N, ...]` and int64 `[N]`.
        calibration: `(x, y)`.
        test: `(x, y)`.
        class_names: one a class.
        source: where it comes from, in the few words that a table's title has room for.
    """

    name: str
    train: tuple
    calibration: tuple
    test: tuple
    class_names: tuple
    source: str

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of every array, its dtype and its shape."""
        digest = hashlib.sha256()
        for part in PARTS:
            for array in getattr(self, part):
                digest.update(f"{part} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
