"""Trained models and their predictions on disk, each under the hash of what it depends on."""

import dataclasses
import pathlib
import tempfile
import zipfile

import keras
import numpy as np

from keras_ls import data, models
from keras_ls.data.splits import PARTS
from keras_ls.files import write_beside

BATCH = 1000  # examples a forward pass: a convolution of a whole dataset would not fit


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Logits and penultimate activations of one network on every part of its data.

    Attributes:
        logits: part name → `[N, K]`.
        features: part name → `[N, D]`.
        templates: `[K, D]`.
    """

    logits: dict
    features: dict
    templates: np.ndarray


class Store:
    """A directory of finished stages: what is there is read, what is not is made, and nothing is half-written.

    Args:
        directory: made if it does not exist.
        strategy: a `tf.distribute` strategy to train under, or None.

    Raises:
        OSError: when the directory cannot be written.
    """

    def __init__(self, directory, strategy=None):
        self.directory = pathlib.Path(directory)
        self.strategy = strategy
        for folder in (self.directory, self.directory / "models", self.directory / "predictions"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OSError(
                    f"Expected a directory that can be written. Received: {folder} ({error.strerror})."
                ) from error
        try:
            with tempfile.TemporaryFile(dir=self.directory):
                pass
        except OSError as error:
            raise OSError(
                f"Expected a directory that can be written. Received: {self.directory} ({error.strerror})."
            ) from error
        self._models, self._predictions = {}, {}

    def has(self, training):
        """Whether this training is done."""
        return self._path("models", training, "keras").exists() and self._path("predictions", training, "npz").exists()

    def model(self, training):
        """The trained network; trains it, and its teacher, if it is not there."""
        if training not in self._models:
            path = self._path("models", training, "keras")
            network = _read(path, keras.models.load_model)
            if network is None:
                teacher = None if training.teacher is None else self.model(training.teacher)
                network = training.run(teacher, self.strategy)
                write_beside(path, network.save)
            self._models[training] = network
        return self._models[training]

    def predictions(self, training):
        """The network's predictions on every part of its data."""
        if training not in self._predictions:
            path = self._path("predictions", training, "npz")
            arrays = _read(path, lambda p: dict(np.load(p)))
            if arrays is None:
                arrays = self._predict(training)
                write_beside(path, lambda p: np.savez_compressed(p, **arrays))
            self._predictions[training] = Predictions(
                logits={part: arrays[f"logits_{part}"] for part in PARTS},
                features={part: arrays[f"features_{part}"] for part in PARTS},
                templates=arrays["templates"],
            )
        return self._predictions[training]

    def _predict(self, training):
        network = self.model(training)
        both = models.penultimate(network)
        arrays = {"templates": models.templates(network)}
        for part in PARTS:
            x, _ = training.part(part)
            batches = [both(x[start : start + BATCH], training=False) for start in range(0, len(x), BATCH)]
            features, logits = (np.concatenate(list(map(keras.ops.convert_to_numpy, a))) for a in zip(*batches))
            arrays |= {f"features_{part}": features, f"logits_{part}": logits}
        return arrays

    def _path(self, folder, training, suffix):
        key = training.key(data.load(training.dataset).fingerprint)
        return self.directory / folder / f"{training.name}-{key}.{suffix}"


def _read(path, read):
    """The content, or None where the file is missing or damaged (a full disk, a copy cut short): it is made again."""
    if not path.exists():
        return None
    try:
        return read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
