"""Files that are whole or not there, and directories with one writer."""

import os

import pytest

from keras_ls.files import one_writer, remove_unfinished, write_beside


def test_write_beside_leaves_the_old_file_when_the_new_one_fails(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_beside(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in (".123-result.json", "result.json", ".hidden", ".lock"):
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", ".hidden", ".lock"}


def test_one_writer_at_a_time(tmp_path):
    with one_writer(tmp_path / "new"):
        with pytest.raises(BlockingIOError, match="Expected one writer at a time"), one_writer(tmp_path / "new"):
            pass
        with one_writer(tmp_path / "other"):
            pass
    with one_writer(tmp_path / "new"):  # the first has let go
        pass


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Expected a directory that can be written"), one_writer(tmp_path / "file"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes where it likes")
def test_a_directory_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Expected a directory that can be written"), one_writer(tmp_path):
        pass
