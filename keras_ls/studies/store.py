"""Trained models and their predictions on disk, each under the hash of what it depends on."""

import functools
import pathlib
import shutil
import tempfile

import keras
import numpy as np

from keras_ls import data, models
from keras_ls.data.splits import PARTS
from keras_ls.distillation import TeacherCache
from keras_ls.files import remove, write_beside

FOLDERS = ("models", "predictions", "features", "teacher_caches")
BATCH = 1000  # examples a forward pass: a convolution of a whole dataset would not fit


class Predictions:
    """What one network says of every part of its data.

    Args:
        logits: part name → `[N, K]`.
        read_geometry: function that returns `(features, templates)`; called when one of them is asked for.

    Attributes:
        features: the penultimate activations, part name → `[N, D]`.
        templates: `[K, D]`.
    """

    def __init__(self, logits, read_geometry):
        self.logits = logits
        self._read_geometry = read_geometry

    @functools.cached_property
    def _geometry(self):
        return self._read_geometry()

    @property
    def features(self):
        """The penultimate activations, part name → `[N, D]`."""
        return self._geometry[0]

    @property
    def templates(self):
        """The columns of the last kernel, `[K, D]`."""
        return self._geometry[1]


class Store:
    """A directory of finished stages: what is there is read, what is not is made, and nothing is half-written.

    Args:
        directory: made if it does not exist.
        strategy: a `tf.distribute` strategy to train under, or None.

    Attributes:
        tell: called now and then with the share of the present training that is done, or None.

    Raises:
        OSError: when the directory cannot be written.
    """

    def __init__(self, directory, strategy=None):
        self.directory = pathlib.Path(directory)
        self.strategy = strategy
        self.tell = None
        for folder in (self.directory, *(self.directory / name for name in FOLDERS)):
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
        self._models, self._predictions, self._caches = {}, {}, {}

    def has(self, training):
        """Whether this training is done."""
        return self._path("models", training, "keras").exists() and self._path("predictions", training, "npz").exists()

    def model(self, training):
        """The trained network; trains it, and its teacher, if it is not there."""
        if training not in self._models:
            path = self._path("models", training, "keras")
            network = _read(path, keras.models.load_model)
            if network is None:
                cache = None if training.teacher is None else self.teacher_cache(training)
                network = training.run(cache, self.strategy, self.tell)
                write_beside(path, network.save)
            self._models[training] = network
        return self._models[training]

    def predictions(self, training):
        """The network's predictions on every part of its data."""
        if training not in self._predictions:
            logits = self._arrays("predictions", training, lambda: self._logits(training))
            self._predictions[training] = Predictions(logits, lambda: self._geometry(training))
        return self._predictions[training]

    def teacher_cache(self, training):
        """What the teacher says to what its student sees in training; shared by the students that see the same."""
        lesson = training.lesson()
        if lesson not in self._caches:
            teacher, key = training.teacher, lesson.key(data.load(lesson.dataset).fingerprint)
            path = self.directory / "teacher_caches" / f"{teacher.name}-{key}"
            try:
                self._caches[lesson] = training.write_cache(TeacherCache(path), self.model(teacher))
            except ValueError:  # damaged, or of a teacher that had to be made again
                shutil.rmtree(path, ignore_errors=True)
                self._caches[lesson] = training.write_cache(TeacherCache(path), self.model(teacher))
        return self._caches[lesson]

    def _logits(self, training):
        network = self.model(training)
        return {part: _in_batches(network, training.part(part)[0]) for part in PARTS}

    def _geometry(self, training):
        def compute():
            network = self.model(training)
            both = models.penultimate(network)

            def features(x, **arguments):
                return both(x, **arguments)[0]

            found = {part: _in_batches(features, training.part(part)[0]) for part in PARTS}
            return {**found, "templates": models.templates(network)}

        arrays = self._arrays("features", training, compute)
        templates = arrays.pop("templates")
        return arrays, templates

    def _arrays(self, folder, training, compute):
        """Named arrays from disk; computed and written there first, if they are missing."""
        path = self._path(folder, training, "npz")
        arrays = _read(path, lambda p: _whole(dict(np.load(p, allow_pickle=False)), training))
        if arrays is None:
            arrays = compute()
            write_beside(path, lambda p: np.savez_compressed(p, **arrays))
        return arrays

    def _path(self, folder, training, suffix):
        key = training.key(data.load(training.dataset).fingerprint)
        return self.directory / folder / f"{training.name}-{key}.{suffix}"


def _whole(arrays, training):
    """The arrays, after an error where a part is missing or has other rows than its data."""
    for part in PARTS:
        rows = len(training.part(part)[0])
        if arrays[part].shape[:1] != (rows,) or arrays[part].dtype.kind != "f":
            raise ValueError(f"Expected {rows} rows of floats for {part}. Received: {arrays[part].shape}.")
    return arrays


def _in_batches(network, x):
    return np.concatenate([_forward(network, x[start : start + BATCH]) for start in range(0, len(x), BATCH)])


def _forward(network, x):
    return keras.ops.convert_to_numpy(network(x, training=False))


def _read(path, read):
    """The content, or None where the file is missing or damaged (a full disk, a copy cut short): it is made again."""
    if not path.exists():
        return None
    try:
        return read(path)
    except Exception:  # whatever damage makes of a file: zlib, tokenizer and key errors among them
        remove(path)
        return None
