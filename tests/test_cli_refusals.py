"""What the command line refuses before the work, and how it says what came from elsewhere or was stopped."""

import dataclasses
import pathlib
import sys

import numpy as np
import pytest

import keras_ls as kls
import keras_ls_launcher
from tests.reports.test_result_file import RESULT
from tests.test_cli import in_process

JUNK = "[/bold] :smile: <b>x</b> [red]"


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    RESULT.save(path / "calibration.json")
    return path


@pytest.fixture
def predictions(tmp_path):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 3)).astype("float32")
    np.savez(tmp_path / "mine.npz", labels=(logits + rng.gumbel(size=(60, 3))).argmax(axis=1), logits=logits)
    return tmp_path / "mine.npz"


def flat(text):
    return " ".join(text.split())


def test_markup_in_results_is_printed_as_it_is(results, monkeypatch, capsys):
    table = dataclasses.replace(RESULT.tables[0], title=JUNK, columns=(JUNK, "b"), rows=((JUNK, "1"),), note=JUNK)
    found = dict.fromkeys(("claim", "paper", "difference", "verdict"), JUNK)
    dataclasses.replace(RESULT, tables=(table,), directions=(found,)).save(results / "calibration.json")
    assert in_process(monkeypatch, "report", results) == 0
    out = capsys.readouterr().out
    # title, heading, cell and note are whole; the four cells of a direction break between words
    assert out.count(JUNK) == 4 and [out.count(word) for word in JUNK.split()] == [8] * 4
    page = (results / "report.html").read_text()
    assert "<b>x" not in page and page.count("[/bold] :smile: &lt;b&gt;x&lt;/b&gt; [red]") == 8


@pytest.mark.parametrize("command", ["report", "export", "calibrate", "diagnose", "run"])
def test_markup_in_paths_of_errors_is_printed_as_it_is(tmp_path, monkeypatch, capsys, command):
    more = {"calibrate": ["--logits"], "diagnose": ["--dataset", "digits"]}
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, command, "[/bold]:smile:\x1b[31m", *more.get(command, ())) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and "[/bold]:smile:\\x1b[31m" in error.replace("\\\\", "\\")
    assert "\x1b" not in error and "Traceback" not in error and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["[/x]", "[", ":smile:", "a\\[b]"])
def test_a_path_of_any_name_is_written_and_printed(predictions, tmp_path, monkeypatch, capsys, name):
    step = kls.studies.recalibration.Step
    scores = dict.fromkeys(
        ("accuracy", "nll", "brier", "aurc", "ece", "ece_quantile", "smooth", "classwise"), [0.5] * 3
    )
    monkeypatch.setattr(kls.studies.Recalibration, "step", lambda study, name, progress: step(scores, (), None))
    monkeypatch.setattr(kls.studies, "save_figures", lambda *_: [])
    monkeypatch.setattr(kls.studies, "write_report", lambda _, out: out / "report.html")
    monkeypatch.setattr(kls.studies, "compare", lambda *_: RESULT)
    arguments = ["--logits", "--calibrator", "temperature", "--out", tmp_path / name]
    assert in_process(monkeypatch, "calibrate", predictions, *arguments) == 0
    assert f"Open {tmp_path / name / 'report.html'} in a browser." in capsys.readouterr().out
    assert (tmp_path / name / "calibration.json").exists()


def outputs(command, taken, predictions, results):
    return {
        "run": ["run", "calibration", "--out", taken],
        "calibrate": ["calibrate", predictions, "--logits", "--out", taken],
        "save": ["calibrate", predictions, "--logits", "--out", taken.parent / "new", "--save", taken],
        "diagnose": ["diagnose", "teacher.keras", "--dataset", "digits", "--out", taken],
        "export": ["export", results, "--to", taken],
    }[command]


