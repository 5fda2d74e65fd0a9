"""`import keras_ls` costs no more than importing Keras."""

import subprocess
import sys

HEAVY = {"umap", "matplotlib", "tensorflow_probability", "tensorflow_datasets", "sklearn", "scipy", "typer", "rich"}
# Keras itself imports some of them where they are installed: what counts is what keras_ls adds
PROGRAM = f"""
import sys, keras
before = set(sys.modules)
import keras_ls
added = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(added & {HEAVY!r}), sep=",")
print(*sorted(name for name in sys.modules if name.startswith("keras_ls.")), sep=",")
"""


def test_import_adds_no_heavy_package():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    heavy, rooms = run.stdout.split("\n")[:2]
    assert heavy == "", f"`import keras_ls` imports {heavy}: import it where it is used"
    loaded = {name.split(".")[1] for name in rooms.split(",")}
    assert {"ops", "losses", "metrics"} <= loaded
    lazy = {"data", "distribute", "export", "models", "plots", "studies", "cli"} & loaded
    assert not lazy, f"`import keras_ls` imports {sorted(lazy)}: they are for first use"
