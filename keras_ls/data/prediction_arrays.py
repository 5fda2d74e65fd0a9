"""Labels, predictions and weights from the arrays of a `.npz` file, whatever its bytes are."""

import contextlib
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
    if p.dtype.kind == "b" or (p.ndim == 1 and p.dtype.kind in "iu"):
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
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in headers:
                    raise ValueError(f"{name} twice")
                if name != member.filename:
                    headers[name] = None
                    with contextlib.suppress(Exception):  # one that is not needed may be damaged
                        headers[name] = _header(archive, member)
            if not headers:
                raise ValueError("an archive without arrays")
    except Exception as error:  # zipfile and what unpacks raise many kinds for bytes that are no archive
        raise ValueError(f"Expected arrays written by numpy.savez. Received: {path} ({_line(error)}).") from error
    return headers


def _header(archive, member):
    """`(dtype, shape)`, after an error for an array that is not as long as it says."""
    with archive.open(member) as file:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
        size = member.file_size - file.tell()
    if not dtype.hasobject and (min(shape, default=0) < 0 or dtype.itemsize * math.prod(shape) != size):
        raise ValueError(f"{dtype}{list(shape)} in {size} bytes")
    return dtype, shape


def _described(header):
    return "that cannot be read" if header is None else f"{header[0]}{list(header[1])}"


def _read(path, name):
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            _header(archive, member)
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
            f"Expected `{what}` of at least one example. Received: {_described((values.dtype, values.shape))} in "
            f"{path}, {name}."
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
    if not np.isfinite(y).all():
        first = np.argwhere(~np.isfinite(y))[0]
        received = f"{y[tuple(first)]} in {where('labels', first)}"
        raise ValueError(f"Expected `labels` without missing values, NaN or infinity. Received: {received}.")
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
