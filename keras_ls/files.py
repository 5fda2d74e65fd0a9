"""Files that are whole or not there, and directories with one writer."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

LONGEST_NAME = 200  # characters; file systems take 255 bytes, and writers add to a name


def local_path(name: str, path: str | os.PathLike) -> pathlib.Path:
    """`path` as a `pathlib.Path` with `~` expanded; every public function that takes a path begins with it.

    Args:
        name: of the argument, for the error.
        path: a string or `os.PathLike`.

    Raises:
        ValueError: for what is no path.

    Examples:
        >>> from keras_ls.files import local_path
        >>> local_path("path", "runs/tiny").name
        'tiny'
        >>> local_path("path", "~/runs") == pathlib.Path.home() / "runs"
        True
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes) or not os.fspath(path):
        raise ValueError(f"Expected `{name}` to be a path, a string or pathlib.Path. Received: {path!r}.")
    return pathlib.Path(path).expanduser()


def write_beside(path: str | os.PathLike, write: Callable[[pathlib.Path], Any]) -> None:
    """Calls `write(temporary path)` and renames the result to `path`: a kill leaves the old file or the new one.

    The content is on the disk before the name is, so that this also holds when the power goes. Directories that are
    missing are made.

    Args:
        path: where to.
        write: a function of a path that has the same suffix.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def checked_file_name(field: str, name: str) -> str:
    """Returns `name` when it can be the name of a file in any directory, and of nothing outside it.

    Args:
        field: where the name comes from, for the error.
        name: text.

    Raises:
        ValueError: for a path (with a separator, a drive, or absolute), a hidden or empty name, one of more than 200
            characters, and one with control characters.

    Examples:
        >>> from keras_ls.files import checked_file_name
        >>> checked_file_name("name", "calibration-sweep")
        'calibration-sweep'
    """
    fits = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and not name.startswith(".")
    if not fits or set(name) & set('/\\:*?"<>|') or printable(name) != name or "\n" in name:
        shown = repr(name) if len(repr(name)) <= LONGEST_NAME else repr(name)[:LONGEST_NAME] + "…"
        raise ValueError(
            f"Expected `{field}` to be a plain file name, without a directory. Received: {shown}. Use letters, digits "
            "and dashes."
        )
    return name


def printable(text: Any) -> str:
    """Text that any terminal and UTF-8 file takes: control characters and undecodable bytes are written as escapes."""
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" else c for c in str(text)
    )


def check_writable(directory: str | os.PathLike, files: Iterable[str] = ()) -> None:
    """Raises `OSError` unless `directory` can be made and written; leaves nothing behind.

    Args:
        directory: made for the check if it is not there, and removed again.
        files: names of the files that will be written there, which must not be directories.
    """
    directory, made = pathlib.Path(directory), []
    try:
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OSError(
            f"Expected a directory that can be written. Received: {printable(directory)} ({error.strerror}). "
            "Choose another directory."
        ) from error
    finally:
        for path in reversed(made):
            path.rmdir()
    for name in files:
        if (directory / name).is_dir():
            raise OSError(
                f"Expected a file to write. Received: {printable(directory / name)}, which is a directory. Remove it, "
                "or choose another directory."
            )


def remove(path: pathlib.Path) -> None:
    """Removes a file, or a directory with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(directory: str | os.PathLike) -> None:
    """Removes what killed calls of `write_beside` have left in a directory that nobody writes to."""
    for path in pathlib.Path(directory).glob(".[0-9]*-*"):
        path.unlink()


@contextlib.contextmanager
def one_writer(directory: str | os.PathLike) -> Iterator[None]:
    """Holds a directory, which is made if need be, for one writer; the system lets go of it when the process dies.

    Args:
        directory: the directory.

    Raises:
        OSError: when the directory cannot be written.
        BlockingIOError: when another writer holds it.
    """
    directory = pathlib.Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".lock").touch()
    except OSError as error:
        raise OSError(f"Expected a directory that can be written. Received: {directory} ({error.strerror}).") from error
    with open(directory / ".lock", "r+") as file:
        try:
            _lock(file)
        except OSError as error:
            raise BlockingIOError(
                f"Expected one writer at a time. Received: {directory}, which another one is writing. "
                "Wait until it is done."
            ) from error
        yield


def _lock(file):
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_directory(directory):
    # Windows opens no directories, and needs none of this
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
