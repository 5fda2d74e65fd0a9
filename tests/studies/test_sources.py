"""Which sources decide what a stored network is worth."""

import pytest

from keras_ls.studies.engine import sources
from keras_ls.studies.engine.sources import PACKAGE, TEACHING, TRAINING, sources_hash


@pytest.fixture
def package(tmp_path):
    for name in (
        "ops/a.py",
        "losses/b.py",
        "models/c.py",
        "data/d.py",
        "studies/engine/training.py",
        "distillation/e.py",
        "cli.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\ny = 2\n")
    return tmp_path


def hashed(package, taught=False):
    sources_hash.cache_clear()
    return sources_hash(taught, package)


def test_a_mended_loss_is_another_hash(package):
    before = hashed(package)
    (package / "losses" / "b.py").write_text("x = 1\ny = 3\n")
    assert hashed(package) != before


def test_what_trains_nothing_does_not_count(package):
    before, taught = hashed(package), hashed(package, taught=True)
    (package / "cli.py").write_text("")
    assert hashed(package) == before
    (package / "distillation" / "e.py").write_text("")
    assert hashed(package) == before and hashed(package, taught=True) != taught


def test_line_endings_do_not_count(package):
    before = hashed(package)
    (package / "ops" / "a.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    assert hashed(package) == before


def test_a_line_that_moves_to_another_file_counts(package):
    before = hashed(package)
    (package / "losses" / "b.py").rename(package / "losses" / "c.py")
    assert hashed(package) != before


def test_without_sources_the_version_counts(tmp_path, monkeypatch):
    before = hashed(tmp_path)
    monkeypatch.setattr(sources, "_version", lambda: "99.0")
    assert hashed(tmp_path) != before


def test_all_places_are_there():
    assert all((PACKAGE / place).exists() for place in TRAINING + TEACHING)
