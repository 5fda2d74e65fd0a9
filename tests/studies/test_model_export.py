"""Which results `export` reads: of a file that others changed, and of a directory that cannot be written."""

import dataclasses
import json
import pathlib

import pytest

import keras_ls as kls
from keras_ls.reports.result import StudyResult
from keras_ls.studies import model_export

CONFIG = {
    **{"dataset": "digits", "seeds": [0], "size": "tiny", "label_smoothings": [0.1]},
    **{"widths": [4], "num_bins": 15},
}
SCORES = {f"{kind} + temperature": {"ece": [0.25]} for kind in ("hard", "smoothed")}
PROVENANCE = {"command": "", "versions": {}, "seeds": [0], "data": {}}
RESULT = StudyResult("calibration", CONFIG, (), (), (), {"digits": SCORES}, PROVENANCE)


@pytest.fixture
def results(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nonsense": 1}, "`config` in .* Received: dataset, .*nonsense"),
        *(({name: ...}, "`config` in .* to have") for name in CONFIG),
        ({"dataset": [1]}, "config.dataset"),
        ({"dataset": "nonsense"}, "`config` in .*Expected `dataset` to be one of"),
        ({"seeds": 5}, "config.seeds"),
        ({"seeds": ["a"]}, "`config` in .*Expected `seed`"),
        ({"seeds": []}, "`config` in .*Expected 1 to 1,000 seeds"),
        ({"size": {}}, "config.size"),
        ({"size": "[/bold]"}, "`config` in .*Expected `size`"),
        ({"label_smoothings": 0.1}, "config.label_smoothings"),
        ({"label_smoothings": [[0.1]]}, "`config` in .*Expected `label_smoothing`"),
        ({"widths": "wide"}, "config.widths"),
        ({"widths": [[4]]}, "`config` in .*Expected `widths`"),
        ({"widths": [10**9]}, "`config` in .*Expected `widths` to be an integer from 1 to 100,000"),
        ({"num_bins": True}, "config.num_bins"),
        ({"num_bins": 10**9}, "`config` in .*Expected `num_bins` to be an integer from 1 to 1,000"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(results, change, message):
    config = {key: value for key, value in (CONFIG | change).items() if value is not ...}
    dataclasses.replace(RESULT, config=config).save(results / "calibration.json")
    with pytest.raises(ValueError, match=message) as error:
        kls.studies.export_models(results, results.parent / "to")
    assert str(results / "calibration.json") in str(error.value)
    assert sorted(path.name for path in results.parent.rglob("*")) == ["calibration.json", "results"]


@pytest.mark.parametrize("scores", [None, {}, [], {"ece": []}, {"ece": None}, {"ece": ["x"]}, {"ece": [[0.1]]}])
def test_scores_that_are_none_are_named_with_their_file(results, scores):
    values = {"digits": SCORES | {"smoothed + temperature": scores}} if scores != {} else {"digits": []}
    dataclasses.replace(RESULT, values=values).save(results / "calibration.json")
    with pytest.raises(ValueError, match=r"Expected `values\.digits\..* in .*calibration\.json to be scores"):
        kls.studies.export_models(results, results.parent / "to")


def test_read_only_results_are_exported(results, tmp_path, monkeypatch):
    study = kls.studies.CalibrationStudy(**{k: tuple(v) if isinstance(v, list) else v for k, v in CONFIG.items()})
    store = kls.studies.Store(results)
    for training in study.trainings():
        store.predictions(training)
    RESULT.save(results / "calibration.json")
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    check = model_export.check_writable

    def read_only(directory, files=()):
        if pathlib.Path(directory).is_relative_to(results):
            raise OSError("read-only")
        check(directory, files)

    monkeypatch.setattr(model_export, "check_writable", read_only)  # root writes where it likes
    (tmp_path / "to").mkdir()
    monkeypatch.setattr(model_export, "export_saved_model", lambda model, path, calibrator: path)
    monkeypatch.setattr(kls.studies.Training, "run", lambda *_: pytest.fail("trained again"))
    paths = kls.studies.export_models(results, tmp_path / "to")
    assert [path.name for path in paths] == ["digits-hard", "digits-smoothed"]
    assert json.loads((tmp_path / "to/digits-hard.json").read_text())["test"] == {"ece": 0.25}
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before
