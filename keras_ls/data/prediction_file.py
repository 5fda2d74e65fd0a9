"""Predictions of any framework from a file: .npz, .csv or .parquet."""

import dataclasses
import pathlib
import re
import zipfile

import numpy as np

from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops.checks import checked_choice

SUFFIXES = (".npz", ".csv", ".parquet")
LABELS = ("labels", "label", "y_true", "targets", "target", "ground_truth", "y")
PREDICTIONS = ("predictions", "y_pred", "outputs", "scores", "probs", "y_prob")
WEIGHTS = ("sample_weight", "sample_weights", "weights", "weight")


@dataclasses.dataclass(frozen=True)
class PredictionFile:
    """What a file of predictions holds.

    Attributes:
        labels: `[N]` integers, or `[N, K]` dense.
        predictions: `[N, K]`, or `[N]` for the positive class of two.
        sample_weight: `[N]`, or None.
        class_names: K names, or None where the file has none.
    """

    labels: np.ndarray
    predictions: np.ndarray
    sample_weight: np.ndarray | None
    class_names: tuple | None


def read_predictions(path, from_logits, labels=None, predictions=None, sample_weight=None):
    r"""Reads labels and predictions.

    In a `.npz` they are arrays, in a table columns: one of labels, perhaps one of weights, and the others one a class
    (or, in a `.parquet`, one column of lists). Columns whose names end in the numbers 0 to K-1 are put in that order,
    others stay as they come. Labels of a table are integers, or the names of the class columns.

    Args:
        path: the file.
        from_logits: whether the predictions are logits; it warns where they are not. Of a file that has both `logits`
            and `probabilities` it says which to read.
        labels: name of the labels; None looks for a usual name, or else for the only array that can be meant.
        predictions: name of the predictions, likewise; in a table of the column of lists.
        sample_weight: name of the weights; None takes `sample_weight` or `weight` where there is one.

    Returns:
        A `PredictionFile`.

    Raises:
        ValueError: for another kind of file, one that cannot be read, and names that are not in it or not clear.
        OSError: for a file that is not there.

    Examples:
        >>> import pathlib, tempfile, keras_ls as kls
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "mine.csv"
        ...     _ = path.write_text("cat,dog,label\n2.0,0.5,cat\n0.1,1.5,dog\n")
        ...     file = kls.data.read_predictions(path, from_logits=True)
        >>> file.labels.tolist(), file.predictions.tolist(), file.class_names
        ([0, 1], [[2.0, 0.5], [0.1, 1.5]], ('cat', 'dog'))
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"Expected a file {', '.join(SUFFIXES)}. Received: {path}.")
    if not path.is_file():
        raise OSError(f"Expected a file of predictions. Received: {path}, which is not there.")
    usual = ("logits" if from_logits else "probabilities", *PREDICTIONS)
    if path.suffix.lower() == ".npz":
        file = _from_arrays(_read_npz(path), usual, labels, predictions, sample_weight)
    else:
        file = _from_columns(_read_table(path), usual, labels, predictions, sample_weight)
    if from_logits:
        LogitsCheck("read_predictions", "Pass `from_logits=False`.").see(file.predictions)
    return file


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"Expected arrays written by numpy.savez. Received: {path} ({error}).") from error


def _read_table(path):
    import pyarrow
    from pyarrow import csv, parquet

    try:
        table = parquet.read_table(path) if path.suffix.lower() == ".parquet" else csv.read_csv(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"Expected a table with a row an example. Received: {path} ({error}).") from error
    if not table.num_rows:
        raise ValueError(f"Expected at least one example. Received: {path} without a row.")
    return {name.strip(): table.column(name) for name in table.column_names}


def _from_arrays(arrays, usual, labels, predictions, sample_weight):
    shapes = {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()}
    weights = _named(arrays, sample_weight, WEIGHTS, "sample_weight")
    labels = _named(arrays, labels, LABELS, "labels") or _only(
        "--labels", shapes, [n for n, a in arrays.items() if a.dtype.kind in "iub" and np.squeeze(a).ndim == 1]
    )
    others = [n for n, a in arrays.items() if n not in (labels, weights) and a.dtype.kind == "f"]
    predictions = _named(arrays, predictions, usual, "predictions") or _only("--predictions", shapes, others)
    y, p = arrays[labels], arrays[predictions]
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    if y.dtype.kind not in "iubf":
        raise ValueError(f"Expected labels that are integers, or dense. Received: {shapes[labels]}, {y.flat[0]!r}, ...")
    return _checked(PredictionFile(y, p, None if weights is None else arrays[weights], None))


def _from_columns(columns, usual, labels, predictions, sample_weight):
    kinds = {name: str(column.type) for name, column in columns.items()}
    weights = _named(columns, sample_weight, WEIGHTS, "sample_weight")
    labels = _named(columns, labels, LABELS, "labels") or _only(
        "--labels", kinds, [n for n in columns if not kinds[n].startswith(("float", "double", "halffloat", "list"))]
    )
    lists = [name for name in columns if "list" in kinds[name] and name not in (labels, weights)]
    predictions = _named(columns, predictions, usual if lists else (), "predictions") or (lists or [None])[0]
    if predictions is not None:
        rows = columns[predictions].to_pylist()
        lengths = {len(row) for row in rows if row is not None}
        if len(lengths) != 1 or None in rows:
            raise ValueError(
                f"Expected lists of one length in the column {predictions}. Received: {sorted(lengths)[:5]} numbers a "
                f"row{', and rows without a list' if None in rows else ''}."
            )
        names, p = None, np.array(rows, "float64")
    else:
        names = _in_order([name for name in columns if name not in (labels, weights)])
        text = [name for name in names if not kinds[name].startswith(("float", "double", "halffloat", "int", "uint"))]
        if text or not names:
            raise ValueError(
                "Expected one column of labels, at most one of weights, and a column of numbers a class. Received: "
                f"{', '.join(f'{name} ({kind})' for name, kind in kinds.items())}. Leave the others out of the file."
            )
        for name in names:
            values = columns[name].to_numpy()
            count = np.arange(len(values))
            if not name or (len(names) > 1 and len(values) > 2 and (values - values[0] == count).all()):
                raise ValueError(
                    f"Expected columns of predictions. Received: a column {name or 'without a name'!r}, which looks "
                    "like an index. Leave it out of the file."
                )
        p = np.stack([columns[name].to_numpy() for name in names], axis=1).astype("float64")
        p = p[:, 0] if len(names) == 1 else p
    y = columns[labels].to_numpy(zero_copy_only=False) if kinds[labels] == "bool" else columns[labels].to_numpy()
    if y.dtype.kind not in "iubf":
        y = _indices(y, names)
    elif names is not None and len(names) > 1 and all(name.isdigit() for name in names):
        y = _indices([str(int(label)) if label == label else label for label in y], [str(int(name)) for name in names])
    weight = None if weights is None else columns[weights].to_numpy()
    return _checked(PredictionFile(y, p, weight, None if names is None else tuple(names)))


def _checked(file):
    """The file, after an error for what is not a number or is missing."""
    for what in ("labels", "predictions", "sample_weight"):
        values = getattr(file, what)
        if values is None:
            continue
        if values.dtype.kind not in "iubf":
            raise ValueError(f"Expected `{what}` to be real numbers. Received: {values.dtype}.")
        missing = np.argwhere(np.isnan(values.astype("float64")))
        if len(missing):
            raise ValueError(
                f"Expected `{what}` without missing values or NaN. Received: {len(missing)}, the first in row "
                f"{missing[0][0]} (counted from 0). Leave such rows out, or mend the step that made them."
            )
    return file


def _named(arrays, name, usual, what):
    if name is not None:
        return checked_choice(what, name, arrays)
    return next((one for one in usual if one in arrays), None)


def _only(option, kinds, names):
    if len(names) != 1:
        held = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        raise ValueError(f"Expected a usual name, or `{option} NAME`, to tell what is meant. Received: {held}.")
    return names[0]


def _in_order(names):
    numbers = [re.search(r"(\d+)$", name) for name in names]
    if all(numbers) and sorted(int(n[1]) for n in numbers) == list(range(len(names))):
        return sorted(names, key=lambda name: int(re.search(r"(\d+)$", name)[1]))
    return names


def _indices(labels, names):
    known = {name: k for k, name in enumerate(names or ())}
    unknown = sorted({str(label) for label in labels} - known.keys())
    if unknown:
        columns = f" ({', '.join(known)})" if known else ""
        raise ValueError(
            f"Expected labels that are integers or names of class columns{columns}. Received: {', '.join(unknown[:5])}."
        )
    return np.array([known[str(label)] for label in labels])
