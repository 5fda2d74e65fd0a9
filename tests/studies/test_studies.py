"""The studies' numbers, recomputed from their predictions in plain NumPy."""

import dataclasses
import html

import numpy as np
import pytest

from keras_ls import data, ops
from keras_ls.reports.figures import draw
from keras_ls.reports.html_report import read_results, write_report
from keras_ls.studies import (
    STUDIES,
    AccuracyStudy,
    CalibrationStudy,
    DistillationStudy,
    ProjectionStudy,
    Store,
    StudyResult,
    Training,
)
from tests.ops import plain_forms

SMALL = {
    "accuracy": AccuracyStudy(seeds=(0, 1), widths=(16,), epochs=4),
    "projection": ProjectionStudy(seeds=(0, 1), widths=(16,), epochs=3),
    "calibration": CalibrationStudy(seeds=(0, 1), widths=(16,)),
    "distillation": DistillationStudy(
        seeds=(0, 1),
        settings={
            "smoothings": (0.0, 0.3),
            "temperatures": (1.0, 4.0),
            "grid_smoothings": (0.3,),
            "grid_temperatures": (1.0, 4.0),
            "teacher": {"widths": (16,)},
            "student": {"widths": (4,), "epochs": 3},
        },
    ),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    results = {}
    for name, study in SMALL.items():
        for _ in study.run(store):
            pass
        results[name] = study.summarise(store)
        results[name].save(store.directory / f"{name}.json")
    return store, results


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_calibration_scores(done):
    store, results = done
    study, labels = SMALL["calibration"], data.load("digits-noise").test[1]
    training = study.trainings()[2]  # seed 1, hard
    assert (training.seed, training.label_smoothing) == (1, 0.0)
    values = results["calibration"].values["digits-noise"]
    for method, T in (("hard", 1.0), ("hard + temperature", values["hard + temperature"]["temperature"][1])):
        p = softmax(store.predictions(training).logits["test"].astype("float64") / T)
        hits, confidence = p.argmax(axis=1) == labels, p.max(axis=1)
        ece = 0.0
        for lower in range(15):
            inside = (confidence >= lower / 15) & (confidence < (lower + 1) / 15 if lower < 14 else True)
            if inside.any():
                ece += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
        expected = {
            "accuracy": hits.mean(),
            "nll": -np.log(p[np.arange(len(labels)), labels]).mean(),
            "brier": ((p - np.eye(10)[labels]) ** 2).sum(axis=1).mean(),
            "ece": ece,
        }
        for key, value in expected.items():
            assert values[method][key][1] == pytest.approx(value, rel=1e-5), (method, key)


def test_accuracy_study_scores(done):
    store, results = done
    study, labels = SMALL["accuracy"], data.load("digits-noise").test[1]
    training = next(t for t in study.trainings() if (t.loss, t.seed) == ("focal", 1))
    values = results["accuracy"].values["digits-noise"]["focal"]
    logits = store.predictions(training).logits["test"].astype("float64")
    for T, suffix in ((1.0, ""), (values["temperature"][1], "_T")):
        p = softmax(logits / T)
        assert values[f"nll{suffix}"][1] == pytest.approx(-np.log(p[np.arange(697), labels]).mean(), rel=1e-5)
    errors = (logits.argmax(axis=1) != labels)[np.argsort(-softmax(logits).max(axis=1), kind="stable")]
    risks = np.cumsum(errors) / np.arange(1, 698)
    # streamed: confidences are told apart by 4096 cells
    assert values["aurc"][1] == pytest.approx(risks.mean(), abs=2e-4)
    assert values["accuracy"][1] == pytest.approx(1 - errors.mean())
    separation = plain_forms.class_separation(store.predictions(training).features["test"][:60], labels[:60].tolist())
    assert separation == pytest.approx(
        float(ops.class_separation(store.predictions(training).features["test"][:60], labels[:60])), rel=1e-4
    )


def test_the_family_differs_in_its_loss_alone():
    trainings = AccuracyStudy().trainings()
    assert len(trainings) == 8 * 5 and len(set(trainings)) == 8 * 5
    assert {t.seed for t in trainings} == {0, 1, 2, 3, 4}
    same = {dataclasses.replace(t, loss="smoothed", label_smoothing=0.0, seed=0) for t in trainings}
    assert len(same) == 1  # data, network, epochs, rate
    assert sorted({(t.loss, t.label_smoothing) for t in trainings})[-2:] == [("smoothed", 0.0), ("smoothed", 0.1)]


def test_online_smoothing_starts_afresh_for_every_seed(tmp_path):
    # the seeds share a compiled step, and with it the loss that learns
    training = Training("digits-noise", widths=(8,), loss="online", epochs=3, seed=1)
    first = training.run().get_weights()
    dataclasses.replace(training, seed=2).run()
    for a, b in zip(training.run().get_weights(), first):
        np.testing.assert_array_equal(a, b)


def test_the_temperature_sees_the_calibration_split_alone(done):
    store, results = done
    training = SMALL["calibration"].trainings()[0]
    logits, labels = store.predictions(training).logits["calibration"], data.load("digits-noise").calibration[1]

    def nll(T):
        return -np.log(softmax(logits.astype("float64") / T)[np.arange(len(labels)), labels]).mean()

    T = results["calibration"].values["digits-noise"]["hard + temperature"]["temperature"][0]
    assert nll(T) <= min(nll(T * 0.999), nll(T * 1.001))


def test_gamma_and_accuracy_of_a_student(done):
    store, results = done
    training = SMALL["distillation"].experiments["digits-noise"].curves(1)["student of hard teacher"][1][1]
    assert (training.temperature, training.teacher.label_smoothing, training.seed) == (4.0, 0.0, 1)
    (_, y), (_, labels) = data.load("digits-noise").train, data.load("digits-noise").test
    p = softmax(store.predictions(training.teacher).logits["train"].astype("float64") / 4.0)
    entry = results["distillation"].values["digits-noise"]["student of hard teacher"]["T=4"]
    assert entry["gamma"][1] == pytest.approx(((1 - np.eye(10)[y]) * p).sum(axis=1).mean() * 10 / 9, rel=1e-5)
    accuracy = (store.predictions(training).logits["test"].argmax(axis=1) == labels).mean()
    assert entry["accuracy"][1] == pytest.approx(accuracy)


def test_students_learn_from_the_teacher_alone(done):
    # at T=1 with β = 1 the student's distribution nears the teacher's, more than it nears another seed's
    store, _ = done
    student = SMALL["distillation"].experiments["digits-noise"].curves(0)["student of hard teacher"][0][1]
    kept = dataclasses.replace(student, label_smoothing=0.5)  # labels play no part: neither does their smoothing
    np.testing.assert_array_equal(store.predictions(kept).logits["test"], store.predictions(student).logits["test"])


def test_projection_keeps_distances_in_the_plane(done):
    store, results = done
    panel = results["projection"].figures[0].panels[0][0]
    templates = store.predictions(SMALL["projection"].trainings()[0]).templates[[0, 1, 2]]
    points = np.array(panel["templates"])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        distance = np.linalg.norm(templates[a] - templates[b])
        assert np.linalg.norm(points[a] - points[b]) == pytest.approx(distance, rel=1e-5)


@pytest.mark.parametrize("name", STUDIES)
def test_a_result_is_the_same_after_saving(done, name):
    store, results = done
    loaded = StudyResult.load(store.directory / f"{name}.json")
    assert loaded.values == results[name].values
    assert [table.rows for table in loaded.tables] == [[list(r) for r in t.rows] for t in results[name].tables]
    figure = draw(loaded.figures[0])
    rows = loaded.figures[0].panels
    assert len(figure.subfigs) == len(rows)
    assert [len(band.axes) for band in figure.subfigs] == [len(row) for row in rows]


def test_provenance(done):
    facts = done[1]["calibration"].provenance
    assert facts["seeds"] == [0, 1]
    assert facts["data"] == {"digits-noise": data.load("digits-noise").fingerprint}
    assert {"keras_ls", "keras", "tensorflow", "python"} <= set(facts["versions"])


def test_report_is_one_file_with_every_figure_and_table(done):
    store, results = done
    page = write_report(read_results(store.directory), store.directory).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == sum(len(result.figures) for result in results.values()) == 5
    assert 'src="http' not in page and "href=" not in page
    for result in results.values():
        assert all(html.escape(cell) in page for row in result.tables[0].rows for cell in row)
        assert all(found["verdict"] in page for found in result.directions)


def test_a_file_that_is_no_result_is_named(tmp_path):
    (tmp_path / "package.json").write_text('{"name": "of something else"}')
    (tmp_path / "calibration.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"Expected the result of a study.*calibration\.json"):
        read_results(tmp_path)
    with pytest.raises(ValueError, match=r"without any of accuracy\.json"):
        read_results(tmp_path / "none")


def test_unknown_dataset_is_an_error_before_anything_is_trained():
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        CalibrationStudy(dataset="digit")


@pytest.mark.parametrize(
    ("study", "settings", "message"),
    [
        (CalibrationStudy, {"size": "huge"}, "Expected `size` to be one of"),
        (ProjectionStudy, {"size": "small"}, "Expected `size` 'tiny' for the study projection. Received: 'small'"),
        (AccuracyStudy, {"size": "paper"}, "Expected `size` 'tiny' or 'small' for the study accuracy"),
        (AccuracyStudy, {"label_smoothing": 1.0}, "Expected `label_smoothing`"),
        (CalibrationStudy, {"seeds": ()}, "Expected 1 to 1,000 seeds. Received: none"),
        (CalibrationStudy, {"num_bins": 0}, "Expected `num_bins`"),
        (CalibrationStudy, {"label_smoothings": (1.5,)}, "Expected `label_smoothing`"),
        (CalibrationStudy, {"label_smoothings": (0.0, 0.1)}, "Expected `label_smoothings` above 0"),
        (DistillationStudy, {"settings": {"temperatures": (1.0, -1.0, 2.0, 4.0)}}, "Expected `temperature`"),
        (DistillationStudy, {"settings": {"grid_temperatures": (1.0, 3.0)}}, "Expected `grid_temperatures`"),
        (DistillationStudy, {"settings": {"grid_smoothings": (0.2,)}}, "Expected `smoothings` to begin with 0"),
        (DistillationStudy, {"dataset": "cifar10"}, "Expected `size` 'small' for the dataset 'cifar10'"),
        (DistillationStudy, {"size": "paper", "dataset": "digits"}, "Expected `dataset` 'mnist' at size 'paper'"),
        (ProjectionStudy, {"classes": (("0", "1", "zero"),)}, "Expected `class name`"),
    ],
)
def test_bad_settings_are_errors_before_anything_is_trained(study, settings, message):
    with pytest.raises(ValueError, match=message):
        study(**settings)


def test_spread_is_within_over_between(done):
    store, results = done
    network = store.predictions(SMALL["projection"].trainings()[0])
    labels = data.load("digits").test[1]
    spreads = []
    for names in SMALL["projection"].classes:
        chosen = [int(name) for name in names]
        w = network.templates[chosen].astype("float64")
        q, _ = np.linalg.qr((w[1:] - w[0]).T)  # another basis of the same plane: distances are the same
        clouds = [network.features["test"][labels == c] @ q for c in chosen]
        within = sum(((x - x.mean(0)) ** 2).sum(1).mean() for x in clouds) / 3
        means = np.array([x.mean(0) for x in clouds])
        spreads.append(within / (((means - means.mean(0)) ** 2).sum() / 3))
    assert results["projection"].values["hard"]["spread validation"][0] == pytest.approx(np.mean(spreads), rel=1e-4)
