"""A writer that was killed goes on where it was, and ends with the bytes of one that was not."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ls import files
from keras_ls.distillation import TeacherCache
from keras_ls.distillation.teacher_cache import writing
from tests.distillation.networks import X, Y
from tests.distillation.teacher_cache.caches import data, files_of, image_network, view, written

SETTINGS = {"augmentation_seeds": [0, 1], "batch_size": 4, "shard_size": 8}
# kills itself, as `kill -9` does, before the n-th time that a file gets its name
PROGRAM = """
import os, signal, sys
import keras
from keras_ls.distillation import TeacherCache
from tests.distillation.teacher_cache.caches import view

folder, model, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
rename = os.replace

def replace(*paths):
    global calls
    calls -= 1
    if not calls:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*paths)

os.replace = replace
TeacherCache(folder).write(
    keras.models.load_model(model), view, augmentation_seeds=[0, 1], batch_size=4, shard_size=8, verbose=0
)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A teacher's file, and the files of a cache that was written without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    image_network(0, 9).save(folder / "teacher.keras")
    t = keras.models.load_model(folder / "teacher.keras")
    written(folder / "cache", view, t, **SETTINGS)
    return folder / "teacher.keras", files_of(folder / "cache")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_process_that_is_killed(tmp_path, whole):
    # before the manifest after the second shard; every other point is tried below, in this process
    path, expected = whole
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "cache"), str(path), "4"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
    )
    assert run.returncode == -signal.SIGKILL, run.stderr[-2000:]
    left = files_of(tmp_path / "cache")
    assert left != expected and any(name.startswith(".") and name != ".lock" for name in left)
    written(tmp_path / "cache", view, keras.models.load_model(path), **SETTINGS)
    assert files_of(tmp_path / "cache") == expected


class Killed(BaseException):
    """Stands for a kill at a point of the program."""


def killed_after(renamings, monkeypatch, path, dataset, model=None, **settings):
    """Writes a cache until so many files have their names."""
    rename, calls = os.replace, []

    def replace(*paths):
        calls.append(paths)
        if len(calls) > renamings:
            raise Killed
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace)
        with pytest.raises(Killed):
            written(path, dataset, model, **settings)


def test_a_kill_at_every_point(tmp_path, whole, monkeypatch):
    # before each renaming, which is also after the one before it: 2 passes of 3 shards, of a file and a manifest each,
    # and 2 marks that a pass is complete, are 14
    path, expected = whole
    t = keras.models.load_model(path)
    speak = writing.in_inference_mode(t)
    # traced once
    monkeypatch.setattr("keras_ls.distillation.teacher_cache.teacher_cache.in_inference_mode", lambda _: speak)
    for point in range(14):
        folder = tmp_path / str(point)
        killed_after(point, monkeypatch, folder, view, t, **SETTINGS)
        written(folder, view, t, **SETTINGS)
        assert files_of(folder) == expected, point


def test_what_is_there_is_not_made_again(tmp_path, whole, monkeypatch):
    path, expected = whole
    t = keras.models.load_model(path)
    spoken = []

    def counted(speak, stop):
        def count(x):
            if len(spoken) == stop:
                raise Killed
            spoken.append(len(x))
            return speak(x)

        return count

    for stop in (5, 100):
        monkeypatch.setattr(
            "keras_ls.distillation.teacher_cache.teacher_cache.in_inference_mode",
            lambda model, stop=stop: counted(writing.in_inference_mode(model), stop),
        )
        if stop == 5:
            with pytest.raises(Killed):
                written(tmp_path, view, t, **SETTINGS)
        else:
            written(tmp_path, view, t, **SETTINGS)
    # the batch that tells the shape; shard 0 of two batches, shard 1 of two: killed in shard 2. Then that one batch
    # (a pass is 21 examples: 5 batches of 4 and one of 1), and 6 of the second pass
    assert spoken == [4, *[4] * 4, *[4, 1], *[4] * 5, 1]
    assert files_of(tmp_path) == expected


@pytest.mark.parametrize("change", ["content", "order", "fewer", "ids"])
def test_another_dataset_when_it_goes_on(tmp_path, monkeypatch, change):
    killed_after(4, monkeypatch, tmp_path, data(), shard_size=8)
    other = {
        "content": tf.data.Dataset.from_tensor_slices((np.where(X[9, 1] == X, 0, X), Y)).enumerate(),
        "order": data().shuffle(21, seed=0),
        "fewer": data().take(12),
        "ids": data().map(lambda i, example: (i + 1, example)),
    }[change]
    with pytest.raises(ValueError, match="stale for this dataset"):
        written(tmp_path, other, shard_size=8)
    written(tmp_path, shard_size=8)  # the right one still goes on


def test_a_pass_that_is_not_complete_cannot_be_joined(tmp_path, monkeypatch):
    killed_after(4, monkeypatch, tmp_path, data(), shard_size=8)
    with pytest.raises(ValueError, match=r"not complete; call write\(\) again"):
        TeacherCache(tmp_path).join(data())


def test_two_writers(tmp_path):
    with files.one_writer(tmp_path), pytest.raises(BlockingIOError, match="Expected one writer at a time"):
        written(tmp_path)


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Expected a directory that can be written"):
        written(tmp_path / "file")
