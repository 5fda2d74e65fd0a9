"""Losses whose first argument is a target, a probability, where a teacher may return logits."""

import dataclasses
import functools
import math

import keras

from keras_ls.losses.binary_smoothed_crossentropy import BinarySmoothedCrossentropy
from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.ops._checks import concrete

# the functions of Keras's losses, and the largest value that a target may have
_LARGEST = {
    "kl_divergence": 1.0,
    "categorical_crossentropy": 1.0,
    "categorical_focal_crossentropy": 1.0,
    "binary_crossentropy": 1.0,
    "binary_focal_crossentropy": 1.0,
    "dice": 1.0,
    "tversky": 1.0,
    "poisson": math.inf,
}
_MEND = (
    "Take keras_ls.distillation.LogitsDistillation(), which compares logits (BinaryLogitsDistillation() where a "
    "sigmoid follows them), or let the {role} end in a softmax or sigmoid."
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a loss takes its arguments for.

    Args:
        name: of the loss.
        largest: probability, or rate, that there is.
        student: whether the student's outputs have to be probabilities, too.
    """

    name: str
    largest: float
    student: bool


def asked(loss):
    """What `loss` takes for probabilities: an `Asked`, or None for nothing, as for a `call` of a user's own."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None
    if type(loss).__module__.startswith("keras.") and hasattr(loss, "compute_loss"):  # of keras.distillation
        softened = keras.losses.KLDivergence if type(loss).__name__ == "LogitsDistillation" else ()
        inner = [one for one in keras.tree.flatten(loss.loss) if not isinstance(one, softened)]
        return next(filter(None, map(asked, inner)), None)
    if isinstance(loss, (ClassificationLoss, BinarySmoothedCrossentropy)):
        return Asked(type(loss).__name__, 1.0, not loss.from_logits)
    options = {}
    if isinstance(loss, keras.losses.Loss):
        if type(loss).call is not keras.losses.KLDivergence.call:
            return None
        loss, options = loss.fn, loss._fn_kwargs
    elif isinstance(loss, functools.partial):
        loss, options = loss.func, loss.keywords
    name = getattr(loss, "__name__", None)
    if name not in _LARGEST or not loss.__module__.startswith("keras."):
        return None
    return Asked(name, _LARGEST[name], not options.get("from_logits", False))


def check_layers(role, model, terms):
    """Raises `ValueError` for a `model` that returns logits, as its last layers tell, to a loss of probabilities."""
    for term in terms:
        expected = asked(term.compared)
        named = term.output is not None or any(getattr(term, f"{role}_layers")())
        if expected is None or named or (role == "student" and not expected.student):
            continue
        for layer in _last_layers(model):
            if getattr(layer, "activation", None) is keras.activations.linear:
                raise ValueError(
                    f"Expected a {role} that returns probabilities, for {expected.name!r}. Received: one that returns "
                    f"logits, of its layer {layer.name!r} without activation. {_MEND.format(role=role)}"
                )


def _last_layers(model):
    """What makes the outputs, but for conversions of their dtype; nothing of a subclass."""
    for tensor in keras.tree.flatten(getattr(model, "outputs", None) or []):
        layer, node, _ = tensor._keras_history
        while isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear:
            layer, node, _ = layer._inbound_nodes[node].input_tensors[0]._keras_history
        if isinstance(layer, keras.Model):
            yield from _last_layers(layer)
        else:
            yield layer


def check_values(loss, teacher, student):
    """Raises `ValueError` for outputs that `loss` takes for probabilities and that are none.

    In a TensorFlow graph `InvalidArgumentError` when it runs; compiled by XLA, or on JAX, nothing.
    """
    expected = asked(loss)
    if expected is not None:
        _check_values("teacher", teacher, expected)
        if expected.student:
            _check_values("student", student, expected)


def _check_values(role, outputs, expected):
    allowed = "[0, 1]" if expected.largest == 1 else "[0, ∞)"
    message = f"Expected outputs of the {role} in {allowed}, for {expected.name!r}. Received: {{}}. " + _MEND.format(
        role=role
    )
    for output in keras.tree.flatten(outputs):
        values = concrete(output)
        if values is not None:
            wrong = (values < -1e-3) | (values > expected.largest + 1e-3)
            if wrong.any():
                raise ValueError(message.format(values[wrong].flat[0]))
        elif keras.backend.backend() == "tensorflow" and not isinstance(output, keras.KerasTensor):
            import tensorflow as tf

            least, most = tf.reduce_min(output), tf.reduce_max(output)
            wrong = (least < -1e-3) | (most > expected.largest + 1e-3)
            tf.raw_ops.Assert(condition=~wrong, data=[message.format("others"), least, most])
