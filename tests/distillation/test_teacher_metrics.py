"""What is measured of the teacher while it teaches, from the outputs that the losses see."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.distillation.networks import CLASSES, WEIGHT, X, Y, kl, network, teacher
from tests.masking import masked

LOSS = kls.losses.SmoothedCrossentropy(0.0)


def measured():
    return [
        kls.metrics.TeacherAgreement(),
        kls.metrics.TeacherAgreement("kl", temperature=2.0),
        kls.metrics.ExpectedCalibrationError(5, name="ece"),
        kls.metrics.EffectiveSmoothing(name="gamma"),
    ]


def distiller(student=None, taught_by=None, **settings):
    made = kls.Distiller(taught_by or teacher(), student or network(), kls.distillation.LogitsDistillation())
    ece = kls.metrics.ExpectedCalibrationError(5, name="ece")
    made.compile(keras.optimizers.SGD(0.0), LOSS, weighted_metrics=[ece], teacher_metrics=measured(), **settings)
    return made


def expected(taught, learned, weight):
    def mean(values):
        return float(np.average(values, weights=weight))

    p = np.exp(taught) / np.exp(taught).sum(axis=1, keepdims=True)
    return {
        "teacher_agreement": mean(taught.argmax(1) == learned.argmax(1)),
        "teacher_kl": mean(kl(taught, learned, 2.0)),
        "teacher_ece": float(kls.ops.calibration_error(Y, p, 5, sample_weight=weight)),
        "teacher_gamma": mean(CLASSES / (CLASSES - 1) * (1 - p[np.arange(len(Y)), Y])),
    }


@pytest.mark.parametrize("settings", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_logs(settings):
    model = distiller(**settings)
    taught, learned = model.teacher.predict(X, verbose=0), model.student.predict(X, verbose=0)
    # a learning rate of 0: what the epoch saw is what the networks say
    history = model.fit(X, Y, sample_weight=WEIGHT, batch_size=8, verbose=0).history
    logs = model.evaluate(X, Y, sample_weight=WEIGHT, batch_size=8, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "student_loss", "logits_distillation", "ece", *expected(taught, learned, WEIGHT)}
    for key, value in expected(taught, learned, WEIGHT).items():
        assert logs[key] == pytest.approx(value, rel=1e-5), key
        assert history[key][0] == pytest.approx(value, rel=1e-5), key
    again = model.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)
    for key, value in expected(taught, learned, np.ones(len(Y))).items():
        assert again[key] == pytest.approx(value, rel=1e-5), key  # reset in between


def test_the_teacher_runs_once_a_step():
    runs = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            runs.append(x.shape[0])
            return x

    counted = keras.Sequential([keras.Input((4,)), Counted(), keras.layers.Dense(CLASSES)])
    model = distiller(taught_by=counted, run_eagerly=True)
    runs.clear()
    model.fit(X, Y, batch_size=7, verbose=0)
    assert runs == [7, 7, 7]


def test_a_students_mask_reaches_them():
    class Masked(keras.layers.Layer):
        """Keeps examples whose first logit is positive."""

        def call(self, x):
            return masked(x, x[:, 0] > 0)

    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES), Masked()])
    model = distiller(student, run_eagerly=True)
    taught, learned = model.teacher.predict(X, verbose=0), model.student.predict(X, verbose=0)
    keep = learned[:, 0] > 0
    logs = model.evaluate(X, Y, sample_weight=WEIGHT, verbose=0, return_dict=True)
    for key, value in expected(taught, learned, WEIGHT * keep).items():
        assert logs[key] == pytest.approx(value, rel=1e-5), key


def test_save_load_and_early_stopping(tmp_path):
    model = distiller()
    before = model.evaluate(X, Y, verbose=0, return_dict=True)
    model.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    with pytest.warns(UserWarning, match="has no teacher"):
        alone = loaded.evaluate(X, Y, verbose=0, return_dict=True)
    assert np.isnan([alone[key] for key in alone if key.startswith("teacher_")]).all()
    assert alone["ece"] == pytest.approx(before["ece"], rel=1e-6)
    loaded.teacher = teacher()
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == pytest.approx(before, rel=1e-6)
    # the learning rate is 0: nothing improves, and the second epoch is the last
    stop = keras.callbacks.EarlyStopping("val_teacher_kl", mode="min", patience=1)
    history = loaded.fit(X, Y, epochs=5, validation_data=(X, Y), callbacks=[stop], verbose=0).history
    assert len(history["val_teacher_kl"]) == 2


def test_without_labels():
    made = kls.Distiller(teacher(), network(), kls.distillation.LogitsDistillation(), student_loss_weight=0.0)
    made.compile("sgd", teacher_metrics=kls.metrics.TeacherAgreement())
    assert 0 <= made.fit(X, verbose=0).history["teacher_agreement"][0] <= 1
    made.compile("sgd", teacher_metrics=[kls.metrics.BrierScore()])
    with pytest.raises(ValueError, match=r"Expected labels for the teacher's 'brier_score'"):
        made.fit(X, verbose=0)


def test_several_outputs_by_name():
    def two(seed):
        inputs = keras.Input((4,))
        return keras.Model(inputs, {"a": network(seed)(inputs), "b": network(seed + 1)(inputs)})

    model = kls.Distiller(two(5), two(0), kls.distillation.LogitsDistillation())
    metrics = {"a": [kls.metrics.TeacherAgreement()], "b": [kls.metrics.BrierScore(name="brier")]}
    model.compile(keras.optimizers.SGD(0.0), {"a": LOSS, "b": LOSS}, teacher_metrics=metrics)
    logs = model.evaluate(X, {"a": Y, "b": Y}, verbose=0, return_dict=True)
    taught, learned = model.teacher.predict(X, verbose=0), model.student.predict(X, verbose=0)
    assert logs["a_teacher_agreement"] == pytest.approx((taught["a"].argmax(1) == learned["a"].argmax(1)).mean())
    p = np.exp(taught["b"]) / np.exp(taught["b"]).sum(axis=1, keepdims=True)
    assert logs["b_teacher_brier"] == pytest.approx(((p - np.eye(CLASSES)[Y]) ** 2).sum(axis=1).mean(), rel=1e-5)
    model.compile("sgd", {"a": LOSS, "b": LOSS}, teacher_metrics=[kls.metrics.TeacherAgreement()])
    with pytest.raises(ValueError, match=r"by the names of outputs.*Received: a list for outputs \['a', 'b'\]"):
        model.evaluate(X, {"a": Y, "b": Y}, verbose=0)


def test_errors():
    made = kls.Distiller(teacher(), network(), kls.distillation.LogitsDistillation())
    with pytest.raises(ValueError, match=r"Expected `teacher_metrics` to be metrics.*Received: 'accuracy'"):
        made.compile("sgd", LOSS, teacher_metrics=["accuracy"])
    with pytest.raises(ValueError, match="with names of their own"):
        made.compile("sgd", LOSS, teacher_metrics=[kls.metrics.TeacherAgreement(), kls.metrics.TeacherAgreement()])


def test_a_cached_teacher_is_measured_too():
    taught = teacher().predict(X, verbose=0)
    model = distiller(taught_by=kls.distillation.CachedTeacher())
    logs = model.evaluate({"inputs": X, "teacher_outputs": taught}, Y, verbose=0, return_dict=True)
    learned = model.student.predict(X, verbose=0)
    for key, value in expected(taught, learned, np.ones(len(Y))).items():
        assert logs[key] == pytest.approx(value, rel=1e-5), key


@pytest.mark.tensorflow
@pytest.mark.parametrize("examples", [16, 13, 9])
def test_two_replicas(two_replicas, examples):
    def logs():
        made = distiller()
        rows = slice(examples)
        return made.fit(X[rows], Y[rows], sample_weight=WEIGHT[rows], batch_size=8, shuffle=False, verbose=0).history

    one = logs()
    with two_replicas.scope():
        two = logs()
    assert one.keys() == two.keys()
    for key in one:
        assert two[key][0] == pytest.approx(one[key][0], abs=1e-6), key


@pytest.mark.parametrize("cached", [False, True])
def test_calibration_callback_reads_the_student(cached):
    model = distiller(taught_by=kls.distillation.CachedTeacher() if cached else None)
    x = {"inputs": X, "teacher_outputs": teacher().predict(X, verbose=0)} if cached else X
    callback = kls.callbacks.CalibrationCallback((x, Y), num_bins=5)
    history = model.fit(x, Y, verbose=0, callbacks=[callback]).history
    p = np.exp(model.student.predict(X, verbose=0))
    p = p / p.sum(axis=1, keepdims=True)
    assert history["val_accuracy"][0] == pytest.approx((p.argmax(1) == Y).mean())
    assert history["val_nll"][0] == pytest.approx(-np.log(p[np.arange(len(Y)), Y]).mean(), rel=1e-5)
    assert history["val_ece"][0] == pytest.approx(float(kls.ops.calibration_error(Y, p, 5)), rel=1e-5)
