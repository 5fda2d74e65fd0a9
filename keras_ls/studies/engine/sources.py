"""What the weights of a training depend on besides its settings: the sources that made them."""

import functools
import hashlib
import importlib.metadata
import pathlib

PACKAGE = pathlib.Path(__file__).parents[2]
ENGINE = tuple(f"studies/engine/{name}.py" for name in ("training", "pipeline", "trainer", "compared_losses"))
TRAINING = ("ops", "losses", "models", "data", *ENGINE)
TEACHING = ("distillation",)


@functools.cache
def sources_hash(has_teacher, package=PACKAGE):
    """SHA-256 of the sources that a training runs, so that a mended loss never passes old networks for its own.

    Line endings do not count. Where there are no sources, as in a frozen application, it is that of the version.

    Args:
        has_teacher: whether the network has a teacher.
        package: the directory of the package.
    """
    files = {}
    for place in TRAINING + (TEACHING if has_teacher else ()):
        path = package / place
        for file in path.rglob("*.py") if path.is_dir() else [path] * path.exists():
            files[file.relative_to(package).as_posix()] = file.read_bytes().replace(b"\r\n", b"\n")
    if not files:
        files["version"] = _version().encode()
    found = hashlib.sha256()
    for name, content in sorted(files.items()):
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def _version():
    return importlib.metadata.version("keras_ls")
