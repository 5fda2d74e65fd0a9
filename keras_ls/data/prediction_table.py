"""Labels, predictions and weights from the columns of a `.csv` or `.parquet` file."""

import array
import csv
import fnmatch

import numpy as np

from keras_ls.data.class_columns import NO_CLASS_ADVICE, Table, match
from keras_ls.data.prediction_names import FLAGS, LABELS, WEIGHTS, chosen, few
from keras_ls.ops._checks import checked_choice


def read_csv(path, from_logits, labels, predictions, sample_weight, ignore_class):
    """What `PredictionFile` holds, as a dictionary, and a function that says where in the file a value is."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            lines = _lines(reader)
            line, names = next(lines, (1, []))
            names = [name.strip() for name in names]
            if not names:
                raise ValueError(f"Expected a line of column names. Received: {path}, which is empty.")
            if any("\0" in name for name in names):
                raise UnicodeError("NUL, as UTF-16 has it")
            try:
                label, weight, classes = _roles(names, [], from_logits, labels, predictions, sample_weight, path)
            except ValueError as error:
                raise ValueError(f"{error}{_advice_on_header(names, line)}") from None
            table = _cells(lines, path, names, label, weight, classes)
        except (csv.Error, UnicodeError) as error:
            raise ValueError(
                f"Expected cells separated by commas, as UTF-8 text. Received: {path}, after line {reader.line_num} "
                f"({error})."
            ) from error
    return match(table, from_logits, ignore_class, predictions is not None)


def _lines(reader):
    """Line numbers, from 1, and cells of the lines that are not blank."""
    for cells in reader:
        if len(cells) > 1 or "".join(cells).strip():
            yield reader.line_num, cells


def _advice_on_header(names, line):
    if len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        return " Separate the cells by commas, and write numbers with a point."
    numbers = sum(name.lstrip("+-").replace(".", "", 1).isdigit() for name in names)
    return f" Line {line} has to name the columns." if 2 * numbers >= len(names) else ""


def _cells(lines, path, names, label, weight, classes):
    """`Table` of the lines below the header."""
    position = {name: i for i, name in enumerate(names)}
    columns = [position[name] for name in (*classes, *([weight] if weight else []))]
    numbers, texts, at = array.array("d"), [], array.array("q")
    integers = range(len(classes))  # those of `columns` that hold nothing else so far
    for line, cells in lines:
        if len(cells) != len(names):
            raise ValueError(
                f"Expected {len(names)} cells in every line, as many as the header. Received: {len(cells)} in {path}, "
                f"line {line}."
            )
        row = [cells[i] for i in columns]
        try:
            numbers.extend(map(float, row))
            text = "".join(row)
            readable = "_" not in text and text.isascii()  # float() also takes 1_000
        except ValueError:
            readable = False
        if not readable:
            _refuse_cell(row, [names[i] for i in columns], weight, f"{path}, line {line}")
        integers = [i for i in integers if row[i].strip().lstrip("+-").isdigit()]
        texts.append(cells[position[label]].strip())
        at.append(line)
    values = np.frombuffer(numbers, "float64").reshape(len(texts), len(columns))
    return Table(
        labels=[text or None for text in texts],
        predictions=values[:, : len(classes)],
        sample_weight=values[:, -1] if weight else None,
        names=classes,
        integers=[classes[i] for i in integers],
        path=path,
        where=_place(path, label, weight, classes, lambda row: f"line {at[row]}"),
    )


def _refuse_cell(row, names, weight, place):
    """Raises `ValueError` for the first cell that is no number."""
    for name, cell in zip(names, row):
        try:
            float(cell)
            wrong = "_" in cell or not cell.isascii()
        except ValueError:
            wrong = True
        if wrong:
            what = "sample_weight" if name == weight else "predictions"
            if not cell.strip():
                received = f"an empty cell in {place}, column {name}"
                raise ValueError(f"Expected `{what}` without missing values or NaN. Received: {received}.")
            received = f"{few([repr(cell)])} in {place}, column {name}"
            advice = f" {NO_CLASS_ADVICE}" if name != weight else ""
            raise ValueError(f"Expected `{what}` to be real numbers. Received: {received}.{advice}")


def read_parquet(path, from_logits, labels, predictions, sample_weight, ignore_class):
    """What `PredictionFile` holds, as a dictionary, and a function that says where in the file a value is."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        written = file.schema_arrow.names
        names = [name.strip() for name in written]
        lists = [name for name, kind in zip(names, file.schema_arrow.types) if _is_list(kind)]
        label, weight, classes = _roles(names, lists, from_logits, labels, predictions, sample_weight, path)
        wanted = [written[names.index(name)] for name in (label, weight, *classes) if name is not None]
        read = file.read(columns=wanted)
        columns = {name.strip(): _plain(read.column(name)) for name in wanted}
        if pyarrow.types.is_nested(columns[label].type):
            raise ValueError(f"Expected one label a row. Received: {columns[label].type} in {path}, column {label}.")
        as_list = classes[0] in lists
        if as_list:
            p = _lists(columns[classes[0]], path, classes[0])
        else:
            p = np.stack([_numbers(columns[name], "predictions", path, name) for name in classes], axis=1)
        table = Table(
            labels=columns[label].to_pylist(),
            predictions=p,
            sample_weight=None if weight is None else _numbers(columns[weight], "sample_weight", path, weight),
            names=None if as_list else classes,
            integers=[name for name in classes if pyarrow.types.is_integer(columns[name].type)],
            path=path,
            where=_place(path, label, weight, classes, lambda row: f"row {row} (counted from 0)"),
        )
    except (pyarrow.ArrowException, OSError, UnicodeError) as error:
        raise ValueError(f"Expected a table with a row an example. Received: {path} ({error}).") from error
    return match(table, from_logits, ignore_class, predictions is not None)


