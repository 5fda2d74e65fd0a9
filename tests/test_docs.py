"""The Python of the guides and the examples runs."""

import importlib.util
import pathlib
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize("guide", sorted((ROOT / "docs" / "guides").glob("*.md")), ids=lambda path: path.stem)
def test_guide(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(guide), "exec"), names)
    plt.close("all")


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_first_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, temperature, _ = example("first_steps").main(epochs=2, path="exported")
    served = tf.saved_model.load("exported").signatures["serving_default"]
    x = np.linspace(0, 1, 64, dtype="float32")[None]
    outputs = served(**{next(iter(served.structured_input_signature[1])): tf.constant(x)})
    np.testing.assert_allclose(outputs["logits"], model(x) / temperature.temperature, atol=1e-5)


def test_reliability_diagram(tmp_path):
    before, after = example("reliability_diagram").main(tmp_path / "reliability.png", epochs=20)
    assert after.calibration_error < 0.5 * before.calibration_error  # about .15 and .05
    assert (tmp_path / "reliability.png").stat().st_size > 10_000
    plt.close("all")


def test_compare_reliability(tmp_path):
    displays = example("compare_reliability").main(tmp_path)
    hard, smoothed, cooled = (display.calibration_error for display in displays["comparison"].displays)
    assert cooled < smoothed < hard / 2  # about .04, .07 and .17
    assert displays["smooth"].calibration_error == hard  # the same predictions in the same bins
    assert all((tmp_path / f"reliability-{name}.png").stat().st_size > 10_000 for name in displays)
    plt.close("all")


def test_soft_labels(tmp_path):
    soft = example("soft_labels").main(tmp_path / "soft_labels.png", epochs=10)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)  # means of predictions, each rightly of its class
    np.testing.assert_array_equal(soft.argmax(axis=1), range(10))
    assert (tmp_path / "soft_labels.png").stat().st_size > 10_000
    plt.close("all")


def test_calibrators_compared(capsys):
    table = example("calibrators_compared").main(seeds=(0, 1), epochs=20)
    names = {name.split(",")[0] for name in table} - {"as trained"}
    assert names == {name for name in kls.calibrators.__all__ if name[0].isupper() and name != "CrossFit"}
    nll = {name: np.mean([row[0] for row in rows]) for name, rows in table.items()}
    assert nll["TemperatureScaling"] < nll["as trained"] - 0.1  # about .75 and .95
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(table)


def test_distil_from_cache(tmp_path):
    program = example("distil_from_cache")
    network = program.network
    program.network = lambda seed, *widths: network(seed, *(width // 10 for width in widths))
    students = program.main(epochs=2, directory=tmp_path)
    taught, cached = (students[name].get_weights() for name in ("from the teacher", "from the cache"))
    for a, b in zip(taught, cached):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_diagnose_teachers(tmp_path):
    verdicts = example("diagnose_teachers").main(tmp_path / "teachers.png", (0.0, 0.2), ((64,),), (40,), seeds=1)
    hard, smoothed = (verdicts[40, (64,), alpha][0] for alpha in (0.0, 0.2))
    assert (hard.smoothed, smoothed.smoothed) == ("no", "yes") and abs(smoothed.alpha - 0.2) < 0.02
    assert (tmp_path / "teachers.png").stat().st_size > 10_000
    plt.close("all")


def test_every_example_says_how_to_run_it():
    for path in (ROOT / "examples").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert f"Run: python examples/{path.name}" in source and len(source.splitlines()) < 80, path
