"""Whether what a layer returned is one tensor that a loss can use."""

import keras

_MEND = "Name another layer, or give the Distiller a features function that says which tensor to compare."
_HIDDEN = "If it runs inside a `@tf.function` of the model, take that off: Keras compiles the whole step. "


def one_tensor(model, name, outputs):
    """The only tensor of the only call of a layer, or `ValueError`.

    Args:
        model: the model that ran.
        name: the layer, as the loss names it.
        outputs: what its calls returned.
    """
    if len(outputs) != 1:
        hidden = "" if outputs else _HIDDEN
        raise ValueError(
            f"Expected a layer that runs once in a forward pass of {model.name!r}. Received: {name!r}, which ran "
            f"{len(outputs)} times. {hidden}{_MEND}"
        )
    tensors = keras.tree.flatten(outputs[0])
    if len(tensors) != 1:
        raise ValueError(
            f"Expected a layer of {model.name!r} that returns one tensor. Received: {name!r}, which returns a "
            f"{type(outputs[0]).__name__} of {len(tensors)}. {_MEND}"
        )
    if _is_of_another_graph(tensors[0]):
        raise ValueError(
            f"Expected a layer whose output {model.name!r} can hand on. Received: {name!r}, which runs inside a "
            f"`tf.function`, a loop or a condition of the model, where its tensors stay. {_HIDDEN}{_MEND}"
        )
    return tensors[0]


def check_gradient_flows(model, name, layer):
    """Raises `ValueError` for a `layer` within one that runs again for the gradient, to which no other path leads."""
    for outer in model._flatten_layers():
        if outer is not layer and _is_rematerialized(outer) and any(layer is one for one in outer._flatten_layers()):
            raise ValueError(
                f"Expected a layer whose output has a gradient. Received: {name!r} of {model.name!r}, inside of "
                f"{outer.name!r}, which was made in a `keras.RematScope` and runs again for its gradient. Make "
                f"{outer.name!r} outside of the scope and its layers within, or name a layer that is in no such layer."
            )


def _is_rematerialized(layer):
    mode = getattr(layer, "_remat_mode", None)
    if mode is None or mode.mode == "activations":
        return False
    return mode.mode != "list_of_layers" or layer.name in mode.layer_names


def _is_of_another_graph(tensor):
    if keras.backend.backend() != "tensorflow" or isinstance(tensor, keras.KerasTensor):
        return False
    import tensorflow as tf

    if not tf.is_symbolic_tensor(tensor):
        return False
    return tf.executing_eagerly() or tensor.graph is not tf.compat.v1.get_default_graph()
