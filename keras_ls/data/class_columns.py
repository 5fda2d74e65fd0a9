"""Labels matched to the columns of a table that are classes, by name."""

import dataclasses
import itertools
import re
import warnings
from collections.abc import Callable

import numpy as np

from keras_ls.data.prediction_names import FLAGS, LABELS, PREDICTIONS, WEIGHTS, few

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# where the part of a name ends that others may begin with, too: at p_, p. or p( and between a letter and a number
PART = re.compile(r"[^\w.]|_|(?<!\d)\.|(?<=[^\W\d_])(?=\d)")
# usual names of columns that are no class, without their case and what is neither letter nor digit
NO_CLASS = {re.sub(r"[\W_]", "", name) for name in (*LABELS, *PREDICTIONS, *WEIGHTS, *FLAGS.values())} | {
    *("id", "ids", "index", "idx", "indexlevel0", "unnamed0", "row", "rowid", "rownumber", "example", "exampleid"),
    *("sample", "sampleid", "image", "imageid", "file", "filename", "path", "name", "uid", "uuid", "key", "timestamp"),
    *("fold", "split", "group", "seed", "epoch", "pred", "preds", "prediction", "predicted", "predictedclass"),
    *("predictedlabel", "predclass", "predlabel", "top1", "argmax", "correct", "hit", "confidence", "maxprob"),
    *("score", "prob", "probability", "logit", "entropy", "loss", "nll", "margin", "uncertainty", "truelabel", "truth"),
}
LEEWAY = 1e-2  # of sums of rounded probabilities
NO_CLASS_ADVICE = "Leave out of the file what is no class, or name the class columns: `--predictions NAMES`."


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of a file.

    Attributes:
        labels: N of them, as they are written; None for one that is missing.
        predictions: `[N, K]`.
        sample_weight: `[N]`, or None.
        names: K names of columns; None for a column of lists.
        integers: names of those in which all numbers are written as integers.
        path: the file.
        where: says where in the file a value is.
    """

    labels: list
    predictions: np.ndarray
    sample_weight: np.ndarray | None
    names: list | None
    integers: list
    path: object
    where: Callable


def match(table, from_logits, ignore_class, told):
    """What `PredictionFile` holds, as a dictionary, and the function that says where in the file a value is.

    Args:
        table: a `Table`.
        from_logits: whether the predictions are logits or probabilities.
        ignore_class: label of examples to leave out, or None.
        told: whether the user has named the class columns, so that each is one.
    """
    if not table.labels:
        raise ValueError(f"Expected at least one example. Received: {table.path} without a row.")
    first_rows = {}  # of every label that occurs
    for row, label in enumerate(table.labels):
        first_rows.setdefault(label, row)
    for label, row in first_rows.items():
        if label is None or label != label:
            where = table.where("labels", (row,))
            raise ValueError(f"Expected `labels` without missing values or NaN. Received: a missing value in {where}.")
    keys = {label: _key(label) for label in first_rows}
    ignored = {label for label, key in keys.items() if ignore_class is not None and key == ignore_class}
    if len(ignored) == len(keys):
        raise ValueError(
            f"Expected an example that is not ignored. Received: {table.path}, all of class {ignore_class}."
        )
    wanted = {}
    for label in (label for label in first_rows if label not in ignored):
        wanted.setdefault(keys[label], first_rows[label])
    classes = _classes(table, wanted, from_logits, told)

    index = {label: -1 if label in ignored else classes[key] for label, key in keys.items()}
    y = np.array([index[label] for label in table.labels])
    p, weight, kept = table.predictions, table.sample_weight, np.arange(len(y))
    if ignored:
        kept = np.flatnonzero(y >= 0)
        y, p, weight = y[kept], p[kept], None if weight is None else weight[kept]
    order = _order(table.names, p.shape[1])
    if (order != np.arange(len(order))).any():
        y, p = np.argsort(order)[y], p[:, order]

    def where(what, index):
        return table.where(what, (kept[index[0]], *(order[i] for i in index[1:])))

    if table.names is None:
        return _found(y, p, weight, None), where
    if not from_logits and len(order) > 1:
        _check_sums(p, where)
    return _found(y, p[:, 0] if len(order) == 1 else p, weight, tuple(table.names[k] for k in order)), where


def _found(labels, predictions, weight, names):
    return {"labels": labels, "predictions": predictions, "sample_weight": weight, "class_names": names}


def _key(name):
    """What a label and the name of a column are compared by: a number where it is one, or else the text."""
    text = str(name).strip()
    if text.casefold() in ("true", "false"):
        return int(text.casefold() == "true")
    if not NUMBER.fullmatch(text) or len(text) > 400:
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _classes(table, wanted, from_logits, told):
    """The position of each class column, by the key of its labels; `wanted` has the first row of each label's key."""
    count, names = table.predictions.shape[1], table.names
    positions = {k: k for k in range(2 if names is not None and count == 1 else count)}
    if names is None:
        return _checked(positions, wanted, table, f"labels of a column of lists, integers from 0 to {count - 1}")
    if count == 1:
        if names[0] in table.integers:
            raise ValueError(
                f"Expected `predictions` that are scores. Received: integers in {table.path}, column {names[0]}, which "
                "are predicted classes. Scores are written with a point, one a class or one of the positive class."
            )
        return _checked(positions, wanted, table, f"labels 0 and 1 beside one class column ({names[0]})")
    _check_distinct(names, table.path)
    text = any(isinstance(key, str) for key in wanted)
    for reading in _readings(names):
        classes = {_key(name): k for k, name in enumerate(reading)}
        # beside labels that are numbers, a name that is none is no class
        alike = told or text or not any(isinstance(key, str) for key in classes)
        if len(classes) == count and wanted.keys() <= classes.keys() and alike:
            if text and not told and _numbers(names) is None:
                seen = {classes[key] for key in wanted}
                for k in set(range(count)) - seen:
                    _check_looks(table, k, from_logits)
                _warn_of_unseen(table, seen)
            return classes
    shown = few(names)
    if text:
        return _checked(
            {_key(name): k for k, name in enumerate(names)},
            wanted,
            table,
            f"labels that are all integers, or all names of class columns ({shown})",
        )
    if any(re.search(r"\d", name) or not isinstance(_key(name), str) for name in names):
        others = [name for name in names if _is_usual(name) or not (re.search(r"\d", name) or _key(name) != name)]
        advice = f"{NO_CLASS_ADVICE} It may be {few(others)}. " if others else ""
        raise ValueError(
            f"Expected labels that are the numbers in the names of the class columns ({shown}). Received: "
            f"{few(sorted(wanted))} in {table.path}, the first in {table.where('row', (min(wanted.values()),))}. "
            f"{advice}Number both alike; `--ignore-class` leaves examples out."
        )
    _checked(positions, wanted, table, f"labels that are names of class columns, or their positions from 0 ({shown})")
    if 0 not in wanted:
        raise ValueError(
            f"Expected labels that are names of class columns, or their positions from 0 ({shown}). Received: "
            f"{few(sorted(wanted))} in {table.path}, without 0, so that they may as well count from 1. Write names as "
            "labels, or numbers in the names of the columns."
        )
    if not told:
        for k in range(count):
            _check_looks(table, k, from_logits)
        _warn_of_unseen(table, set(map(int, wanted)), f", as labels are positions of the columns {shown}")
    return positions


