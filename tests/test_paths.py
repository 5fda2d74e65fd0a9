"""Every public argument that is a path takes `~`, and refuses what is no path in the same words."""

import functools
import inspect
import types

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.reports.result import StudyResult
from tests.reports.test_result_file import RESULT

pytestmark = pytest.mark.tensorflow

NAMES = {"path", "directory", "to", "log_dir"}
X = np.eye(3, dtype="float32")


def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")])


def results(home):
    """A directory of results, in the home directory."""
    RESULT.save(home / "runs" / "calibration.json")
    return kls.studies.read_results(home / "runs")


def read_predictions(home, path):
    (home / "mine.csv").write_text("a,b,label\n2.0,0.5,a\n")
    return kls.data.read_predictions(path, from_logits=True).predictions.tolist() == [[2.0, 0.5]]


def image_folder(home, path, imagenet=False):
    for part in ("train", "test"):
        (home / "mine" / part / "cat").mkdir(parents=True)
        for i in range(2):
            (home / "mine" / part / "cat" / f"{i}.png").touch()
    if not imagenet:
        return kls.data.image_folder(path, calibration=1).class_names == ("cat",)
    with pytest.raises(ValueError, match=r"directory. to be a path|more than 10000 images in '.*mine.train'") as error:
        kls.data.imagenet2012(path)
    if "to be a path" in str(error.value):
        raise error.value
    return True


def teacher_cache(home, path):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X,)).enumerate()
    kls.distillation.TeacherCache(path).write(model(), data, verbose=0)
    return (home / "mine" / "manifest.json").exists()


def calibration_callback(home, path):
    trained, callback = model(), kls.callbacks.CalibrationCallback((X, np.arange(3)), log_dir=path)
    trained.compile("sgd", kls.losses.SmoothedCrossentropy())
    trained.fit(X, np.arange(3), verbose=0, callbacks=[callback])
    return any((home / "mine" / "calibration").iterdir())


def exact_resume(home, path):
    trained = model()
    trained.compile("sgd", kls.losses.SmoothedCrossentropy())
    trained.fit(X, np.arange(3), verbose=0, callbacks=[kls.callbacks.ExactResume(path)])
    return any((home / "mine").glob("*-end.npz"))


@functools.cache
def recalibration():
    labels, logits = [0, 0, 0, 1] * 5 + [1, 1, 1, 0] * 5, [[2.0, 0.0]] * 20 + [[0.0, 2.0]] * 20
    study = kls.studies.Recalibration(labels, logits, num_resamples=10, names=("temperature",))
    return study, {name: study.step(name) for name in study.steps}


def save_calibrator(home, path):
    kls.studies.save_calibrator(*recalibration(), path, True, None, {})
    return (home / "mine" / "calibrator.json").exists()


def load_teacher(home, path):
    model().save(home / "mine.keras")
    return kls.studies.load_teacher(path).count_params() == 12


def export_models(home, path, to="~/to"):
    """The file of the result is found in the directory, and refused, as no study writes such a one."""
    RESULT.save(home / "mine" / "calibration.json")
    with pytest.raises(ValueError, match=r"Expected `(directory|to)` to be a path|Expected `config` in ") as error:
        kls.studies.export_models(path, to)
    if "to be a path" in str(error.value):
        raise error.value
    return str(home / "mine" / "calibration.json") in str(error.value)


# (public name, argument) → a path, and a function of the home directory and that path which uses it and says whether it
# found or made the file there
USES = {
    ("export.export_saved_model", "path"): (
        "~/mine",
        lambda home, path: kls.export.export_saved_model(model(), path) == home / "mine",
    ),
    ("data.read_predictions", "path"): ("~/mine.csv", read_predictions),
    ("data.image_folder", "directory"): ("~/mine", image_folder),
    ("data.imagenet2012", "directory"): ("~/mine", functools.partial(image_folder, imagenet=True)),
    ("distillation.TeacherCache", "directory"): ("~/mine", teacher_cache),
    ("callbacks.CalibrationCallback", "log_dir"): ("~/mine", calibration_callback),
    ("callbacks.ExactResume", "directory"): ("~/mine", exact_resume),
    ("studies.Store", "directory"): ("~/mine", lambda home, path: kls.studies.Store(path).directory == home / "mine"),
    ("studies.StudyResult.save", "path"): (
        "~/mine.json",
        lambda home, path: RESULT.save(path) or (home / "mine.json").exists(),
    ),
    ("studies.StudyResult.load", "path"): (
        "~/runs/calibration.json",
        lambda home, path: results(home) and StudyResult.load(path) == StudyResult.load(home / "runs/calibration.json"),
    ),
    ("studies.read_results", "directory"): (
        "~/runs",
        lambda home, path: list(results(home)) == list(kls.studies.read_results(path)),
    ),
    ("studies.save_figures", "directory"): (
        "~/mine",
        lambda home, path: kls.studies.save_figures(RESULT, path) == [home / "mine" / "calibration.png"],
    ),
    ("studies.write_report", "directory"): (
        "~/mine",
        lambda home, path: kls.studies.write_report(results(home), path) == home / "mine" / "report.html",
    ),
    ("studies.save_calibrator", "directory"): ("~/mine", save_calibrator),
    ("studies.load_teacher", "path"): ("~/mine.keras", load_teacher),
    ("studies.export_models", "directory"): ("~/mine", export_models),
    ("studies.export_models", "to"): ("~/to", lambda home, to: export_models(home, "~/mine", to)),
}


def public(place, name=""):
    """Public functions, classes and methods of a module, by name."""
    for key in getattr(place, "__all__", None) or [key for key in vars(place) if not key.startswith("_")]:
        value = getattr(place, key)
        full = f"{name}{key}"
        if isinstance(value, types.ModuleType):
            if value.__name__.startswith("keras_ls."):
                yield from public(value, f"{full}.")
        elif callable(value) and (value.__module__ or "").startswith("keras_ls."):
            yield full, value
            if isinstance(value, type):
                yield from (
                    (f"{full}.{method}", getattr(value, method))
                    for method, function in vars(value).items()
                    if not method.startswith("_") and isinstance(function, (types.FunctionType, classmethod))
                )


def test_every_path_is_in_the_list():
    found = set()
    for name, value in public(kls):
        found |= {(name, argument) for argument in inspect.signature(value).parameters if argument in NAMES}
    assert found == set(USES)


@pytest.mark.parametrize("use", USES, ids=".".join)
def test_home_directory(tmp_path, monkeypatch, use):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path, works = USES[use]
    assert works(tmp_path, path)
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("use", USES, ids=".".join)
@pytest.mark.parametrize("wrong", [3, b"mine", np.ones(2)], ids=["number", "bytes", "array"])
def test_no_path(tmp_path, monkeypatch, use, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"Expected `{use[1]}` to be a path"):
        USES[use][1](tmp_path, wrong)
