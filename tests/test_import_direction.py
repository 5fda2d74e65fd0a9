"""Data flows one way through the rooms: a room imports itself and the rooms above it."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = [
    *(
        "files",
        "ops",
        "batches",
        "losses",
        "metrics",
        "evaluation",
        "calibrators",
        "distillation",
        "translation",
        "plots",
        "callbacks",
    ),
    *("data", "models", "distribute", "export_inputs", "export", "reports", "studies", "terminal", "cli"),
]
# run on any Keras backend: TensorFlow only inside the functions that need it
ANY_BACKEND = {"ops", "batches", "losses", "metrics", "evaluation", "calibrators", "distillation", "callbacks"}


def imports(source, path):
    """(line, dotted name, whether at module level) of everything imported; relative names are resolved."""
    package = path.removesuffix(".py").split("/")[:-1]
    found = []

    def visit(node, top):
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # "from keras_ls import ops" imports the room ops
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "keras_ls" else [module]
            found.extend((node.lineno, name, top) for name in names)
        top = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, top)

    visit(ast.parse(source), True)
    return found


def violations(source, path):
    """What a file imports that it should not; `path` is that of the file from the project's root, with slashes."""
    room = path.split("/")[1].removesuffix(".py")
    wrong = []
    for line, name, top in imports(source, path):
        where = f"{path}:{line} imports {name}"
        first, second = [*name.split("."), ""][:2]
        if first == "keras_ls" and room != "__init__":
            if room not in ROOMS:
                wrong.append(f"{where}, but {room} is not in the list of rooms")
            elif not second:
                if room != ROOMS[-1]:
                    wrong.append(f"{where}: all rooms at once, which only {ROOMS[-1]} may; import the room")
            elif second in ROOMS and ROOMS.index(second) > ROOMS.index(room):
                wrong.append(f"{where}: {room} comes before {second}")
            elif second not in ROOMS:
                wrong.append(f"{where}, which is not a room")
        if first == "tensorflow" and room == "plots":
            wrong.append(f"{where}: plots never import TensorFlow")
        if first == "tensorflow" and room in ANY_BACKEND and top:
            wrong.append(f"{where} at module level: {room} runs on any Keras backend; import it in the function")
        if first in ("typer", "rich") and room not in ("terminal", "cli"):
            wrong.append(f"{where}: only terminal and cli do")
    return wrong


FILES = sorted((ROOT / "keras_ls").rglob("*.py"))


def test_rooms_are_those_of_the_package():
    on_disk = {path.relative_to(ROOT / "keras_ls").parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert on_disk <= set(ROOMS), f"not in the list of rooms: {sorted(on_disk - set(ROOMS))}"
    assert {"ops", "losses", "metrics"} <= on_disk


def test_every_file():
    wrong = [
        line
        for path in FILES
        for line in violations(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "path, source, expected",
    [
        (
            "keras_ls/ops/a.py",
            "from keras_ls.losses import b",
            "keras_ls/ops/a.py:1 imports keras_ls.losses: ops comes",
        ),
        ("keras_ls/ops/a.py", "from keras_ls import metrics", "imports keras_ls.metrics: ops comes before metrics"),
        ("keras_ls/ops/a.py", "from ..plots import b", "imports keras_ls.plots: ops comes before plots"),
        (
            "keras_ls/data/a.py",
            "def f():\n    import keras_ls.studies.b",
            "data/a.py:2 imports keras_ls.studies.b: data",
        ),
        ("keras_ls/data/a.py", "import keras_ls as kls", "imports keras_ls: all rooms at once"),
        ("keras_ls/distribute.py", "from keras_ls.cli import app", "distribute comes before cli"),
        ("keras_ls/plots/a.py", "def f():\n    import tensorflow as tf", "plots never import TensorFlow"),
        ("keras_ls/metrics/a.py", "try:\n    import tensorflow.math\nexcept ImportError:\n    pass", "at module level"),
        ("keras_ls/studies/a.py", "from rich.table import Table", "imports rich.table: only terminal and cli do"),
        ("keras_ls/cellar/a.py", "from keras_ls import ops", "cellar is not in the list of rooms"),
        ("keras_ls/data/a.py", "from keras_ls.utils import b", "imports keras_ls.utils, which is not a room"),
    ],
)
def test_a_wrong_import_is_named(path, source, expected):
    (message,) = violations(source, path)
    assert expected in message


@pytest.mark.parametrize(
    "path, source",
    [
        (
            "keras_ls/losses/a.py",
            "from keras_ls import ops\nfrom . import b\nfrom .b import c\nimport keras_ls.losses.b",
        ),
        ("keras_ls/metrics/a.py", "def f():\n    import tensorflow as tf"),
        ("keras_ls/studies/a.py", "import tensorflow as tf\nfrom ..plots import canvas"),
        ("keras_ls/cli.py", "import typer\nimport keras_ls as kls"),
        ("keras_ls/__init__.py", "from keras_ls import ops"),
    ],
)
def test_a_right_import_passes(path, source):
    assert violations(source, path) == []
