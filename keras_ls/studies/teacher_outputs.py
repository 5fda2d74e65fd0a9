"""What a saved teacher says of a dataset: labels, logits and, where its last layer can be found, features."""

import dataclasses
import math
import zipfile

import keras
import numpy as np

from keras_ls import data
from keras_ls.files import local_path
from keras_ls.models import final_dense
from keras_ls.ops._checks import check_no_nan
from keras_ls.ops._types import PathLike
from keras_ls.studies.recalibration import logits_of

BATCH = 500


@dataclasses.dataclass(frozen=True)
class Outputs:
    """A teacher on one part of a dataset.

    Attributes:
        labels: `[N]`.
        logits: `[N, K]`, float32.
        features: `[N, D]`, the inputs of the last Dense layer, or None.
    """

    labels: np.ndarray
    logits: np.ndarray
    features: np.ndarray | None


def load_teacher(path: PathLike) -> keras.Model:
    """A saved model; the layers of keras_ls need no `custom_objects`.

    Raises:
        ValueError: for a file that is missing, damaged, HDF5, or no model that can be loaded.
    """
    path = local_path("path", path)
    if not path.exists():
        raise ValueError(f"Expected a saved model, such as teacher.keras. Received: {path}, which does not exist.")
    if path.suffix.lower() in (".h5", ".hdf5") or (path.is_file() and _begins_as_hdf5(path)):
        raise ValueError(
            f"Expected a model saved as .keras. Received: {path}, an HDF5 file, in which damage cannot be seen. Load "
            "it yourself and save it as .keras."
        )
    try:
        if path.is_file():
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise ValueError(f"{broken} is damaged")
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # whatever damage makes of a file
        raise ValueError(
            f"Expected a model that `keras.models.load_model` loads. Received: {path} ({_reason(error)}). "
            "For layers of your own call keras_ls.studies.diagnose from Python, with the model itself."
        ) from error


def _begins_as_hdf5(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x89HDF"


def _reason(error):
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def outputs_of(model, splits, part, examples=None, from_logits=True):
    """Runs a teacher over a part of a dataset, in inference mode.

    Args:
        model: a `keras.Model` of one input and one output.
        splits: the data.
        part: "train", "calibration" or "test".
        examples: the first so many; None for all.
        from_logits: whether the teacher returns logits or probabilities.

    Returns:
        `(Outputs, notes)`: sentences on what was done to the inputs.

    Raises:
        ValueError: for a teacher whose inputs or classes are not those of the dataset, NaN, and probabilities that were
            said to be logits.
    """
    x, labels = (array[:examples] for array in getattr(splits, part))
    x, notes = _as_the_teacher_takes_them(x, model, splits.name)
    dense = final_dense(model, splits.num_classes)
    network = model if dense is None else keras.Model(model.inputs, [dense.input, model.outputs[0]])
    try:
        found = network.predict(x, batch_size=BATCH, verbose=0)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Expected a teacher that takes {splits.name!r}, arrays of {x.shape[1:]}. Received: an error of its own "
            f"({_reason(error)})."
        ) from error
    features, predictions = (None, found) if dense is None else found
    if not isinstance(predictions, np.ndarray) or predictions.shape != (len(x), splits.num_classes):
        received = predictions.shape if isinstance(predictions, np.ndarray) else "several outputs"
        raise ValueError(
            f"Expected a teacher of the {splits.num_classes} classes of {splits.name!r}: one output "
            f"({len(x)}, {splits.num_classes}). Received: {received}. Choose another `--dataset`."
        )
    predictions = predictions.astype("float32")
    check_no_nan("the teacher's outputs", predictions, "Was it trained to a NaN loss?")
    return Outputs(labels, logits_of(predictions, from_logits), features), notes


def _as_the_teacher_takes_them(x, model, name):
    """The inputs cropped or reshaped as the model's input asks, and what was done."""
    want, have = getattr(model, "input_shape", None), x.shape[1:]
    if want is None:
        return x, ()
    if isinstance(want, (list, dict)):
        raise ValueError("Expected a teacher of one input. Received: one of several.")
    want = tuple(want)[1:]
    if len(want) == len(have) and all(a in (None, b) for a, b in zip(want, have)):
        return x, ()
    images = len(want) == len(have) == 3 and None not in want
    if images and want[0] == want[1] < min(have[:2]) and want[2] == have[2]:
        said = f"The teacher takes {want[0]}×{want[1]} pixels: it sees the middle of the {have[0]}×{have[1]}."
        return data.center_crop(x, want[0]), (said,)
    if images and want == (have[2], *have[:2]):
        return np.moveaxis(x, -1, 1), (f"The teacher takes {want}: the channels of the {have} were moved first.",)
    if None not in want and math.prod(want) == math.prod(have) and 1 in (len(want), len(have), *want, *have):
        return x.reshape(-1, *want), (f"The teacher takes {want}: the {have} were reshaped.",)
    raise ValueError(
        f"Expected a teacher that takes {name!r}, arrays of {have}. Received: one that takes {want}. Choose the "
        "`--dataset` that it was trained on."
    )
