"""The way of a display's data to JSON and back: arrays to lists, NaN to null, and clear errors for anything else."""

import numpy as np

from keras_ls.ops._checks import concrete


def as_numbers(name, values, shape):
    """Returns a float64 copy of `values`, None as NaN, of `shape` (None: any length), or raises `ValueError`."""
    wanted = "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"
    try:
        array = np.array(concrete(values) if hasattr(values, "shape") else values, dtype="float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected `{name}` to be numbers of shape {wanted}. Received: {values!r}.") from error
    fits = array.ndim == len(shape) and all(size in (None, n) for size, n in zip(shape, array.shape))
    if not fits:
        raise ValueError(f"Expected `{name}` of shape {wanted}. Received: shape {list(array.shape)}.")
    return array


def check_finite(name, array):
    """Raises `ValueError` when `array` holds NaN or infinity."""
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)]
        raise ValueError(f"Expected `{name}` to be finite. Received: {bad.size} of NaN or infinity. Leave them out.")


def as_displays(name, values, kind, most):
    """Returns 1 to `most` displays of the class `kind`, those saved as dictionaries rebuilt, or raises `ValueError`."""
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    wrong = [type(value).__name__ for value in values if not isinstance(value, (kind, dict))]
    if wrong or not 1 <= len(values) <= most:
        raise ValueError(
            f"Expected `{name}` to be a list of 1 to {most} {kind.__name__}s. "
            f"Received: {wrong[0] if wrong else len(values)}."
        )
    return [kind.from_dict(value) if isinstance(value, dict) else value for value in values]


def to_plain(array):
    """Returns `array` as nested lists with None for NaN, which JSON has no word for."""
    if array is None:
        return None
    plain = np.asarray(array).astype(object)
    plain[np.isnan(np.asarray(array, dtype="float64"))] = None
    return plain.tolist()


def checked_saved(display, data, required, optional=()):
    """Returns the arguments in a saved `data` dictionary of the class `display`, or raises `ValueError`."""
    advice = f"Save the dictionary that `{display}.to_dict()` returns."
    if not isinstance(data, dict):
        raise ValueError(f"Expected a dictionary. Received: {type(data).__name__}. {advice}")
    kind = data.get("display", display)
    if kind != display:
        raise ValueError(
            f"Expected the data of a {display}. Received: those of {kind!r}. Use that class's `from_dict`."
        )
    missing = [key for key in required if key not in data]
    unknown = sorted(str(key) for key in set(data) - {"display", *required, *optional})
    if missing or unknown:
        said = [f"without {', '.join(missing)}"] if missing else []
        said += [f"with unknown {', '.join(unknown)}"] if unknown else []
        raise ValueError(
            f"Expected the keys {', '.join(required)}. Received: a dictionary {' and '.join(said)}. {advice}"
        )
    return {key: value for key, value in data.items() if key != "display"}