@pytest.mark.parametrize("command", ["run", "calibrate", "save", "diagnose", "export"])
@pytest.mark.parametrize("below", ["", "below"])
def test_outputs_are_tried_before_the_work(predictions, results, tmp_path, monkeypatch, capsys, command, below):
    for name in ("Store", "load_teacher", "export_models", "logits_of"):
        monkeypatch.setattr(kls.studies, name, lambda *_: pytest.fail("worked first"))
    (tmp_path / "taken").write_text("mine")
    assert in_process(monkeypatch, *outputs(command, tmp_path / "taken" / below, predictions, results)) == 2
    assert "Expected a directory that can be written. Received: " in flat(capsys.readouterr().err)
    assert (tmp_path / "taken").read_text() == "mine" and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("command", "name"),
    [("run", "calibration.json"), ("calibrate", "calibrate.json"), ("save", "calibrator.json"), ("run", "report.html")],
)
def test_a_file_to_write_that_is_a_directory(predictions, results, tmp_path, monkeypatch, capsys, command, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    assert in_process(monkeypatch, *outputs(command, tmp_path / "out", predictions, results)) == 2
    assert "Expected a file to write. Received: " in flat(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["results", "results/report.html", "results/calibration.png"])
def test_report_prints_what_it_cannot_draw(results, tmp_path, monkeypatch, capsys, name):
    if name == "results":
        monkeypatch.setattr("keras_ls.cli.check_writable", lambda *_: (_ for _ in ()).throw(OSError("Read-only.")))
    else:
        (tmp_path / name).mkdir()
    before = set(tmp_path.rglob("*"))
    assert in_process(monkeypatch, "report", results) == 0
    out = capsys.readouterr().out
    assert "Errors" in out and "smoothed" in out and "Nothing was drawn. " in out and "Open" not in out
    assert set(tmp_path.rglob("*")) == before


def test_a_changed_number_is_told_in_one_line(results, monkeypatch, capsys):
    path = results / "calibration.json"
    path.write_text(path.read_text().replace("0.125", "0.126"))
    assert in_process(monkeypatch, "report", results) == 0
    printed = capsys.readouterr()
    assert "UserWarning" not in printed.out + printed.err and printed.err == ""
    lines = [line for line in printed.out.splitlines() if "checksum" in line]
    assert len(lines) == 1 and lines[0].startswith("Warning: calibration.json is not as the study wrote it")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "calibration", "--seeds", 10**9], "`seeds` to be an integer from 1 to 1,000. Received: 1000000000."),
        (["run", "accuracy", "--seeds", -1], "`seeds` to be an integer from 1 to 1,000. Received: -1."),
        (["diagnose", "x.keras", "--dataset", "digits", "--num-bins", 10**9], "`num_bins` to be an integer from 1 to"),
    ],
)
def test_settings_out_of_all_proportion(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, *arguments) == 2
    assert message in flat(capsys.readouterr().err) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [{"folds": 1001}, {"num_bins": 10**9}, {"num_resamples": 10**6}, {"seed": -1}, {"seed": 2**32}, {"seed": 1.5}],
)
def test_settings_out_of_all_proportion_in_python(settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=f"Expected `{name}` to be an integer from"):
        kls.studies.Recalibration([0, 1] * 5, [[1.0, 0.0]] * 10, **settings)
    if name in ("num_bins", "seed"):
        with pytest.raises(ValueError, match=f"Expected `{name}` to be an integer from"):
            kls.studies.diagnose(None, "digits", **settings)
    if name == "num_bins":
        for study in (kls.studies.AccuracyStudy, kls.studies.CalibrationStudy):
            with pytest.raises(ValueError, match="Expected `num_bins` to be an integer from 1 to 1,000"):
                study(**settings)


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("command", ["run", "report", "export", "calibrate", "save", "diagnose"])
def test_ctrl_c_says_how_to_go_on(predictions, results, tmp_path, monkeypatch, capsys, command):
    for name in ("Store", "read_results", "export_models", "logits_of", "load_teacher"):
        monkeypatch.setattr(kls.studies, name, interrupt)
    report = ["report", results]
    arguments = report if command == "report" else outputs(command, tmp_path / "out", predictions, results)
    assert in_process(monkeypatch, *arguments) == 130
    on = "goes on from here" if command == "run" else "starts again"
    assert capsys.readouterr().err == f"Stopped. The same command {on}.\n"


def test_ctrl_c_while_tensorflow_loads(monkeypatch, capsys):
    monkeypatch.setattr(keras_ls_launcher, "quiet_stderr", interrupt)
    monkeypatch.setattr(sys, "argv", ["keras-ls", "run", "calibration"])
    with pytest.raises(SystemExit) as stopped:
        keras_ls_launcher.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "Stopped. The same command goes on from here.\n"


def test_home_is_expanded(results, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert in_process(monkeypatch, "report", pathlib.Path("~/results")) == 0
    assert (results / "report.html").exists()
