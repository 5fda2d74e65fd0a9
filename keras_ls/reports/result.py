"""What a study found: numbers, tables, figures as data, and where they come from. One JSON file."""

import dataclasses
import json
import platform
import sys
import warnings

from keras_ls.files import local_path, printable, write_beside
from keras_ls.ops._checks import checked_choice
from keras_ls.ops._types import PathLike
from keras_ls.reports.result_file import check_facts, checksum, parse

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        title: a sentence.
        columns: headings.
        rows: one text a column.
        note: what a reader must know of the numbers.
    """

    title: str
    columns: tuple
    rows: tuple
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """Displays in a grid.

    Attributes:
        name: file name without suffix.
        kind: class name in `keras_ls.plots`.
        panels: rows of `to_dict()` of that class, of equal length; None leaves a place empty.
        reading: how to read it, a sentence or two.
    """

    name: str
    kind: str
    panels: tuple
    reading: str


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """The result of one study.

    Attributes:
        study: its name.
        config: its settings.
        tables: `Table`s.
        directions: what the paper claims and whether it shows, as `intervals.direction` returns it.
        figures: `Figure`s.
        values: every number, by method and metric, one a seed.
        provenance: command, versions, seeds, data fingerprint.
        title: of a report of its own; None for a section of the studies' report.
        about: a paragraph under that title.
        warning: what a reader must know of the file: that it is not as the study wrote it. None for nothing.
    """

    study: str
    config: dict
    tables: tuple
    directions: tuple
    figures: tuple
    values: dict
    provenance: dict
    title: str | None = None
    about: str | None = None
    warning: str | None = None

    def save(self, path: PathLike) -> None:
        """Writes JSON, with a checksum of its content, beside and renames it."""
        path = local_path("path", path)
        facts = {"format": FORMAT, **dataclasses.asdict(self)}
        facts = json.loads(json.dumps(facts, allow_nan=False, default=_plain))
        text = json.dumps(facts | {"checksum": checksum(facts)}, indent=1, allow_nan=False)
        write_beside(path, lambda p: p.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path: PathLike) -> "StudyResult":
        """Reads what `save` wrote; warns where the content is not what it was then.

        A file whose checksum differs is told by a warning and by `warning`, which is printed, goes into reports, and
        stays when the result is saved again. A file without a checksum, of an earlier version, is read as it is.

        Raises:
            ValueError: for a file that is not such a result; the error names the file and the field.
        """
        path = local_path("path", path)
        try:
            facts, intact = parse(path.read_text(encoding="utf-8"))
            checked_choice("format", facts.pop("format", None), [FORMAT])
            check_facts(facts)
        except (OSError, RecursionError, ValueError) as error:
            said = "nested too deeply" if isinstance(error, RecursionError) else error
            raise ValueError(
                f"Expected the result of a study, written by `keras-ls run`. Received: {printable(path)} ({said}) "
                "Run the study again."
            ) from error
        if intact is False:
            facts["warning"] = (
                f"{path.name} is not as the study wrote it: its checksum differs, as it was edited by hand or damaged. "
                "Its numbers may not be those of the study; run it again."
            )
        if facts.get("warning"):
            warnings.warn(facts["warning"], UserWarning, stacklevel=2)
        facts["tables"] = tuple(Table(**table) for table in facts["tables"])
        facts["figures"] = tuple(Figure(**figure) for figure in facts["figures"])
        return cls(**facts)


def provenance(fingerprints, seeds, command=None):
    """Where a result comes from.

    Args:
        fingerprints: dataset name → fingerprint.
        seeds: the seeds.
        command: the command line; None for this process's.

    Returns:
        A dict of text and numbers.
    """
    import importlib.metadata

    names = ["keras_ls", "keras", "tensorflow", "numpy", "scikit-learn"]
    return {
        "command": printable(command or " ".join(["keras-ls", *sys.argv[1:]])),
        "versions": {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names},
        "seeds": list(seeds),
        "data": dict(fingerprints),
    }


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else str(value)
