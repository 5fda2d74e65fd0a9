"""A calibrated classifier as a plain TensorFlow SavedModel: served without Keras and without this package."""

import contextlib
import logging
import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf
from keras import ops as K

from keras_ls.calibrators.calibrator import Calibrator
from keras_ls.distillation import Distiller
from keras_ls.export_inputs import input_signature as inputs_of
from keras_ls.export_inputs import without_missing
from keras_ls.files import check_writable, local_path
from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_flag
from keras_ls.ops._logits import LogitsCheck, as_logits, is_binary
from keras_ls.ops._types import PathLike

__all__ = ["export_saved_model"]


def __dir__():
    return __all__


# what TensorFlow writes; anything else in the directory is the user's
_SAVED_MODEL_PARTS = {
    "saved_model.pb",
    "saved_model.pbtxt",
    "fingerprint.pb",
    "variables",
    "assets",
    "keras_metadata.pb",
}


def export_saved_model(
    model: keras.Model,
    path: PathLike,
    calibrator: keras.layers.Layer | None = None,
    from_logits: bool = True,
    input_signature: list | None = None,
) -> pathlib.Path:
    """Writes a TensorFlow SavedModel that returns calibrated logits, probabilities, confidence and class.

    `logits = calibrator(model(x))`, `probabilities = softmax(logits)`, `confidence = max(probabilities)`,
    `class = argmax(logits)`. A model with one logit an example (`[N, 1]` or `[N]`) has `p = sigmoid(logits)`, P(y=1),
    as its probabilities, of the shape of its logits; `confidence = max(p, 1 - p)`; class 1 where p > 0.5, else 0.

    The signature is `serving_default` (and `serve`, as Keras has it). The batch size is free. One input is named
    `inputs`; those of a dict have its keys, those of a list `inputs_0`, `inputs_1`, ... A subclassed model keeps no
    dtypes: its inputs are served as floats, of the shape of its first call but for the batch, unless `input_signature`
    says more; one that makes integers or text of them is refused without.

    All is written beside the directory, which is then replaced by renaming; a failure leaves the old one as it was.
    Files in it that TensorFlow did not write, such as a provenance record, stay.

    Args:
        model: a built `keras.Model` with one output: `[N, K]` (or `[..., K]`, classes last), `[N, 1]` or `[N]`; of a
            `keras_ls.Distiller`, the student is written.
        path: a local directory: new, empty, or a SavedModel to replace.
        calibrator: a `keras.layers.Layer` from logits to logits of the same shape, such as a fitted
            `keras_ls.calibrators.TemperatureScaling`; None leaves the logits as they are. One of this package with
            `from_logits=False` is given probabilities.
        from_logits: whether the model returns logits (default) or probabilities. The logits of probabilities are
            `log p`, or `log p - log(1 - p)` for a single one, with p clipped at Keras's epsilon, 1e-7.
        input_signature: the inputs as `keras.Model.export` takes them: a list of the one structure of `tf.TensorSpec`
            that the model is called on, such as `[tf.TensorSpec((None, 128), "int64")]`, in which None leaves out an
            optional input; None for what the model knows.

    Returns:
        The path, a `pathlib.Path` with `~` expanded. The signature's outputs: `logits` and `probabilities` of the shape
        of the model's output, `confidence` and `class` (int64) without the class axis; float32, or float64 for a
        float64 model.

    Raises:
        ValueError: for what is not a model, an unbuilt one, several outputs, an integer output, a calibrator that is no
            layer, is not fitted (and changes nothing) or changes the shape; for inputs that nothing tells; and for a
            path that holds anything but a SavedModel.
        OSError: where the path cannot be written.
        RuntimeError: on a Keras backend other than TensorFlow.

    Warns:
        UserWarning: for a model that ends in a softmax (or, of one logit, in a sigmoid), with `from_logits=True`.

    Examples:
        >>> import tempfile, keras, tensorflow as tf, keras_ls as kls
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="zeros")])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = kls.export.export_saved_model(model, f"{folder}/mine", kls.calibrators.TemperatureScaling(2.0))
        ...     served = tf.saved_model.load(path).signatures["serving_default"](inputs=tf.zeros((2, 4)))
        >>> sorted(served)
        ['class', 'confidence', 'logits', 'probabilities']
        >>> round(float(served["confidence"][0]), 4)
        0.3333

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, for what the calibrator is for.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Expected the TensorFlow backend, which writes SavedModels. Received: {keras.backend.backend()!r}. "
            "Save the model as .keras, and export it with KERAS_BACKEND=tensorflow."
        )
    if isinstance(model, Distiller):
        model = model.student
    if not isinstance(model, keras.Model):
        raise ValueError(f"Expected `model` to be a keras.Model. Received: {model!r}.")
    checked_flag("from_logits", from_logits)
    if calibrator is not None and not isinstance(calibrator, keras.layers.Layer):
        raise ValueError(
            "Expected `calibrator` to be a keras.layers.Layer from logits to logits, such as a fitted "
            f"kls.calibrators.TemperatureScaling, or None. Received: {calibrator!r}."
        )
    if isinstance(calibrator, Calibrator) and calibrator.fit_report is None and _changes_nothing(calibrator):
        raise ValueError(
            f"Expected a fitted calibrator. Received: {type(calibrator).__name__} {calibrator.name!r}, which was not "
            "fitted and changes nothing. Fit it first, or leave it out."
        )
    target = _checked_target(path)
    signature, with_missing = without_missing(inputs_of(model, input_signature))

    check = LogitsCheck("export_saved_model")
    if from_logits:
        check.see_model(model)

    def serve(inputs):
        output = _single_output(model(with_missing(inputs), training=False))
        if from_logits:
            check.see(output)
        output = at_least_float32(output)
        logits = as_logits(output, from_logits, is_binary(output))
        if calibrator is None:
            return _outputs(logits)
        if not getattr(calibrator, "from_logits", True):
            return _outputs(_calibrated(calibrator, _outputs(logits)["probabilities"] if from_logits else output))
        if check.found and hasattr(calibrator, "logits_check"):
            calibrator.logits_check.done = True  # of what is said already
        return _outputs(_calibrated(calibrator, logits))

    with _quiet():
        archive = keras.export.ExportArchive()
        archive.track(model)
        endpoint = archive.add_endpoint("serve", serve, input_signature=[signature])
        endpoint.get_concrete_function()  # errors of the model come before anything is written
        with _replacing(target) as new:
            try:
                archive.write_out(str(new), verbose=False)
            except tf.errors.OpError as error:
                raise OSError(f"Expected to write a SavedModel to {target}. Received: {error.message}") from error
    return local_path("path", path)


def _changes_nothing(calibrator):
    """Whether a calibrator of this package gives back the logits that it is given."""
    classes = getattr(calibrator, "classes", None) or getattr(calibrator, "num_classes", None) or 3
    logits = np.random.default_rng(0).normal(size=(16, classes)).astype("float32")
    logits = logits[:, 0] if classes == 1 else logits
    if not calibrator.built:
        return True
    given = (
        logits if calibrator.from_logits else K.convert_to_numpy(_outputs(K.convert_to_tensor(logits))["probabilities"])
    )
    axis = calibrator.axis
    if classes > 1 and axis not in (-1, 1):
        given = np.moveaxis(given[(..., *[None] * (max(2, axis + 1, -axis) - 2))], 1, axis)
    silent, calibrator.logits_check.done = calibrator.logits_check.done, True
    found = K.convert_to_numpy(calibrator(given))
    calibrator.logits_check.done = silent
    before, after = (_outputs(K.convert_to_tensor(x))["probabilities"] for x in (logits, found.reshape(logits.shape)))
    return bool(np.abs(before - after).max() < 1e-6)


def _single_output(outputs):
    tensors = keras.tree.flatten(outputs)
    if len(tensors) != 1:
        names = f" ({', '.join(map(str, outputs))})" if isinstance(outputs, dict) else ""
        raise ValueError(
            f"Expected a model with one output: [N, K], [N, 1] or [N]. Received: {len(tensors)} outputs{names}. "
            "Export keras.Model(model.inputs, the output to serve)."
        )
    output = tensors[0]
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(output.dtype)) or not output.shape.rank:
        raise ValueError(
            "Expected logits or probabilities, floats of shape [N, K], [N, 1] or [N]. "
            f"Received: {output.dtype.name} of shape {tuple(output.shape)}."
        )
    return output


def _calibrated(calibrator, logits):
    weights = len(calibrator.weights)
    calibrated = calibrator(logits)
    if len(calibrator.weights) > weights:
        raise ValueError(
            f"Expected a fitted calibrator. Received: {type(calibrator).__name__} {calibrator.name!r}, whose weights "
            "were not made yet. Fit it first."
        )
    if not tf.is_tensor(calibrated) or calibrated.shape.as_list() != logits.shape.as_list():
        raise ValueError(
            f"Expected a calibrator from logits to logits, of shape {tuple(logits.shape)}. "
            f"Received: {tuple(getattr(calibrated, 'shape', [type(calibrated).__name__]))}."
        )
    return at_least_float32(calibrated)


def _outputs(logits):
    if is_binary(logits):
        probabilities = K.sigmoid(logits)
        z = logits if len(logits.shape) == 1 else K.squeeze(logits, axis=-1)
        confidence, decision = K.sigmoid(K.abs(z)), z > 0
    else:
        probabilities = K.softmax(logits, axis=-1)
        confidence, decision = K.max(probabilities, axis=-1), tf.argmax(logits, axis=-1)
    return {
        "logits": logits,
        "probabilities": probabilities,
        "confidence": confidence,
        "class": tf.cast(decision, "int64"),
    }


def _checked_target(path):
    if "://" in str(path):
        raise ValueError(f"Expected a local directory. Received: {path}. Export to a local one, and copy it there.")
    target = local_path("path", path).resolve()
    if target.is_dir():
        others = sorted(entry.name for entry in target.iterdir())
        if others and not tf.saved_model.contains_saved_model(str(target)):
            raise ValueError(
                f"Expected `path` to be new, empty or a SavedModel. Received: {path}, a directory with {others[0]}"
                f"{f' and {len(others) - 1} more' if others[1:] else ''}. Choose another, or delete it first."
            )
    elif target.exists():
        raise ValueError(f"Expected `path` to be a directory. Received: {path}, which is a file. Choose another.")
    check_writable(target.parent)
    return target


@contextlib.contextmanager
def _replacing(target):
    """Yields a new path beside `target`; what is written there takes its place when the block succeeds."""
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        _remove_empty(made)
        raise OSError(
            error.errno, f"Expected a writable `path`. Received: {target}: {error.strerror}. Choose another"
        ) from error
    new, old = work / "new", work / "old"
    try:
        yield new
        if target.exists():
            for entry in target.iterdir():
                if entry.name not in _SAVED_MODEL_PARTS:
                    (shutil.copytree if entry.is_dir() else shutil.copy2)(entry, new / entry.name)
        try:
            if target.exists():
                os.rename(target, old)
            os.rename(new, target)
        except BaseException:
            if old.exists() and not target.exists():
                os.rename(old, target)
            raise
    finally:
        if target.exists() or not old.exists():
            shutil.rmtree(work, ignore_errors=True)
        _remove_empty(made)


def _remove_empty(directories):
    for directory in directories:  # the innermost first
        with contextlib.suppress(OSError):
            directory.rmdir()


@contextlib.contextmanager
def _quiet():
    """Keeps TensorFlow's notes on where it writes assets off the screen; errors still show."""
    loggers = [tf.get_logger(), logging.getLogger("absl")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
