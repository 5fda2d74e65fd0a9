"""What a Distiller asks of its arguments."""

import numbers
import warnings

import keras

from keras_ls.distillation.keras_distillation_loss import KERAS_DISTILLATION_LOSSES


def checked_losses(losses):
    """Returns a list of losses, or of dictionaries `{output: loss}`, or raises `ValueError`."""
    losses = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    for entry in losses:
        for loss in entry.values() if isinstance(entry, dict) else [entry]:
            if not isinstance(loss, (keras.losses.Loss, *KERAS_DISTILLATION_LOSSES)):
                raise ValueError(
                    "Expected `distillation_losses` to be a loss such as keras_ls.distillation.LogitsDistillation(), a "
                    f"list of them, or of dictionaries {{output: loss}}. Received: {loss!r}."
                )
    if not all(losses):
        raise ValueError("Expected a loss for an output or more in each dictionary {output: loss}. Received: {}.")
    return losses


def checked_teacher(teacher):
    """Returns a model, a list of models or None, or raises `ValueError`."""
    several = isinstance(teacher, (list, tuple))
    for model in teacher if several else [teacher]:
        if not (model is None and not several) and not isinstance(model, keras.Model):
            raise ValueError(
                "Expected `teacher` to be a keras.Model or None, or a list of models. "
                f"Received: {type(model).__name__}."
            )
    if several and not teacher:
        raise ValueError("Expected at least one teacher in the list. Received: an empty list.")
    return list(teacher) if several else teacher


def checked_teacher_shares(weights, count):
    """Returns the weights of `count` teachers, divided by their sum, or raises `ValueError`."""
    if weights is None:
        return [1 / count] * count
    weights = checked_weights("teacher_weights", weights)
    if len(weights) != count or sum(weights) <= 0:
        raise ValueError(
            f"Expected one `teacher_weights` entry a teacher, {count}, with a sum above 0. Received: {weights}."
        )
    return [weight / sum(weights) for weight in weights]


def checked_weights(name, values):
    """Returns a list of floats of at least 0, or raises `ValueError`."""
    values = values.tolist() if hasattr(values, "tolist") else values  # NumPy
    return [_checked_weight(name, value) for value in keras.tree.flatten(values)]


def _checked_weight(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < float("inf"):
        raise ValueError(f"Expected `{name}` of at least 0. Received: {value!r}.")
    return float(value)


def checked_share(value):
    """Returns `student_loss_weight` as a float in [0, 1], or raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"Expected `student_loss_weight` in [0, 1]. Received: {value!r}.")
    return float(value)


def warn_of_softmax(role, model, terms):
    """Warns where what a loss takes for logits comes out of a softmax, as far as layers tell: not in subclasses."""
    losses = [term.name for term in terms if term.takes_logits]
    layers = [layer for layer in _output_layers(model) if _is_softmax(layer)] if losses else []
    if layers:
        warnings.warn(
            f"Expected a {role} that returns logits, for {losses[0]!r}. Received: one that ends in a softmax, in its "
            f"layer {layers[0].name!r}. Take the softmax off, and let other losses and metrics know: from_logits=True.",
            stacklevel=3,
        )


def _is_softmax(layer):
    # by name: of the layer, or of the operation of keras.ops
    return type(layer).__name__ == "Softmax" or getattr(layer, "activation", None) is keras.activations.softmax


def _output_layers(model):
    """What makes the outputs, but for conversions of their dtype."""
    for tensor in keras.tree.flatten(getattr(model, "outputs", None) or []):
        layer, node, _ = tensor._keras_history
        while isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear:
            layer, node, _ = layer._inbound_nodes[node].input_tensors[0]._keras_history
        if isinstance(layer, keras.Model):
            yield from _output_layers(layer)
        else:
            yield layer
