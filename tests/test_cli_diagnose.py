"""`keras-ls diagnose`: from a saved teacher to a verdict, tables, pictures and JSON."""

import json

import keras
import pytest

import keras_ls as kls
from tests.test_cli import in_process


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    kls.studies.Training("digits-noise", (64,), label_smoothing=0.2).run().save(path)
    return path


def test_a_smoothed_teacher(teacher, tmp_path, monkeypatch, capsys):
    arguments = ["--dataset", "digits-noise", "--part", "calibration", "--temperatures", "1,2.5", "--out", tmp_path]
    assert in_process(monkeypatch, "diagnose", teacher, *arguments) == 0
    shown = capsys.readouterr().out
    assert "Yes: its targets look smoothed evenly, with α ≈ 0.2" in " ".join(shown.split())
    assert "held out (calibration)" in shown and "2.5" in shown and "NC4" in shown
    result = json.loads((tmp_path / "diagnose.json").read_text())
    found = kls.studies.diagnose(keras.models.load_model(teacher), "digits-noise", "calibration", (1.0, 2.5))
    assert result["values"]["measures"] == found.measures
    assert result["values"]["verdict"]["alpha"] == pytest.approx(0.2, abs=0.02)
    assert result["values"]["temperatures"] == [1, 2.5]
    assert len(result["provenance"]["data"]["teacher.keras"]) == 64
    for name in ("diagnose-gamma.png", "diagnose-reliability.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "report.html").read_text()
    assert "<h1>The teacher teacher.keras</h1>" in page
    for path in tmp_path.glob("*.[hp]*"):
        path.unlink()
    assert in_process(monkeypatch, "report", tmp_path) == 0
    assert (tmp_path / "report.html").read_text() == page and (tmp_path / "diagnose-gamma.png").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.keras", "--dataset", "digits"], "which does not exist"),
        (["TEACHER", "--dataset", "digit"], "Did you mean 'digits'?"),
        (["TEACHER", "--dataset", "digits", "--temperatures", "1;2"], "Expected `--temperatures` as numbers"),
        (["TEACHER", "--dataset", "digits", "--part", "validation"], "Expected `part` to be one of"),
    ],
)
def test_errors_are_a_sentence(teacher, tmp_path, monkeypatch, capsys, arguments, message):
    arguments = [teacher if argument == "TEACHER" else argument for argument in arguments]
    assert in_process(monkeypatch, "diagnose", *arguments, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in " ".join(error.split()) and "Traceback" not in error
    assert not (tmp_path / "out").exists()
