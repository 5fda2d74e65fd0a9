"""The README's Python runs as written, and its commands exist."""

import pathlib
import re

import keras
import pytest
import tensorflow as tf
from typer.testing import CliRunner

import keras_ls as kls
from keras_ls.cli import app

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    digits = kls.data.load("digits-noise")
    names = {
        "model": kls.models.mlp((64,), 10),
        "teacher": kls.models.mlp((64,), 10),
        "student": kls.models.mlp((64,), 10, widths=(16,)),
        "train": tf.data.Dataset.from_tensor_slices(digits.train).batch(100),
        "val": tf.data.Dataset.from_tensor_slices(digits.calibration).batch(100),
    }
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    served = tf.saved_model.load(tmp_path / "saved_models/mine").signatures["serving_default"]
    x = tf.constant(digits.test[0][:5])
    outputs = served(**{next(iter(served.structured_input_signature[1])): x})
    T = names["temperature"].temperature
    tf.debugging.assert_near(outputs["logits"], names["model"](x) / T, atol=1e-5)
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("command", ["list", "run", "report", "export"])
def test_commands_that_the_readme_names_exist(command):
    assert f"keras-ls {command}" in README
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_links_to_files_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target
