"""The manifest of a teacher cache: what it holds, of which teacher, and a checksum of every file."""

import hashlib
import importlib.metadata
import io
import json

import numpy as np

from keras_ls.distillation.teacher_cache.rows import row_type
from keras_ls.files import write_beside

FORMAT = 1
NAME = "manifest.json"


class CacheManifest:
    """`manifest.json` of a cache, and the shards that it lists.

    Args:
        directory: a `pathlib.Path`.
        facts: what the file holds.

    Attributes:
        facts: a dict of text, numbers and lists: `teacher`, `settings`, `shape`, `passes` (one an augmentation seed,
            with its `shards`), `versions`.
    """

    def __init__(self, directory, facts):
        self.directory = directory
        self.facts = facts

    @classmethod
    def start(cls, directory, teacher, settings, shape):
        """Of a cache without a pass."""
        versions = {name: importlib.metadata.version(name) for name in ("keras_ls", "keras", "numpy")}
        facts = {"format": FORMAT, "teacher": teacher, "settings": settings, "shape": list(shape)}
        return cls(directory, facts | {"versions": versions, "passes": []})

    @classmethod
    def read(cls, directory):
        """Of a directory, or None where there is none; `ValueError` for a damaged one and for another format."""
        path = directory / NAME
        if not path.exists():
            return None
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            found, checksum = facts["format"], facts.pop("checksum")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"Expected the manifest of a TeacherCache. Received: {path}, which is corrupted. Write the cache again "
                "elsewhere."
            ) from error
        if found != FORMAT:
            raise ValueError(
                f"Expected a cache of format {FORMAT}. Received: format {found!r} in {path}, by keras_ls "
                f"{facts.get('versions', {}).get('keras_ls')}. Use that version, or write the cache again elsewhere."
            )
        if checksum != _checksum(facts):
            raise ValueError(
                f"Expected the manifest as it was written. Received: {path}, which is corrupted (its checksum "
                "differs). Write the cache again elsewhere."
            )
        return cls(directory, facts)

    def save(self):
        """Replaces the file at once."""
        text = json.dumps({**self.facts, "checksum": _checksum(self.facts)}, indent=1) + "\n"
        write_beside(self.directory / NAME, lambda path: path.write_text(text, encoding="utf-8"))

    @property
    def row_type(self):
        """The type of the shards' rows."""
        settings = self.facts["settings"]
        return row_type(self.facts["shape"], settings["dtype"], settings["top_k"])

    def seeds(self):
        """Augmentation seeds of the passes that are complete."""
        return [one["augmentation_seed"] for one in self.facts["passes"] if one["complete"]]

    def one_pass(self, seed):
        """The pass of this seed, or None."""
        return next((one for one in self.facts["passes"] if one["augmentation_seed"] == seed), None)

    def size(self, seeds):
        """Bytes of the passes of these seeds, each as often as it is asked for."""
        passes = [one for one in map(self.one_pass, seeds) if one]
        return sum(shard["bytes"] for one in passes for shard in one["shards"])

    def write_shard(self, one, rows, kl_error):
        """Adds rows to a pass: first the file, then the manifest, so that what is listed is there."""
        number = self.facts["passes"].index(one)
        file = f"pass-{number:04d}-shard-{len(one['shards']):05d}.npy"
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        data = buffer.getvalue()
        write_beside(self.directory / file, lambda path: path.write_bytes(data))
        facts = {"rows": len(rows), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        one["shards"].append({"file": file, **facts, "kl_error": kl_error})
        self.save()

    def read_shard(self, shard, in_memory=True, compare=True):
        """The rows of a shard, memory-mapped or in memory; `ValueError` says which file is not as it was written."""
        path = self.directory / shard["file"]
        advice = "Delete the cache's directory and write it again."
        if not path.exists():
            raise ValueError(f"Expected the shard {path}. Received: no such file. {advice}")
        size = path.stat().st_size
        if size != shard["bytes"]:
            state = "truncated" if size < shard["bytes"] else "longer than it was written"
            raise ValueError(
                f"Expected {shard['bytes']} bytes in {path}. Received: {size}; the shard is {state}. {advice}"
            )
        if compare:
            with open(path, "rb") as file:
                found = _sha256(file)
            if found != shard["sha256"]:
                raise ValueError(
                    f"Expected SHA-256 {shard['sha256'][:12]}… of {path}. Received: {found[:12]}…; the shard is "
                    f"corrupted. {advice}"
                )
        rows = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
        if rows.dtype != self.row_type or len(rows) != shard["rows"]:
            raise ValueError(
                f"Expected {shard['rows']} rows of {self.row_type} in {path}. Received: {len(rows)} of {rows.dtype}; "
                f"its classes, dtype or top-k are not the manifest's. {advice}"
            )
        return rows

    def kl_error(self):
        """Temperature → mean and largest divergence over the examples of all passes."""
        shards = [shard for one in self.facts["passes"] for shard in one["shards"]]
        count = sum(shard["rows"] for shard in shards)
        return {
            float(temperature): {
                "mean": sum(shard["kl_error"][temperature]["mean"] * shard["rows"] for shard in shards) / count,
                "max": max(shard["kl_error"][temperature]["max"] for shard in shards),
            }
            for temperature in (shards[0]["kl_error"] if shards else ())
        }


def _checksum(facts):
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sha256(file, block=1 << 20):
    digest = hashlib.sha256()
    while data := file.read(block):
        digest.update(data)
    return digest.hexdigest()
