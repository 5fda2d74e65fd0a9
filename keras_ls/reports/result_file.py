"""The JSON of a result, checked whole when it is read: errors name the field."""

import hashlib
import json
import unicodedata

from keras_ls import plots
from keras_ls.files import checked_file_name
from keras_ls.ops._checks import checked_choice

KINDS = (
    "ClasswiseReliabilityDisplay",
    "ComparisonDisplay",
    "ProjectionDisplay",
    "ReliabilityComparisonDisplay",
    "ReliabilityDisplay",
    "SmoothingSweepDisplay",
)
FIELDS = {
    "study": str,
    "config": dict,
    "tables": list,
    "directions": list,
    "figures": list,
    "values": dict,
    "provenance": dict,
}
OPTIONAL = ("title", "about", "warning")
MOST_ROWS, MOST_PANELS = 120, 30  # of a figure: what fits in a picture
LARGEST = 1e300  # a number beyond which sums overflow
SHOWN = 80  # characters of what was received


def parse(text):
    """The facts in the text of a file, and whether its checksum fits: True, False, or None where it has none."""
    facts = json.loads(text, parse_constant=_no_constant)
    _expect("the file", facts, dict)
    _check_plain("the file", facts)
    found = facts.pop("checksum", None)
    return facts, None if found is None else found == checksum(facts)


def checksum(facts):
    """SHA-256 of the content, whatever its order and layout."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def check_facts(facts):
    """Raises `ValueError` that names the field for all that `StudyResult.save` does not write."""
    _check_keys("the file", facts, FIELDS, OPTIONAL)
    for name, kind in FIELDS.items():
        _expect(name, facts[name], kind)
    for name in OPTIONAL:
        if facts.get(name) is not None:
            _expect(name, facts[name], str)
    checked_file_name("study", facts["study"])
    for i, table in enumerate(facts["tables"]):
        _check_table(f"tables[{i}]", table)
    for i, direction in enumerate(facts["directions"]):
        _check_keys(f"directions[{i}]", direction, ("claim", "paper", "difference", "verdict"))
        for key, value in direction.items():
            _expect(f"directions[{i}].{key}", value, str)
    for i, figure in enumerate(facts["figures"]):
        _check_figure(f"figures[{i}]", figure)
    names = [figure["name"].lower() for figure in facts["figures"]]
    if len(set(names)) < len(names):
        raise ValueError(f"Expected `figures` with names of their own. Received: {', '.join(names)}.")
    _check_provenance(facts["provenance"])


def _check_table(field, table):
    _check_keys(field, table, ("title", "columns", "rows"), ("note",))
    for key in ("title", "note"):
        _expect(f"{field}.{key}", table.get(key, ""), str)
    _check_texts(f"{field}.columns", table["columns"])
    _expect(f"{field}.rows", table["rows"], list)
    for i, row in enumerate(table["rows"]):
        _check_texts(f"{field}.rows[{i}]", row)
        if len(row) != len(table["columns"]):
            raise ValueError(
                f"Expected `{field}.rows[{i}]` to have {len(table['columns'])} cells, one a column. "
                f"Received: {len(row)}."
            )


def _check_figure(field, figure):
    _check_keys(field, figure, ("name", "kind", "panels", "reading"))
    checked_file_name(f"{field}.name", figure["name"])
    checked_choice(f"{field}.kind", figure["kind"], KINDS)
    _expect(f"{field}.reading", figure["reading"], str)
    rows = figure["panels"]
    _expect(f"{field}.panels", rows, list)
    sizes = {len(row) if isinstance(row, list) else None for row in rows}
    fits = len(sizes) == 1 and None not in sizes and len(rows) <= MOST_ROWS and 1 <= max(sizes) <= MOST_PANELS
    if not fits or all(panel is None for row in rows for panel in row):
        raise ValueError(
            f"Expected `{field}.panels` to be 1 to {MOST_ROWS} rows of equal length, of 1 to {MOST_PANELS} displays. "
            f"Received: {_shown(rows)}."
        )
    kind = getattr(plots, figure["kind"])
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            if panel is None:
                continue
            try:
                kind.from_dict(panel)
            except Exception as error:  # of NumPy and others, whatever a foreign file holds
                raise ValueError(
                    f"Expected `{field}.panels[{i}][{j}]` to be the data of a {figure['kind']}. Received: "
                    f"{_shown(panel)} ({error})."
                ) from error


def _check_provenance(facts):
    for key, kind in {"command": str, "versions": dict, "seeds": list, "data": dict}.items():
        if key not in facts:
            raise ValueError(f"Expected `provenance.{key}`. Received: none.")
        _expect(f"provenance.{key}", facts[key], kind)
    for key in ("versions", "data"):
        for name, value in facts[key].items():
            _expect(f"provenance.{key}[{name!r}]", value, str)
    for i, seed in enumerate(facts["seeds"]):
        _expect(f"provenance.seeds[{i}]", seed, int)


def _check_texts(field, values):
    _expect(field, values, list)
    for i, value in enumerate(values):
        _expect(f"{field}[{i}]", value, str)


def _check_keys(field, value, required, optional=()):
    _expect(field, value, dict)
    missing = [key for key in required if key not in value]
    unknown = [key for key in value if key not in (*required, *optional)]
    if missing or unknown:
        said = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"Expected `{field}` to have {', '.join(required)}. Received: {_shown(' and '.join(said))}.")


WORDS = {str: "text", dict: "an object", list: "a list", int: "an integer"}


def _expect(field, value, kind):
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"Expected `{field}` to be {WORDS[kind]}. Received: {_shown(value)}.")


def _check_plain(field, value):
    """Raises for numbers that are not finite or too large, and for text with control characters, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_plain(field, key)
            _check_plain(key if field == "the file" else f"{field}.{key}", inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_plain(f"{field}[{i}]", inner)
    elif isinstance(value, str):
        if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in value):
            raise ValueError(f"Expected `{field}` without control characters. Received: {_shown(value)}.")
    elif isinstance(value, (int, float)) and not abs(value) < LARGEST:
        raise ValueError(f"Expected `{field}` to be a finite number below {LARGEST:g}. Received: {_shown(value)}.")


def _no_constant(name):
    raise ValueError(f"Expected numbers. Received: {name}.")


def _shown(value):
    text = ascii(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
