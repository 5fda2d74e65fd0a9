"""The command line: results, resumption, and errors without a traceback."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from keras_ls.cli import main
from keras_ls.files import one_writer

COMMAND = str(pathlib.Path(sys.executable).parent / "keras-ls")


def keras_ls(*arguments):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "results"
    return out, keras_ls("run", "calibration", "--seeds", 2, "--out", out)


def test_run(finished):
    out, process = finished
    assert process.returncode == 0
    assert process.stderr == ""  # no notice and no warning
    assert "Mean ± 95 % interval over 2 seeds" in process.stdout and "hard + temperature" in process.stdout
    assert "report.html" in process.stdout
    result = json.loads((out / "calibration.json").read_text())
    assert result["provenance"]["command"].startswith("keras-ls run calibration --seeds 2")
    assert len(result["values"]["digits-noise"]["hard"]["ece"]) == 2
    assert (out / "calibration.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((out / "models").glob("*.keras"))) == 4  # hard and smoothed, two seeds


def in_process(monkeypatch, *arguments):
    """Exit code of the command in this process, which has loaded TensorFlow already."""
    monkeypatch.setattr(sys, "argv", ["keras-ls", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def test_run_again_reads_and_ends_with_the_same_numbers(finished, monkeypatch):
    out, _ = finished
    before = json.loads((out / "calibration.json").read_text())["values"]
    times = {path: path.stat().st_mtime_ns for path in (out / "models").iterdir()}
    assert in_process(monkeypatch, "run", "calibration", "--seeds", 2, "--out", out) == 0
    assert json.loads((out / "calibration.json").read_text())["values"] == before
    assert times == {path: path.stat().st_mtime_ns for path in (out / "models").iterdir()}


def test_report_and_export(finished, tmp_path, monkeypatch):
    out, _ = finished
    (out / "report.html").unlink()
    assert in_process(monkeypatch, "report", out) == 0
    assert (out / "report.html").exists()
    assert in_process(monkeypatch, "export", out, "--to", tmp_path / "exported") == 0
    facts = json.loads((tmp_path / "exported/digits-noise-hard.json").read_text())
    values = json.loads((out / "calibration.json").read_text())["values"]["digits-noise"]
    assert facts["temperature"] == pytest.approx(values["hard + temperature"]["temperature"][0], rel=1e-6)
    assert (tmp_path / "exported/digits-noise-smoothed/saved_model.pb").exists()


def test_list(monkeypatch, capsys):
    assert in_process(monkeypatch, "list") == 0
    printed = capsys.readouterr().out
    assert all(
        name in printed
        for name in ("projection", "calibration", "distillation", "accuracy", "tiny", "small", "digits-noise")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "calibratoin"], "Did you mean 'calibration'?"),
        (["run", "calibration", "--size", "tinny"], "Did you mean 'tiny'?"),
        (["run", "projection", "--size", "small"], "for the study projection. Received: 'small'"),
        (["run", "calibration", "--dataset", "digit"], "Did you mean 'digits'?"),
        (["run", "calibration", "--seeds", "0"], "Expected `seeds` to be an integer from 1 to 1,000. Received: 0."),
        (["run", "projection", "--classes", "3,8,99"], "Did you mean '9'?"),
        (["run", "projection", "--classes", "3,8"], "Expected three different class names. Received: 3, 8."),
        (["run", "calibration", "--classes", "3,8,9"], "together with the study projection"),
        (["run", "calibration", "--strategy", "miror"], "Did you mean 'mirrored'?"),
        (["report", "nowhere"], "Received: nowhere, without any of accuracy.json"),
        (["export", "nowhere"], "Received: nowhere, without any of accuracy.json"),
        (["run", "calibration", "--out", "/dev/null/x"], "Expected a directory that can be written."),
        (["rum"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "calibration", "--seeds", "many"], "integer"),
    ],
)
def test_bad_input_is_one_error_with_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert message in " ".join(printed.err.split())
    assert "Traceback" not in printed.err + printed.out
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_bad_input_in_a_process_of_its_own(tmp_path):
    process = keras_ls("run", "calibratoin", "--out", tmp_path / "out")
    assert process.returncode == 2
    assert process.stderr.startswith("Error: Expected `study` to be one of") and process.stdout == ""
    assert not (tmp_path / "out").exists()


def test_one_run_at_a_time_in_a_directory(tmp_path, monkeypatch, capsys):
    with one_writer(tmp_path):
        assert in_process(monkeypatch, "run", "calibration", "--seeds", 1, "--out", tmp_path) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "Expected one writer at a time" in message and "Wait until it is done" in message


def test_what_a_killed_run_left_half_written_is_removed(finished, monkeypatch):
    out, _ = finished
    left = [out / ".123-calibration.json", out / "models" / ".123-half.keras"]
    for path in left:
        path.write_text("")
    assert in_process(monkeypatch, "run", "calibration", "--seeds", 2, "--out", out) == 0
    assert not any(path.exists() for path in left)
