"""Which outputs of a Keras model are probabilities, as far as its layers tell."""

import keras

# what moves or converts numbers, by class name: layers, and operations of keras.ops
_PASSED = {
    *("Identity", "Reshape", "Flatten", "Permute", "Dropout", "ActivityRegularization", "Average"),
    *("Cast", "Squeeze", "ExpandDims", "Transpose", "Moveaxis", "Swapaxes", "Ravel", "GetItem", "Copy", "StopGradient"),
    "Clip",
}
_ACTIVATIONS = {
    "softmax": "softmax",
    "sparsemax": "softmax",
    "sigmoid": "sigmoid",
    "hardsigmoid": "sigmoid",
}


def probability_outputs(model):
    """Yields `(activation, layer name, shape)` of each output of a model that a softmax or sigmoid makes.

    Nested models are followed, and so are layers and operations that only move or convert numbers. A model that keeps
    no graph, such as a subclassed one, tells nothing.

    Args:
        model: a `keras.Model`; of a Distiller, its student.

    Examples:
        >>> import keras
        >>> from keras_ls.ops._output_layers import probability_outputs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Softmax(name="end")])
        >>> list(probability_outputs(keras.Sequential([model, keras.layers.Reshape((3, 1))])))
        [('softmax', 'end', (None, 3, 1))]
    """
    model = getattr(model, "student", model)
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    if not outputs and isinstance(model, keras.Sequential):
        yield from _of_last_layer(model)
    for tensor in outputs:
        yield from _of_tensor(tensor)


def activation_of(tensor):
    """`"softmax"`, `"sigmoid"` or None: what made a symbolic Keras tensor."""
    return next((activation for activation, _, _ in _of_tensor(tensor)), None)


def _of_tensor(tensor):
    if getattr(tensor, "_keras_history", None) is not None:
        operation = _origin(tensor)
        activation = _activation(operation)
        if activation is not None:
            yield activation, operation.name, tuple(tensor.shape)


def _of_last_layer(model):
    """Of a Sequential model whose inputs are not known yet."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            yield from probability_outputs(layer)
            return
        if not _passes(layer):
            activation = _activation(layer)
            if activation is not None:
                yield activation, layer.name, (None, getattr(layer, "units", None))
            return


def _origin(tensor):
    """The operation that gave a symbolic tensor its numbers; an InputLayer where a model hands its input on."""
    while True:
        operation, node, index = tensor._keras_history
        inside = None
        if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
            inside = _origin(keras.tree.flatten(operation.outputs)[index])
        if not _passes(operation) and not isinstance(inside, keras.layers.InputLayer):
            return inside or operation
        tensor = operation._inbound_nodes[node].input_tensors[0]


def _passes(operation):
    linear = isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
    return linear or type(operation).__name__ in _PASSED


def _activation(operation):
    """`"softmax"`, `"sigmoid"` or None, by the name of a layer, an operation or the activation of a layer."""
    if isinstance(operation, keras.layers.TimeDistributed):
        found = probability_outputs(operation.layer) if isinstance(operation.layer, keras.Model) else ()
        return next((activation for activation, _, _ in found), None) or _activation(operation.layer)
    known = _ACTIVATIONS.get(_name(operation))
    if known is not None or isinstance(operation, keras.layers.RNN):
        return known
    function = getattr(operation, "activation", None) or getattr(operation, "function", None)
    return None if function is None else _ACTIVATIONS.get(_name(function))


def _name(thing):
    thing = getattr(thing, "func", thing)  # of a functools.partial
    name = type(thing).__name__ if isinstance(thing, keras.Operation) else getattr(thing, "__name__", None)
    return (name or type(thing).__name__).lower().removesuffix("_v2").replace("_", "")