def _is_list(kind):
    import pyarrow

    kind = kind.storage_type if isinstance(kind, pyarrow.BaseExtensionType) else kind
    return "list" in str(kind).split("<")[0]  # of fixed or of any length, large, and views


def _plain(column):
    """A column without dictionary and without extension type."""
    import pyarrow

    if isinstance(column.type, pyarrow.BaseExtensionType):
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def _numbers(column, what, path, name):
    """A column of numbers as float64."""
    import pyarrow

    _check_numeric(column.type, what, path, name)
    if column.null_count:
        row = column.is_null().to_numpy().argmax()
        raise ValueError(
            f"Expected `{what}` without missing values or NaN. Received: a null in {path}, row {row} (counted from 0), "
            f"column {name}."
        )
    if pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    return column.to_numpy().astype("float64")


def _lists(column, path, name):
    """A column of lists of one length as an array, without making a Python object of each number."""
    import pyarrow
    import pyarrow.compute

    if not len(column):
        return np.empty((0, 1))
    lengths = pyarrow.compute.unique(pyarrow.compute.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(
            f"Expected lists of one length in {path}, column {name}. Received: "
            f"{sorted(length for length in lengths if length is not None)[:5]} numbers a row"
            f"{', and rows without a list' if None in lengths else ''}."
        )
    # which leaves out what a slice leaves out
    chunks = [_plain(pyarrow.chunked_array([chunk.flatten()])) for chunk in column.chunks if len(chunk)]
    _check_numeric(chunks[0].type, "predictions", path, name)
    for first, chunk in zip(np.cumsum([0, *map(len, chunks)]), chunks):
        if chunk.null_count:
            row = (first + chunk.is_null().to_numpy().argmax()) // lengths[0]
            raise ValueError(
                f"Expected `predictions` without missing values or NaN. Received: a null in {path}, row {row} (counted "
                f"from 0), column {name}."
            )
    keeps = chunks[0].type in (pyarrow.float32(), pyarrow.float64())
    arrays = [chunk.chunk(0).to_numpy() if keeps else _numbers(chunk, "predictions", path, name) for chunk in chunks]
    return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays)).reshape(-1, lengths[0])


def _check_numeric(kind, what, path, name):
    from pyarrow import types

    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        advice = f" {NO_CLASS_ADVICE}" if what == "predictions" else ""
        raise ValueError(f"Expected `{what}` to be real numbers. Received: {kind} in {path}, column {name}.{advice}")


def _place(path, label, weight, classes, row):
    """A function of what (a field of `PredictionFile`) and of the index into it: where in the file it is."""

    def where(what, index):
        if what == "row":
            return f"{path}, {row(index[0])}"
        if what == "predictions":
            column = classes[index[1] if len(index) > 1 and len(classes) > 1 else 0]
        else:
            column = label if what == "labels" else weight
        return f"{path}, {row(index[0])}, column {column}"

    return where


def _roles(names, lists, from_logits, labels, predictions, sample_weight, path):
    """Which columns are what: the name of the labels, that of the weights or None, and those of the classes."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else ()
    if twice:
        raise ValueError(f"Expected columns of different names. Received: {few(map(repr, twice))} twice in {path}.")
    labels, sample_weight = (None if name is None else str(name).strip() for name in (labels, sample_weight))
    label = chosen("labels", labels, LABELS, names, path, ())
    weight = chosen("sample_weight", sample_weight, WEIGHTS, [name for name in names if name != label], path)
    rest = [name for name in names if name not in (label, weight)]
    if predictions is not None:
        rest = _named(str(predictions).strip(), rest)
    elif any(name in lists for name in rest):
        # as in a .npz, of logits and probabilities the flag tells which
        flag, other = FLAGS[from_logits], FLAGS[not from_logits]
        rest = [name for name in rest if name != other or name not in lists or flag not in lists]
    if not rest:
        raise ValueError(
            "Expected one column of labels, at most one of weights, and a column of numbers a class. Received: "
            f"{few(names)} in {path}."
        )
    if len(rest) > 1 and any(name in lists for name in rest):
        raise ValueError(
            "Expected, beside labels and weights, one column of lists or a column of numbers a class. Received: "
            f"{few(rest)} in {path}. Tell which holds the predictions: `--predictions NAME`."
        )
    if "" in rest:
        raise ValueError(
            f"Expected columns of predictions. Received: a column without a name in {path}, which looks like an "
            "index. Leave it out of the file (pandas: index=False)."
        )
    return label, weight, rest


def _named(predictions, names):
    """The columns that `predictions` names: one, or names and patterns with commas between them."""
    if predictions in names:
        return [predictions]
    found = set()
    for part in map(str.strip, predictions.split(",")):
        matching = [part] if part in names else fnmatch.filter(names, part)
        found.update(matching or [checked_choice("predictions", part, names)])
    return [name for name in names if name in found]
