"""`keras-ls calibrate`: from a file of predictions to a table, a picture and a calibrator that others can use."""

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from sklearn.model_selection import StratifiedKFold

import keras_ls as kls
from tests.real_data import lenet_cifar10
from tests.test_cli import in_process

SETTINGS = ["--resamples", 20, "--calibrator", "temperature"]


@pytest.fixture(autouse=True)
def few_resamples(request, monkeypatch):
    """A tenth of the resamples of the test of calibration, where no p-value of a thousand is looked at."""
    if request.function is not test_real_predictions:
        monkeypatch.setattr(kls.studies.recalibration, "_TESTS", 100)


def overconfident(n=600, k=4):
    """Logits three times too large, and labels drawn from what they should be."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, k)) * 2
    return (z + rng.gumbel(size=z.shape)).argmax(axis=1), (3 * z).astype("float32")


@pytest.fixture
def file(tmp_path):
    labels, logits = overconfident()
    np.savez(tmp_path / "mine.npz", labels=labels, logits=logits)
    return tmp_path / "mine.npz"


def result_of(folder):
    return json.loads((folder / "calibrate.json").read_text())


def nll(labels, logits):
    return -np.log(softmax(logits.astype("float64"), axis=1)[np.arange(len(labels)), labels]).mean()


def test_a_temperature_is_cross_fitted_and_saved(file, tmp_path, monkeypatch, capsys):
    save = tmp_path / "saved"
    assert in_process(monkeypatch, "calibrate", file, "--logits", *SETTINGS, "--out", tmp_path, "--save", save) == 0
    labels, logits = overconfident()
    # by hand: five temperatures, each of four fifths, for the fifth that is left
    calibrated = np.empty_like(logits)
    for rest, fold in StratifiedKFold(5, shuffle=True, random_state=0).split(logits, labels):
        T = kls.calibrators.TemperatureScaling().fit(logits[rest], labels[rest]).temperature
        calibrated[fold] = logits[fold] / T
    values = result_of(tmp_path)["values"]
    assert values["as given"]["nll"][0] == pytest.approx(nll(labels, logits), rel=1e-6)
    assert values["temperature"]["nll"][0] == pytest.approx(nll(labels, calibrated), rel=1e-6)
    for scores in values.values():
        for estimate, low, high in (scores[key] for key in ("accuracy", "nll", "brier")):
            assert low < estimate < high
    shown = capsys.readouterr().out
    assert "temperature (lowest NLL)" in shown and "cross-fitted in 5 parts" in shown
    assert (tmp_path / "calibrate.png").read_bytes()[:4] == b"\x89PNG"
    assert "Calibration of mine.npz" in (tmp_path / "report.html").read_text()
    # saved is one of all examples
    T = kls.calibrators.TemperatureScaling().fit(logits, labels).temperature
    facts = json.loads((save / "calibrator.json").read_text())
    assert facts["config"]["temperature"] == pytest.approx(T, rel=1e-6)
    assert facts["scores"]["after"]["nll"] == values["temperature"]["nll"]
    assert len(facts["provenance"]["data"]["mine.npz"]) == 64
    served = tf.saved_model.load(str(save / "saved_model")).signatures["serving_default"]
    np.testing.assert_allclose(
        served(inputs=tf.constant(logits))["probabilities"], softmax(logits / T, axis=1), rtol=1e-5, atol=1e-7
    )


def test_real_predictions(tmp_path, monkeypatch):
    labels, p = lenet_cifar10()
    np.savez(tmp_path / "lenet.npz", ground_truth=labels, predictions=p)
    arguments = ["calibrate", tmp_path / "lenet.npz", "--probabilities", *SETTINGS, "--out", tmp_path]
    assert in_process(monkeypatch, *arguments) == 0
    before, after = (result_of(tmp_path)["values"][name] for name in ("as given", "temperature"))
    # netcal's example: ECE .107888, Brier .614152, NLL 1.369868; 1.311497 and .012963 with T of the same data
    assert [before[key][0] for key in ("ece", "brier", "nll")] == pytest.approx(
        [0.107888, 0.614152, 1.369868], abs=2e-6
    )
    assert after["nll"][0] == pytest.approx(1.3115, abs=2e-4)
    assert after["ece"][0] == pytest.approx(0.013, abs=2e-3)
    assert (before["p_value"][0], after["p_value"][0] > before["p_value"][0]) == (pytest.approx(1 / 1001), True)


def test_probabilities_of_a_single_column(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    p = rng.uniform(0.01, 0.99, 400)
    y = (rng.uniform(size=400) < p).astype(int)
    rows = "".join(f"{label},{float(value)!r}\n" for label, value in zip(y, p))
    (tmp_path / "mine.csv").write_text("label,probability\n" + rows)
    save = ["--save", tmp_path / "saved"]
    assert (
        in_process(
            monkeypatch, "calibrate", tmp_path / "mine.csv", "--probabilities", *SETTINGS, *save, "--out", tmp_path
        )
        == 0
    )
    assert kls.studies.Recalibration(y, np.log(p / (1 - p))).names == (
        *("temperature", "vector", "dirichlet", "ensemble", "isotonic", "isotonic-top", "histogram"),
    )
    before = result_of(tmp_path)["values"]["as given"]
    assert before["accuracy"][0] == pytest.approx(((p > 0.5) == y).mean())
    assert before["brier"][0] == pytest.approx(((p - y) ** 2).mean(), rel=1e-5)
    assert before["nll"][0] == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), rel=1e-5)
    facts = json.loads((tmp_path / "saved/calibrator.json").read_text())
    T = facts["config"]["temperature"]
    assert "log p - log(1 - p)" in facts["input"]  # which is what is served, below
    served = tf.saved_model.load(str(tmp_path / "saved/saved_model")).signatures["serving_default"]
    got = served(inputs=tf.constant(p[:, None], "float32"))["probabilities"][:, 0]
    np.testing.assert_allclose(got, 1 / (1 + ((1 - p) / p) ** (1 / T)), rtol=1e-4)


def test_all_calibrators_run_and_are_compared(file, tmp_path, monkeypatch):
    assert in_process(monkeypatch, "calibrate", file, "--logits", "--resamples", 5, "--out", tmp_path) == 0
    values = result_of(tmp_path)["values"]
    assert list(values) == ["as given", *kls.studies.recalibration.CALIBRATORS]
    # labels come from z / 3 exactly: nothing has a lower NLL than a temperature by more than chance
    least = values["temperature"]["nll"][0]
    assert values["as given"]["nll"][0] > least + 0.3
    for name, scores in values.items():
        assert scores["nll"][0] > least - 0.02, name
        if name != "as given":
            assert scores["ece"][0] < values["as given"]["ece"][0], name
    accuracy = {name: scores["accuracy"][0] for name, scores in values.items()}
    for name in ("temperature", "ensemble", "isotonic-top", "histogram"):  # these change no decision
        assert accuracy[name] == accuracy["as given"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected `--logits` or `--probabilities`"),
        (["--probabilities"], "Expected `--probabilities` in [0, 1]"),
        (["--logits", "--calibrator", "temprature"], "Did you mean 'temperature'"),
        (["--logits", "--folds", "1"], "Expected `folds` to be an integer from 2 to 1,000"),
        (["--logits", "--labels", "y"], "Expected `labels` to be one of"),
    ],
)
def test_bad_input_is_one_sentence(file, tmp_path, monkeypatch, capsys, arguments, message):
    assert in_process(monkeypatch, "calibrate", file, *arguments, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label,cat,dog\n7,cat,0.5,1.5\n3,dog,0.5,1.5\n", "a column 'id', which looks like something else"),
        ("label,cat,dog\ncat,0.5,1.5\ncow,0.5,1.5\n", "mine.csv, line 3, column label"),
        ("label,cat,dog\ncat,0.5,[/bold]\n", "Received: '[/bold]' in"),
        ("", "mine.csv, which is empty"),
    ],
)
def test_a_table_that_is_not_clear_is_one_sentence(tmp_path, monkeypatch, capsys, text, message):
    (tmp_path / "mine.csv").write_text(text)
    assert in_process(monkeypatch, "calibrate", tmp_path / "mine.csv", "--logits", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_table_with_labels_from_one_and_ignored_ones(tmp_path, monkeypatch, capsys):
    labels, logits = overconfident(n=200)
    # the columns in another order, labels that count from 1, every third one 0, which is to be ignored
    order = [2, 0, 3, 1]
    rows = [",".join([str(y + 1 if i % 3 else 0), *map(str, z[order])]) for i, (y, z) in enumerate(zip(labels, logits))]
    (tmp_path / "mine.csv").write_text("\n".join(["label," + ",".join(f"p_{k + 1}" for k in order), *rows]))
    arguments = ["--logits", *SETTINGS, "--ignore-class", 0, "--out", tmp_path]
    assert in_process(monkeypatch, "calibrate", tmp_path / "mine.csv", *arguments) == 0
    kept = np.arange(200) % 3 > 0
    values = result_of(tmp_path)["values"]["as given"]
    assert values["nll"][0] == pytest.approx(nll(labels[kept], logits[kept]), rel=1e-6)
    assert values["accuracy"][0] == pytest.approx((logits.argmax(axis=1) == labels)[kept].mean())
    assert "of the class" not in capsys.readouterr().out  # no warning
    names = "label,cat,dog\n" + "cat,0.5,0.25\n" * 10
    (tmp_path / "mine.csv").write_text(names + "cat,0.25,0.5\n" * 3)
    assert in_process(monkeypatch, "calibrate", tmp_path / "mine.csv", *arguments) == 0
    assert "is of the class dog" in " ".join(capsys.readouterr().out.split())


def test_probabilities_must_sum_to_one():
    with pytest.raises(ValueError, match=r"sum to 1 in every row\. Received: sums from 0\.5 to 1"):
        kls.studies.logits_of([[0.5, 0.5], [0.25, 0.25]], from_logits=False)


def test_nothing_is_saved_that_does_not_help(tmp_path, monkeypatch, capsys):
    # calibrated as they are: temperatures of four fifths can only do worse than 1, on this draw
    labels, logits = overconfident()
    np.savez(tmp_path / "mine.npz", labels=labels, logits=logits / 3)
    found = {"as given": [0.5], "temperature": [0.6], "vector": [0.7]}
    steps = {name: kls.studies.recalibration.Step({"nll": value}, (), None) for name, value in found.items()}
    study = kls.studies.Recalibration(labels, logits / 3)
    with pytest.raises(ValueError, match="none does, so that nothing is saved"):
        kls.studies.save_calibrator(study, steps, tmp_path / "saved", True, None, {})
    assert not (tmp_path / "saved").exists()


def test_ruled_out_classes_leave_out_what_cannot_keep_them():
    labels, logits = overconfident()
    logits = np.concatenate([logits, np.full((len(logits), 1), -np.inf)], axis=1)
    names = kls.studies.Recalibration(labels, logits).names
    assert names == ("temperature", "ensemble", "isotonic", "isotonic-top", "histogram")


def test_one_hot_labels_and_ignored_ones():
    labels, logits = overconfident()
    one = kls.studies.Recalibration(labels, logits, num_resamples=2).step("as given").scores
    hot = kls.studies.Recalibration(np.eye(4)[labels], logits, num_resamples=2).step("as given").scores
    assert hot == one and hot["p_value"][0] < 0.01
    some = np.where(np.arange(600) % 3 == 0, -1, labels)
    kept = some >= 0
    ignoring = kls.studies.Recalibration(some, logits, num_resamples=2, ignore_class=-1).step("as given").scores
    without = kls.studies.Recalibration(labels[kept], logits[kept], num_resamples=2).step("as given").scores
    for key in ("accuracy", "nll", "ece", "classwise"):
        assert ignoring[key][0] == pytest.approx(without[key][0], rel=1e-6)


def test_every_estimate_lies_in_its_interval():
    # calibrated predictions, whose errors are chance: reflected intervals alone end below them
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 3)).astype("float32")
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    scores = kls.studies.Recalibration(labels, logits, num_resamples=40).step("as given").scores
    intervals = {name: cell for name, cell in scores.items() if cell[1] is not None}
    assert {"accuracy", "nll", "brier", "aurc", "ece", "ece_quantile", "smooth", "classwise"} == set(intervals)
    for name, (estimate, low, high) in intervals.items():
        assert 0 <= low <= estimate <= high, name
    assert any(estimate == high for estimate, _, high in intervals.values())  # else this tries nothing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num-bins", "1000000000"), "Expected `num_bins` to be an integer from 1 to 1,000. Received: 1000000000."),
        (("--folds", "1"), "Expected `folds` to be an integer from 2 to 1,000. Received: 1."),
        (("--resamples", "0"), "Expected `resamples` to be an integer from 1 to 100,000. Received: 0."),
        (("--seed", "-1"), "Expected `seed` to be an integer from 0 to 4,294,967,295. Received: -1."),
    ],
)
def test_settings_out_of_all_proportion(file, tmp_path, monkeypatch, capsys, arguments, message):
    assert in_process(monkeypatch, "calibrate", file, "--logits", "--out", tmp_path / "out", *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_told_before_the_work(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kls.data, "read_predictions", lambda *_: pytest.fail("worked first"))
    (tmp_path / "taken").write_text("")
    assert in_process(monkeypatch, "calibrate", file, "--logits", "--out", tmp_path / "taken" / "out") == 2
    assert "Expected a directory that can be written." in " ".join(capsys.readouterr().err.split())


def test_markup_in_paths_is_text(file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "[" / "bold]"
    assert not in_process(
        monkeypatch, "calibrate", file, "--logits", "--calibrator", "temperature", "--resamples", 5, "--out", out
    )
    assert str(out) in capsys.readouterr().out.replace("\n", "")
    assert (out / "report.html").exists()


def test_progress_without_a_terminal_is_lines(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kls.terminal, "SECONDS_BETWEEN_LINES", 0)
    assert in_process(monkeypatch, "calibrate", file, "--logits", *SETTINGS, "--out", tmp_path) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "calibrate: 0/2 as given: scores"
    fits = [f"calibrate: 1/2 temperature: fit {i} of 6" for i in range(1, 7)]
    assert [line for line in lines if "fit" in line.split()] == [*fits, fits[-1]]
    assert "calibrate: 1/2 temperature: smECE" in lines
    monkeypatch.setattr(kls.terminal, "SECONDS_BETWEEN_LINES", 1e9)  # then one a step
    assert in_process(monkeypatch, "calibrate", file, "--logits", *SETTINGS, "--out", tmp_path) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.startswith("calibrate: ")]
    assert lines == ["calibrate: 0/2 as given: scores", "calibrate: 1/2 temperature: fit 1 of 6"]
