"""Labels, predictions and weights from the arrays of a `.npz` file, whatever its bytes are."""

import math
import zipfile

import numpy as np

from keras_ls.data.prediction_names import FLAGS, LABELS, PREDICTIONS, WEIGHTS, chosen

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LARGEST_LABEL = 2**31 - 1


def read_arrays(path, from_logits, labels, predictions, sample_weight, ignore_class):
    """What `PredictionFile` holds, as a dictionary, and a function that says where in the file a value is."""
    headers = _headers(path)
    held = {name: _described(header) for name, header in headers.items()}
    weight_name = chosen("sample_weight", sample_weight, WEIGHTS, headers, path)
    flat = [n for n, h in headers.items() if h and h[0].kind in "iub" and len(h[1]) > 0 and math.prod(h[1]) == h[1][0]]
    label_name = chosen("labels", labels, LABELS, headers, path, [n for n in flat if n != weight_name], held)
    rest = [n for n in headers if n not in (label_name, weight_name)]
    usual = [FLAGS[from_logits]] if FLAGS[from_logits] in rest else PREDICTIONS
    floats = [n for n in rest if headers[n] and headers[n][0].kind == "f"]
    prediction_name = chosen("predictions", predictions, usual, headers, path, floats, held)
    names = {"labels": label_name, "predictions": prediction_name, "sample_weight": weight_name}

    def where(what, index):
        return f"{path}, {names[what]}[{', '.join(map(str, index))}]"

    p = _real(_read(path, prediction_name), "predictions", path, prediction_name)
    if p.ndim == 1 and p.dtype.kind in "iub":
        raise ValueError(
            f"Expected `predictions` that are scores. Received: {held[prediction_name]} in {path}, {prediction_name}, "
            "which are predicted classes. Scores are floating-point numbers, one a class or one of the positive class."
        )
    y = _labels(_read(path, label_name), p, path, label_name, where)
    weight = None
    if weight_name is not None:
        weight = _real(_read(path, weight_name), "sample_weight", path, weight_name)
        weight = weight[..., 0] if weight.ndim > 1 and weight.shape[-1] == 1 else weight
        leading = p.shape[:1] if p.ndim == 1 else p.shape[:-1]
        if weight.ndim == 0 or weight.shape != leading[: weight.ndim]:
            raise ValueError(
                f"Expected `sample_weight` of one number an example, {list(leading)} as the predictions. Received: "
                f"{held[weight_name]} in {path}, {weight_name}. Leave it out of the file if it is something else."
            )
    if ignore_class is not None and y.dtype.kind in "iu" and (y.shape != p.shape or p.ndim == 1):
        kept = y != ignore_class
        if weight is not None:
            weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (y.ndim - weight.ndim)), y.shape)[kept]
        kept_at = np.argwhere(kept)
        if not len(kept_at):
            raise ValueError(f"Expected an example that is not ignored. Received: {path}, all of class {ignore_class}.")
        y, p = y[kept], p[kept]
        return _found(y, p, weight), lambda what, index: where(what, (*kept_at[index[0]], *index[1:]))
    return _found(y, p, weight), where


def _found(labels, predictions, weight):
    return {"labels": labels, "predictions": predictions, "sample_weight": weight, "class_names": None}


def _headers(path):
    """`(dtype, shape)` of each array by its name, or None for one that cannot be read; other members are left alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            headers = {member.filename.removesuffix(".npy"): _header(archive, member) for member in members}
    except Exception as error:  # of zipfile, for bytes that are no archive, there are many kinds
        raise ValueError(f"Expected arrays written by numpy.savez. Received: {path} ({_line(error)}).") from error
    if not members:
        raise ValueError(f"Expected arrays written by numpy.savez. Received: {path}, an archive without arrays.")
    if len(headers) < len(members):
        raise ValueError(f"Expected arrays of different names. Received: {path}, which has a name twice.")
    return headers


def _header(archive, member):
    try:
        with archive.open(member) as file:
            shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
            size = member.file_size - file.tell()
    except Exception:  # as in `_headers`; an array that is not needed may be damaged
        return None
    whole = dtype.hasobject or (min(shape, default=0) >= 0 and dtype.itemsize * math.prod(shape) == size)
    return (dtype, shape) if whole else None


def _described(header):
    return "that cannot be read" if header is None else f"{header[0]}{list(header[1])}"


def _read(path, name):
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            if _header(archive, member) is None:
                raise ValueError("a damaged header, or not as long as it says")
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as in `_headers`
        raise ValueError(
            f"Expected arrays written by numpy.savez. Received: {path}, {name} ({_line(error)})."
        ) from error
    return np.asarray(array, array.dtype.newbyteorder("="))


def _line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _real(values, what, path, name):
    if values.dtype.kind not in "iubf":
        raise ValueError(f"Expected `{what}` to be real numbers. Received: {values.dtype} in {path}, {name}.")
    if not values.ndim or not values.size:
        raise ValueError(
            f"Expected `{what}` of at least one example. Received: {_described((values.dtype, values.shape))} in {path}, "
            f"{name}."
        )
    return values.astype("float64") if values.dtype.itemsize > 8 else values


def _labels(y, p, path, name, where):
    """Labels that fit the predictions: integers, or dense ones of the same shape."""
    if y.dtype.kind not in "iubf":
        shown = f", {y.flat[0]!r}, ..." if y.size else ""
        raise ValueError(
            f"Expected labels that are integers, or dense. Received: {y.dtype}{list(y.shape)}{shown} in {path}, {name}."
        )
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    binary = p.ndim == 1 or p.shape[-1] == 1
    leading = p.shape if p.ndim == 1 else p.shape[:-1]
    if y.shape not in (leading, p.shape):
        raise ValueError(
            f"Expected one label an example, {list(leading)} as the predictions. Received: {list(y.shape)} in {path}, "
            f"{name}."
        )
    y = _real(y, "labels", path, name)
    if y.dtype.kind == "f" and np.isnan(y).any():
        first = np.argwhere(np.isnan(y))[0]
        raise ValueError(f"Expected `labels` without missing values or NaN. Received: nan in {where('labels', first)}.")
    if y.shape != leading:
        return y
    whole = np.floor(y) == y
    fit = whole & (np.abs(y.astype("float64")) <= LARGEST_LABEL)
    if binary:  # also P(y=1) as a target
        fit |= (y > 0) & (y < 1)
    if not fit.all():
        first = np.argwhere(~fit)[0]
        expected = "labels from 0 to 1" if binary else f"integer labels from 0 to {p.shape[-1] - 1}"
        raise ValueError(f"Expected {expected}. Received: {y[tuple(first)]} in {where('labels', first)}.")
    return y.astype("int64") if whole.all() and y.dtype.kind in "fb" else y
