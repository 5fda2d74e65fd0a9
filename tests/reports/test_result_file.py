"""The JSON of results: what is damaged, foreign or edited is told, and never a traceback or a file elsewhere."""

import copy
import dataclasses
import json

import pytest

import keras_ls as kls
from keras_ls.reports.html_report import read_results, write_report
from keras_ls.reports.result import Figure, StudyResult, Table

LOOKS = kls.plots.ComparisonDisplay(
    ["hard", "smoothed"], [{"label": "as trained", "mean": [0.1, 0.2], "interval": [0.05, 0.1]}], "ECE"
).to_dict()
RESULT = StudyResult(
    study="calibration",
    config={"dataset": "digits", "seeds": [0, 1], "widths": [16]},
    tables=(Table("Errors", ("network", "ECE"), (("hard", "0.1"), ("smoothed", "0.2")), "Two seeds."),),
    directions=({"claim": "lower", "paper": "yes", "difference": "-0.1", "verdict": "shown"},),
    figures=(Figure("calibration", "ComparisonDisplay", ((LOOKS,),), "Left is better."),),
    values={"digits": {"hard": {"ece": [0.125, 0.25]}}},
    provenance={"command": "keras-ls run", "versions": {"keras": "3"}, "seeds": [0, 1], "data": {"digits": "ab"}},
)
DELETED = object()
OTHERS = [
    *(DELETED, None, True, 0, -1, 1.5, 10**400, 1e308, float("nan"), float("inf")),
    *("", "[/bold]", "<script>alert(1)</script>", "../../x", "/x", "a\\b", "nul\0", "\x1b[31m", "\ud800"),
    *([], {}, [[]], [None], {"a": {}}, [{"x": [1]}]),
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results" / "calibration.json"
    path.parent.mkdir()
    RESULT.save(path)
    return path


def places(value, at=()):
    """Every place in the JSON, from the outside in."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, deeper in inner:
        yield from places(deeper, (*at, key))


def changed(facts, at, to):
    facts = copy.deepcopy(facts)
    within = facts
    for key in at[:-1]:
        within = within[key]
    if to is DELETED:
        del within[at[-1]]
    else:
        within[at[-1]] = to
    return facts


def test_what_was_saved_is_read_without_a_warning(path, recwarn):
    found = StudyResult.load(path)
    assert (found.values, found.config, found.warning) == (RESULT.values, RESULT.config, None)
    assert found.tables[0].rows == [["hard", "0.1"], ["smoothed", "0.2"]]
    assert not recwarn.list


@pytest.mark.filterwarnings("ignore:calibration.json is not as the study wrote it")
def test_any_change_is_read_or_refused_by_name(path):
    facts = json.loads(path.read_text())
    read = refused = 0
    for i, at in enumerate(places(facts)):
        for to in OTHERS[i % 2 :: 2]:
            path.write_text(json.dumps(changed(facts, at, to)))
            try:
                found = StudyResult.load(path)
            except ValueError as error:
                assert "Received: " in str(error) and str(path) in str(error), (at, to)
                refused += 1
            else:
                assert all(isinstance(cell, str) for table in found.tables for row in table.rows for cell in row)
                read += 1
    # free text, config and values take most, the rest nearly nothing
    assert read > 50 and refused > 250


@pytest.mark.filterwarnings("ignore:calibration.json is not as the study wrote it")
@pytest.mark.parametrize("name", ["../../x", "..", "/tmp/x", "a/b", "a\\b", "C:x", "", ".hidden", "x" * 300, "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_written(path, tmp_path, name):
    facts = json.loads(path.read_text())
    before = set(tmp_path.rglob("*"))
    for at in (("figures", 0, "name"), ("study",)):
        path.write_text(json.dumps(changed(facts, at, name)))
        with pytest.raises(ValueError, match="to be a plain file name, without a directory"):
            read_results(path.parent)
    elsewhere = dataclasses.replace(RESULT.figures[0], name=name)
    with pytest.raises(ValueError, match="to be a plain file name, without a directory"):
        kls.studies.save_figures(dataclasses.replace(RESULT, figures=(elsewhere,)), path.parent)
    assert set(tmp_path.rglob("*")) == before


def test_a_changed_digit_is_told_and_stays_told(path):
    path.write_text(path.read_text().replace("0.125", "0.126"))
    with pytest.warns(UserWarning, match=r"calibration\.json is not as the study wrote it: its checksum differs"):
        found = StudyResult.load(path)
    assert found.values["digits"]["hard"]["ece"] == [0.126, 0.25]
    found.save(path)  # with a checksum that fits
    with pytest.warns(UserWarning, match="its checksum differs"):
        StudyResult.load(path)
    assert "its checksum differs" in write_report({"calibration": found}, path.parent).read_text()


def test_layout_and_order_are_no_change(path, recwarn):
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(facts.items()))))
    assert StudyResult.load(path).warning is None
    del facts["checksum"]  # of an earlier version
    path.write_text(json.dumps(facts))
    assert StudyResult.load(path).warning is None and not recwarn.list


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}', b'{"format": [1]}']
)
def test_what_is_no_result_is_refused_by_name(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"Expected the result of a study.*calibration\.json"):
        read_results(path.parent)


def test_markup_is_text_in_the_report(path):
    junk = '<b>[/bold] :smile: & "quoted"'
    table = Table(junk, (junk,), ((junk,),), junk)
    found = dict.fromkeys(("claim", "paper", "difference", "verdict"), junk)
    figure = dataclasses.replace(RESULT.figures[0], reading=junk)
    facts = RESULT.provenance | {"command": junk, "versions": {junk: junk}, "data": {junk: junk}}
    result = dataclasses.replace(
        RESULT, tables=(table,), directions=(found,), figures=(figure,), provenance=facts, title=junk, about=junk
    )
    result.save(path)
    page = write_report(read_results(path.parent), path.parent).read_text()
    assert "<b>[" not in page and "&lt;b&gt;[/bold] :smile: &amp; &quot;quoted&quot;" in page
