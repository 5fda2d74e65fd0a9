"""Trained models and their predictions on disk, each under the hash of what it depends on."""

import functools
import tempfile
import warnings
import zipfile
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_ls import data, models
from keras_ls.data.splits import PARTS
from keras_ls.distillation import TeacherCache
from keras_ls.files import local_path, one_writer, remove, write_beside
from keras_ls.ops._types import PathLike
from keras_ls.studies.engine.pipeline import write_teacher_cache
from keras_ls.studies.engine.training import Training

FOLDERS = ("models", "predictions", "features", "teacher_caches")
CHECKPOINTS = "checkpoints"  # of trainings under way
KEPT = 32  # of the networks, predictions and caches that are in memory, each
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

    What is damaged is removed and made again, and what other code or versions made is not used; a warning says so.

    Args:
        directory: made if it does not exist.
        strategy: a `tf.distribute` strategy to train under, or None.

    Raises:
        OSError: when the directory cannot be written.
    """

    def __init__(self, directory: PathLike, strategy: tf.distribute.Strategy | None = None):
        self.directory = local_path("directory", directory)
        self.strategy = strategy
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
        self._models, self._predictions, self._caches = _Latest(), _Latest(), _Latest()

    def has(self, training: Training) -> bool:
        """Whether this training is done."""
        return self._path("models", training, "keras").exists() and self._path("predictions", training, "npz").exists()

    def model(self, training: Training, progress: Callable[[float], None] | None = None) -> keras.Model:
        """The trained network; trains it, and its teacher, if it is not there.

        Args:
            training: a `Training`.
            progress: called now and then with the share of a training that is done, or None.
        """
        if training not in self._models:
            path = self._path("models", training, "keras")
            network = _read(path, lambda p: _whole_network(p, training))
            if network is None:
                self._warn_of_other_code(training)
                cache = None if training.teacher is None else self.teacher_cache(training, progress)
                checkpoints = self.directory / CHECKPOINTS / path.stem
                network = training.run(cache, self.strategy, progress, checkpoints)
                write_beside(path, network.save)
                if checkpoints.exists():
                    remove(checkpoints)
            self._models[training] = network
        return self._models[training]

    def predictions(self, training: Training, progress: Callable[[float], None] | None = None) -> Predictions:
        """The network's predictions on every part of its data; arguments as of `model`."""
        if training not in self._predictions:
            logits = self._arrays("predictions", training, lambda: self._logits(training, progress))
            self._predictions[training] = Predictions(logits, lambda: self._geometry(training))
        return self._predictions[training]

    def teacher_cache(self, training: Training, progress: Callable[[float], None] | None = None) -> TeacherCache:
        """The teacher's logits of what its student sees in training; shared by the students that see the same."""
        cached = training.cached()
        if cached not in self._caches:
            key = cached.key(data.load(cached.dataset).fingerprint)
            path = self.directory / "teacher_caches" / f"{training.teacher.name}-{key}"
            teacher = self.model(training.teacher, progress)
            _read(path, _directory)
            with one_writer(path):
                _read(path, lambda p: _check_cache(p, teacher), _empty)
            # what this raises is no sign of damage: nothing is removed
            self._caches[cached] = write_teacher_cache(training, TeacherCache(path), teacher)
        return self._caches[cached]

    def _logits(self, training, progress):
        network = self.model(training, progress)
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
        arrays = _read(path, lambda p: _whole_arrays(p, training, folder))
        if arrays is None:
            arrays = compute()
            write_beside(path, lambda p: np.savez_compressed(p, **arrays))
        return arrays

    def _path(self, folder, training, suffix):
        key = training.key(data.load(training.dataset).fingerprint)
        return self.directory / folder / f"{training.name}-{key}.{suffix}"

    def _warn_of_other_code(self, training):
        path = self._path("models", training, "keras")
        settings = path.stem.rpartition("-")[0]
        if not path.exists() and any(path.parent.glob(f"{settings}-*.keras")):
            warnings.warn(f"{training.name} was made by other code or versions: it is trained again.", stacklevel=3)


class _Latest(dict):
    """A dictionary that forgets what came first, beyond `KEPT` entries."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        while len(self) > KEPT:
            del self[next(iter(self))]


def _in_batches(network, x):
    return np.concatenate([_forward(network, x[start : start + BATCH]) for start in range(0, len(x), BATCH)])


def _forward(network, x):
    return keras.ops.convert_to_numpy(network(x, training=False))


def _read(path, read, discard=remove):
    """The content, or None where the file is missing or damaged (a full disk, a copy cut short): it is made again."""
    if not path.exists():
        return None
    try:
        return read(path)
    except (PermissionError, MemoryError):  # which a whole file may raise
        raise
    except Exception as error:  # whatever damage makes of a file: zlib, tokenizer and key errors among them
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        discard(path)
        warnings.warn(f"{path} is damaged or stale, and made again ({reason:.1000}).", stacklevel=3)
        return None


def _check_archive(path):
    """Raises an error for a zip file with a member that is not as it was written."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"the checksum of {broken} differs")


def _whole_network(path, training):
    _check_archive(path)
    network = keras.models.load_model(path)
    expected, found = ([tuple(w.shape) for w in model.weights] for model in (training.build(), network))
    if found != expected:
        raise ValueError(f"expected weights of {expected}, received {found}")
    return network


def _whole_arrays(path, training, folder):
    """The arrays of `predictions` or `features`, after an error where one is not of its data and network."""
    _check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except MemoryError as error:
        raise ValueError("an array declares more than fits into memory") from error
    classes = data.load(training.dataset).num_classes
    shapes = {part: (len(training.part(part)[1]), classes) for part in PARTS}
    if folder == "features":
        width = arrays["templates"].shape[-1]
        shapes = {part: (rows, width) for part, (rows, _) in shapes.items()} | {"templates": (classes, width)}
    found = {name: array.shape for name, array in arrays.items()}
    if found != shapes:
        raise ValueError(f"expected {shapes}, received {found}")
    dtypes = {keras.config.floatx(), keras.config.dtype_policy().compute_dtype}
    if any(array.dtype.name not in dtypes or not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(f"expected finite numbers of {' or '.join(sorted(dtypes))}")
    return arrays


def _directory(path):
    if not path.is_dir():
        raise ValueError("expected a directory")


def _check_cache(path, teacher):
    """Raises an error for a cache that is damaged, or of a teacher that had to be made again."""
    if any(file.name != ".lock" for file in path.iterdir()):
        TeacherCache(path, teacher).verify()


def _empty(directory):
    """Removes all but the lock, which is held."""
    for path in directory.iterdir():
        if path.name != ".lock":
            remove(path)
