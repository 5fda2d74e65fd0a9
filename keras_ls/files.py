"""Files that are whole or not there, and directories with one writer."""

import contextlib
import os
import pathlib


def write_beside(path, write):
    """Calls `write(temporary path)` and renames the result to `path`: a kill leaves the old file or the new one.

    The content is on the disk before the name is, so that this also holds when the power goes.

    Args:
        path: where to.
        write: a function of a path that has the same suffix.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(directory):
    """Removes what killed calls of `write_beside` have left in a directory that nobody writes to."""
    for path in pathlib.Path(directory).glob(".[0-9]*-*"):
        path.unlink()


@contextlib.contextmanager
def one_writer(directory):
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