def _checked(classes, wanted, table, expected):
    unknown = [key for key in wanted if key not in classes]
    if unknown:
        row = min(wanted[key] for key in unknown)
        raise ValueError(
            f"Expected {expected}. Received: {few(unknown)}, the first in {table.where('labels', (row,))}. "
            "`--ignore-class` leaves examples out."
        )
    return classes


def _check_distinct(names, path):
    known = {}
    for name in names:
        other = known.setdefault(_key(name), name)
        if other != name:
            raise ValueError(
                f"Expected class columns of different names. Received: {other} and {name} in {path}, which are one "
                "number."
            )


def _readings(names):
    """The names as they are, then what is left of them without a part that all begin with, or end with."""
    for start in _shared(names):
        rest = [name[start:] for name in names]
        for end in _shared([name[::-1] for name in rest]):
            reading = [name[: len(name) - end].strip() for name in rest]
            if all(reading):
                yield reading


def _shared(names):
    """Lengths of the parts that all names begin with: 0, and those that end as a prefix does and are no number."""
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names)))
    shared = "".join(letter for letter, _ in alike)
    ends = [part.end() for part in PART.finditer(names[0])]
    return [0, *(end for end in ends if end <= len(shared) and shared[:end].strip("+-._0123456789"))]


def _numbers(names):
    """The numbers of columns that are named by nothing else, as `class_1` and `class_2` are; else None."""
    for reading in _readings(names):
        if all(map(NUMBER.fullmatch, reading)):
            return [_key(name) for name in reading]
    return None


def _order(names, count):
    """Positions of the class columns in the order of their numbers, where these are 0 to K-1; else as they stand."""
    numbers = None if names is None else _numbers(names)
    return np.arange(count) if numbers is None or set(numbers) != set(range(count)) else np.argsort(numbers)


def _check_looks(table, k, from_logits):
    """Raises `ValueError` for a column that no label names and that looks like something else than a class."""
    name, values = table.names[k], table.predictions[:, k]
    with np.errstate(invalid="ignore"):  # of infinity
        counts_rows = len(values) > 2 and (values - values[0] == np.arange(len(values))).all()
    odd = from_logits and name in table.integers and len(table.integers) < len(table.names) and np.ptp(values) > 0
    if counts_rows or odd or _is_usual(name):
        raise ValueError(
            f"Expected every column but labels and weights to be a class. Received: a column {name!r}, which looks "
            f"like {'an index' if counts_rows else 'something else'}, in {table.path}. {NO_CLASS_ADVICE}"
        )


def _is_usual(name):
    return re.sub(r"[\W_]", "", name.casefold()) in NO_CLASS


def _warn_of_unseen(table, seen, why=""):
    unseen = [name for k, name in enumerate(table.names) if k not in seen]
    if unseen:
        warnings.warn(
            f"No example of {table.path} is of the class {few(unseen)}{why}. {NO_CLASS_ADVICE}",
            stacklevel=6,
        )


def _check_sums(p, where):
    """Raises `ValueError` for the first row that does not sum to 1; values outside [0, 1] are refused elsewhere."""
    if not (p.min() >= -LEEWAY and p.max() <= 1 + LEEWAY):
        return
    total = p.sum(axis=1)
    wrong = np.abs(total - 1) > LEEWAY
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"Expected `--probabilities` that sum to 1 in every row. Received: a sum of {total[row]:.4g} in "
            f"{where('row', (row,))}. {NO_CLASS_ADVICE} For several labels an example, calibrate each column by itself."
        )
