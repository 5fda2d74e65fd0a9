"""Checkpoints of a training on disk: whole or not there, the latest two kept."""

import concurrent.futures
import dataclasses
import hashlib
import inspect
import json
import os
import pathlib
import re
import sys
import warnings

import numpy as np

from keras_ls.files import remove_unfinished, write_beside

_NAME = re.compile(r"epoch(\d{6})-step(\d{9})(-end)?\.npz")


@dataclasses.dataclass
class Checkpoint:
    """A training between two steps.

    Attributes:
        epoch: the epoch under way, from 0.
        step: how many of its steps are done.
        first_epoch: with which the training began.
        first_batch: a hash of the first batch of the latest reading, or None.
        order: states of random numbers at the beginning of the epoch.
        facts: what tells it from other trainings.
        state: all of the state that is not in the weights.
        finished: whether it is the end of a training.
        stopped_early: whether a callback ended that.
        weights: path of the weights file, of a checkpoint that was read.
    """

    epoch: int
    step: int
    first_epoch: int
    first_batch: str | None
    order: dict
    facts: dict
    state: dict
    finished: bool = False
    stopped_early: bool = False
    weights: pathlib.Path | None = None


class Checkpoints:
    """A directory of checkpoints, each a weights file and, written after it, an archive of all else with its hash.

    Args:
        directory: exists, and has no other writer.
    """

    def __init__(self, directory):
        self._directory = directory
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "keras_ls-checkpoint")
        self._pending = None
        remove_unfinished(directory)

    def write(self, checkpoint, save_weights):
        """Writes a checkpoint; what takes a disk's time (hash, synchronisation, names) happens beside the training.

        Args:
            checkpoint: a `Checkpoint`.
            save_weights: function of a path.

        Raises:
            OSError: where this one, or the one before, cannot be written.
        """
        self.wait()
        name = f"epoch{checkpoint.epoch:06d}-step{checkpoint.step:09d}" + "-end" * checkpoint.finished
        temporary = self._directory / f".{os.getpid()}-{name}.weights.h5"
        try:
            save_weights(temporary)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._cannot_write(error) from error
        self._pending = self._writer.submit(self._complete, name, temporary, checkpoint)

    def wait(self):
        """Returns when all is on the disk."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except OSError as error:
                raise self._cannot_write(error) from error

    def latest(self):
        """The latest whole `Checkpoint`, or None; warns of others."""
        return next(self._whole(self._names()), None)

    def latest_epoch_start(self, epoch):
        """The latest whole checkpoint from before the first step of `epoch`, or None."""
        return next(self._whole([name for name in self._names() if _place(name)[:2] == (epoch, 0)]), None)

    def _complete(self, name, temporary, checkpoint):
        digest = _digest(temporary)
        write_beside(self._directory / f"{name}.weights.h5", lambda path: os.replace(temporary, path))
        content = {**vars(checkpoint), "weights": digest}
        write_beside(self._directory / f"{name}.npz", lambda path: _write_archive(path, content))
        self._remove_old()

    def _remove_old(self):
        names = self._names()
        starts = [name for name in names if _place(name)[1] == 0]
        kept = {*names[:2], *starts[:1]}
        for name in names:
            if name not in kept:
                (self._directory / name).unlink(missing_ok=True)
        for path in self._directory.glob("epoch*.weights.h5"):
            if f"{path.name.removesuffix('.weights.h5')}.npz" not in kept:
                path.unlink(missing_ok=True)

    def _names(self):
        """Names of archives, the latest first."""
        return sorted((p.name for p in self._directory.glob("epoch*.npz") if _NAME.fullmatch(p.name)), reverse=True)

    def _whole(self, names):
        for name in names:
            path = self._directory / name
            try:
                found = _read_archive(path)
                weights = self._directory / f"{path.stem}.weights.h5"
                if _digest(weights) != found["weights"]:
                    raise ValueError(f"the checksum of {weights.name} differs")
                yield Checkpoint(**{**found, "weights": weights})
            except Exception as error:  # whatever damage makes of a file
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                warnings.warn(f"{path} is damaged: the checkpoint before it is used ({reason:.300}).", stacklevel=4)

    def _cannot_write(self, error):
        return OSError(
            "Expected a directory with room for a checkpoint. Received: "
            f"{self._directory} ({error.strerror or error}). The checkpoints of before are whole: make room, and run "
            "the same command again."
        )


def _place(name):
    epoch, step, _ = _NAME.fullmatch(name).groups()
    return int(epoch), int(step)


def _digest(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _write_archive(path, content):
    arrays = {}
    text = json.dumps(_without_arrays(content, arrays))
    with open(path, "wb") as file:
        np.savez(file, content=np.frombuffer(text.encode(), "uint8"), **arrays)


def _read_archive(path):
    with np.load(path, allow_pickle=False) as file:
        return _with_arrays(json.loads(file["content"].tobytes()), file)


def _without_arrays(value, arrays):
    """The structure with names in place of arrays and of NumPy's numbers and functions; arrays go to `arrays`."""
    if isinstance(value, dict):
        return {"dict": [[key, _without_arrays(item, arrays)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_without_arrays(item, arrays) for item in value]}
    if isinstance(value, (np.ndarray, np.generic)):
        name = f"array{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"number" if isinstance(value, np.generic) else "array": name}
    if is_importable(value):
        return {"function": [value.__module__, value.__name__]}
    return value


def _with_arrays(value, file):
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _with_arrays(item, file) for key, item in content}
    if kind in ("list", "tuple"):
        items = [_with_arrays(item, file) for item in content]
        return items if kind == "list" else tuple(items)
    if kind == "function":
        return _imported(*content)
    return file[content][()] if kind == "number" else file[content]


def is_importable(value):
    """Whether `value` is a function of a module, such as what `EarlyStopping` compares with."""
    names = getattr(value, "__module__", None), getattr(value, "__name__", None)
    return inspect.isroutine(value) and None not in names and _imported(*names) is value


def _imported(module, name):
    return getattr(sys.modules.get(module), name, None)
