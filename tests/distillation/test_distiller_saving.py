"""`Distiller` saved, loaded, trained on and exported."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, LogitsDistillation
from tests.distillation.networks import CLASSES, X, Y, assert_same_weights, network, teacher

pytestmark = pytest.mark.filterwarnings("ignore:This distiller has no teacher")


def distiller(**arguments):
    made = Distiller(teacher(), network(), [LogitsDistillation(4.0)], [0.7], student_loss_weight=0.3, **arguments)
    made.compile(keras.optimizers.Adam(0.01), kls.losses.SmoothedCrossentropy(0.1), metrics=["accuracy"])
    return made


def fit(model, epochs=1):
    return model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0).history


def test_training_goes_on_where_it_stopped(tmp_path):
    uninterrupted = distiller()
    history = fit(uninterrupted, epochs=4)
    first = distiller()
    fit(first, epochs=2)
    first.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    loaded.teacher = teacher()
    rest = fit(loaded, epochs=2)
    assert_same_weights(loaded.student, uninterrupted.student)
    for a, b in zip(loaded.optimizer.variables, uninterrupted.optimizer.variables):
        np.testing.assert_array_equal(a, b)
    for key, values in history.items():
        assert rest[key] == values[2:], key


def test_a_loaded_distiller_predicts_and_evaluates(tmp_path):
    saved = distiller()
    fit(saved)
    saved.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    assert loaded.teacher is None
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), saved.predict(X, verbose=0))
    full, alone = (m.evaluate(X, Y, verbose=0, return_dict=True) for m in (saved, loaded))
    for key in ("student_loss", "accuracy"):
        assert alone[key] == full[key]
    loaded.teacher = saved.teacher
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == full


def test_a_loaded_distiller_keeps_the_weights_of_its_losses(tmp_path):
    saved = distiller(name="mine")
    saved.student_loss_weight, saved.distillation_loss_weights = 0.125, [0.5]  # as a schedule left them
    saved.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    assert (loaded.student_loss_weight, loaded.distillation_loss_weights, loaded.name) == (0.125, [0.5], "mine")
    assert loaded.distillation_losses[0].temperature == 4.0
    assert loaded.loss.label_smoothing == 0.1


def test_the_file_does_not_hold_the_teacher(tmp_path):
    keras.utils.set_random_seed(1)
    large = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(50_000, name="of_the_teacher"), keras.layers.Dense(CLASSES)]
    )
    saved = Distiller(large, network(), LogitsDistillation())
    saved.compile("sgd", kls.losses.SmoothedCrossentropy(0.0))
    fit(saved)
    path = tmp_path / "saved.keras"
    saved.save(path)
    assert path.stat().st_size < 200_000  # the teacher's 400,003 numbers alone are 1.6 MB
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        assert "of_the_teacher" not in json.dumps(config)
        assert config["config"]["teacher"] is None
        archive.extract("model.weights.h5", tmp_path)
    sizes = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda name, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    # student 4·6 + 6 + 6·3 + 3 = 51; two loss weights; SGD's iteration and learning rate; little else
    assert 51 + 2 <= sum(sizes) <= 51 + 20


def test_weights_alone(tmp_path):
    saved = distiller()
    fit(saved)
    saved.save_weights(tmp_path / "saved.weights.h5")
    other = Distiller(None, network(7), [LogitsDistillation(4.0)])
    other.load_weights(tmp_path / "saved.weights.h5")
    assert_same_weights(other.student, saved.student)
    assert other.student_loss_weight == pytest.approx(0.3)


class Student(keras.Model):
    """Tells no shapes before it is called."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = keras.layers.Dense(4, name="hidden"), keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.out(self.hidden(x))


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def with_projector(seed=0):
    keras.utils.set_random_seed(seed)
    student = Student()
    student(X[:1])
    big = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Dense(8, name="big"), keras.layers.Dense(CLASSES)])
    big.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(big.get_weights())])
    loss = kls.distillation.FeatureDistillation("mse", "big", "hidden", projector="auto")
    made = Distiller(big, student, [loss, LogitsDistillation(8.0)])
    made.compile(keras.optimizers.Adam(0.01), kls.losses.SmoothedCrossentropy(0.4))
    return made


def test_weights_build_the_projectors_of_a_student_without_shapes(tmp_path):
    saved, fresh = with_projector(), with_projector(1)
    fit(saved)
    saved.save_weights(tmp_path / "mine.weights.h5")
    fresh.load_weights(tmp_path / "mine.weights.h5")
    assert fresh.evaluate(X, Y, verbose=0) == saved.evaluate(X, Y, verbose=0)
    with h5py.File(tmp_path / "mine.weights.h5", "a") as file:
        del file["vars"]["feature_shapes"]
    with pytest.raises(ValueError, match="Expected weights with the shapes of the projectors"):
        with_projector(1).load_weights(tmp_path / "mine.weights.h5")


def test_a_killed_training_goes_on_with_its_schedules_and_projectors(tmp_path):
    def run(*callbacks):
        made = with_projector()
        halved = lambda epoch, value: value / 2  # noqa: E731, of the value, so that a restart would show
        schedules = [
            kls.callbacks.DistillationSchedule(halved, "temperature"),
            kls.callbacks.DistillationSchedule(halved),
            kls.callbacks.SmoothingSchedule(halved),
        ]
        history = made.fit(X, Y, 8, 4, verbose=0, shuffle=False, callbacks=[*callbacks, *schedules]).history
        return made, history

    undisturbed, whole = run()
    backup = lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup")  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        run(backup(), Killed())
    resumed, rest = run(backup())
    assert rest["temperature"] == [1.0, 0.5] and rest["label_smoothing"] == pytest.approx([0.05, 0.025])
    for key, values in whole.items():
        assert rest[key] == values[2:], key
    for a, b in zip(undisturbed.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_the_student_on_its_own(tmp_path):
    saved = distiller()
    fit(saved)
    saved.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), saved.predict(X, verbose=0))


def test_checkpoints_in_training(tmp_path):
    saved = distiller()
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    saved.fit(X, Y, epochs=2, verbose=0, callbacks=[checkpoint])
    assert_same_weights(keras.models.load_model(tmp_path / "2.keras").student, saved.student)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.head = keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.head(x)


@pytest.mark.filterwarnings("error:.*build")  # Keras's, of layers that are not built
@pytest.mark.parametrize(
    "make", [Subclassed, lambda: keras.Sequential([keras.layers.Dense(CLASSES)])], ids=["subclass", "sequential"]
)
def test_a_student_that_fit_has_built(make, tmp_path):
    saved = Distiller(teacher(), make(), LogitsDistillation())
    saved.compile(keras.optimizers.Adam(0.01), kls.losses.SmoothedCrossentropy(0.0))
    fit(saved)
    saved.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), saved.predict(X, verbose=0))
    loaded.teacher = teacher()
    assert fit(loaded) == fit(saved)


def test_a_distiller_that_was_never_compiled(tmp_path):
    saved = Distiller(teacher(), network(), LogitsDistillation())
    saved.save(tmp_path / "saved.keras")
    assert_same_weights(keras.models.load_model(tmp_path / "saved.keras").student, saved.student)


def test_export_is_the_student_alone(tmp_path):
    saved = distiller()
    fit(saved)
    saved.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(X), saved.student(X), atol=1e-6)
    assert sum(int(tf.size(v)) for v in served.variables) == saved.student.count_params() == 51
