"""What is written in `keras.ops` works where TensorFlow is not installed, on the backend that the tests run on."""

import os
import pathlib
import subprocess
import sys
import sysconfig
import textwrap

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
TENSORFLOW = ("tensorflow", "tf_keras", "tensorboard", "tensorflow_probability", "tensorflow_datasets")

pytestmark = pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="about other backends")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A directory with all that is installed but TensorFlow and what stands on it."""
    folder = tmp_path_factory.mktemp("packages")
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in pathlib.Path(place).iterdir():
            if not entry.name.startswith(TENSORFLOW) and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def run(packages, script):
    """The script's output; `-S` leaves out the installed packages but for those in the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    call = [sys.executable, "-S", "-c", textwrap.dedent(script)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_training_calibration_and_distillation(packages):
    script = """
        import importlib.util, sys
        assert importlib.util.find_spec("tensorflow") is None
        import keras, numpy as np, keras_ls as kls

        keras.utils.set_random_seed(0)
        x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
        y = np.arange(60) % 3

        def network():
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])

        model = network()
        metrics = ["accuracy", kls.metrics.ExpectedCalibrationError(), kls.metrics.NegativeLogLikelihood(name="nll")]
        model.compile("sgd", kls.losses.SmoothedCrossentropy(0.1), metrics=metrics)
        callbacks = [kls.callbacks.CalibrationCallback((x, y)), kls.callbacks.SmoothingSchedule([0.1, 0.0])]
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks).history
        assert history["label_smoothing"] == [0.1, 0.0]

        logits = model.predict(x, verbose=0)
        scores = kls.evaluate(y, logits)
        assert abs(scores["nll"] - history["val_nll"][-1]) < 1e-5
        names = [name for name in kls.calibrators.__all__ if name.endswith(("ing", "tion"))]
        fitted = [getattr(kls.calibrators, name)() for name in names]
        for calibrator in fitted:
            nll = kls.evaluate(y, np.asarray(keras.ops.convert_to_numpy(calibrator.fit(logits, y)(logits))))["nll"]
            assert nll < scores["nll"] + 1e-3, calibrator
        temperature = kls.calibrators.TemperatureScaling().fit(model, (x, y)).temperature
        assert abs(temperature - history["val_temperature"][-1]) < 1e-3 * temperature

        distiller = kls.Distiller(model, network(), kls.distillation.LogitsDistillation(4.0))
        distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0))
        assert set(distiller.fit(x, y, verbose=0).history) == {"loss", "student_loss", "logits_distillation"}
        assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
        print(len(fitted))
    """
    assert run(packages, script) == "7\n"


def test_rooms_of_tensorflow_say_so(packages):
    script = """
        import keras_ls as kls

        for room in ("distribute", "export", "studies"):
            try:
                getattr(kls, room)
            except ModuleNotFoundError as error:
                print(error)
    """
    lines = run(packages, script).splitlines()
    assert [line.split(". ")[0] for line in lines] == [
        f"Expected TensorFlow, which keras_ls.{room} needs" for room in ("distribute", "export", "studies")
    ]
