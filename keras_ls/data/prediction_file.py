"""Predictions of any framework from a file: .npz, .csv or .parquet."""

import dataclasses

import numpy as np

from keras_ls.data.prediction_arrays import read_arrays
from keras_ls.data.prediction_table import read_csv, read_parquet
from keras_ls.files import local_path
from keras_ls.ops._checks import checked_class
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._types import PathLike

READERS = {".npz": read_arrays, ".csv": read_csv, ".parquet": read_parquet}
LARGEST = np.finfo("float32").max  # what is read is computed with in float32
ROUNDING = 1e-3  # probabilities of half precision may be as far outside [0, 1]


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


def read_predictions(
    path: PathLike,
    from_logits: bool,
    labels: str | None = None,
    predictions: str | None = None,
    sample_weight: str | None = None,
    ignore_class: int | None = None,
) -> PredictionFile:
    r"""Reads labels and predictions.

    In a `.npz` they are arrays. In a `.csv` or `.parquet` they are columns: one of labels, perhaps one of weights, and
    every other column is a class (or one column of a `.parquet` holds a list an example). Then:

    1. Labels are matched to class columns by name: `cat` to `cat`, and to `p_cat` where all class columns begin with
       `p_`; 1, 1.0 and "1" are one name, and so are True, "true" and 1.
    2. Where no class column has a number in its name, labels may be integers: positions of the columns, from 0, and
       0 is among them (else they could as well count from 1). So are labels beside a column of lists.
    3. All else is an error. So is a column that cannot be a class: text, an index, integers beside logits, or, unless
       a label names it, a usual name of something else, such as `id` or `y_pred`. A class column whose class no
       example has, and that only its name tells from something else, is warned about.

    Class columns stay in their order, except that those numbered from 0 to K-1 are put in the order of the numbers.

    Args:
        path: the file.
        from_logits: whether the predictions are logits (it warns where they are not) or probabilities; also which of
            two arrays (or columns of lists) to read where a file has both `logits` and `probabilities`.
        labels: name of the labels; None looks for a usual name, in a `.npz` also for the only array that can be meant.
        predictions: name of the predictions, likewise; in a table of the column of lists, or of the class columns:
            names and patterns such as `p_*`, separated by commas. Other columns are then left alone.
        sample_weight: name of the weights; None takes `sample_weight` or `weight` where there is one.
        ignore_class: integer label of examples to leave out, or None.

    Returns:
        A `PredictionFile`.

    Raises:
        ValueError: for another kind of file, one that cannot be read, names that are not in it or not clear, labels
            that are no classes, values that are missing or not finite (logits of -inf rule a class out),
            probabilities outside [0, 1] and negative weights. The message names the file and the line of a `.csv`, the
            row of a `.parquet` or the index into an array.
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
    path = local_path("path", path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"Expected a file {', '.join(READERS)}. Received: {path}.")
    if not path.is_file():
        raise OSError(
            f"Expected a file of predictions. Received: {path}, "
            f"which is {'no file but a directory' if path.is_dir() else 'not there'}."
        )
    read, ignore_class = READERS[path.suffix.lower()], checked_class("ignore_class", ignore_class)
    found, where = read(path, bool(from_logits), labels, predictions, sample_weight, ignore_class)
    _check_predictions(found["predictions"], from_logits, where)
    if found["sample_weight"] is not None:
        _check_weights(found["sample_weight"], where)
    if from_logits:
        LogitsCheck("read_predictions", "Pass `from_logits=False`.").see(found["predictions"])
    return PredictionFile(**found)


def _check_predictions(p, from_logits, where):
    low, high = p.min(), p.max()  # NaN if there is one
    several = p.ndim > 1 and p.shape[-1] > 1
    if np.isnan(low):
        _refuse(np.isnan(p), p, "predictions", "`predictions` without missing values or NaN", "", where)
    if not from_logits and not (low >= -ROUNDING and high <= 1 + ROUNDING):
        outside = (p < -ROUNDING) | (p > 1 + ROUNDING)
        _refuse(outside, p, "predictions", "`--probabilities` in [0, 1]", " Use `--logits` for logits.", where)
    ruled_out = several and low == -np.inf
    if not (low >= -LARGEST or ruled_out) or high > LARGEST:
        wrong = (p > LARGEST) | ((p < -LARGEST) & ~(np.isneginf(p) & several))
        advice = (
            " Only -inf, in one of several logits, has a meaning: a class that is ruled out." if from_logits else ""
        )
        _refuse(wrong, p, "predictions", "finite `predictions`", advice, where)
    if ruled_out:
        nothing = np.repeat(p.max(axis=-1, keepdims=True) == -np.inf, p.shape[-1], axis=-1)
        _refuse(nothing, p, "predictions", "a finite logit in every row", "", where)


def _check_weights(weight, where):
    if np.isnan(weight).any():
        _refuse(np.isnan(weight), weight, "sample_weight", "`sample_weight` without missing values or NaN", "", where)
    wrong = (weight < 0) | (weight > LARGEST)
    _refuse(wrong, weight, "sample_weight", "`sample_weight` of finite numbers from 0", "", where)
    if not weight.any():
        zero = where("sample_weight", (0,) * weight.ndim)
        raise ValueError(
            f"Expected an example of positive weight. Received: a weight of 0 in {zero}, and in all others."
        )


def _refuse(wrong, values, what, expected, advice, where):
    """Raises `ValueError` for the first value that is `wrong`, if there is one."""
    if wrong.any():
        first = np.unravel_index(wrong.argmax(), wrong.shape)
        count = int(wrong.sum())
        others = f", and {count - 1} more" if count > 1 else ""
        raise ValueError(f"Expected {expected}. Received: {values[first]} in {where(what, first)}{others}.{advice}")
