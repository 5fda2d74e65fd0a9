"""The penultimate activations of a classifier and the templates of its last layer."""

import keras
import numpy as np
from keras import ops as K


def penultimate(model: keras.Model) -> keras.Model:
    """A model that returns the inputs of the layer "logits" and its outputs: `[N, D]` and `[N, K]`.

    Args:
        model: a functional `keras.Model` with a Dense layer named "logits".

    Returns:
        A `keras.Model` with two outputs; it shares the layers.

    Raises:
        ValueError: when there is no such layer.

    Examples:
        >>> import keras_ls as kls
        >>> [shape[-1] for shape in kls.models.penultimate(kls.models.mlp((64,), 10, widths=(32,))).output_shape]
        [32, 10]
    """
    layer = model.get_layer("logits")
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, [layer.input, layer.output])


def final_dense(model: keras.Model, num_classes: int) -> keras.layers.Dense | None:
    """The Dense layer that gives a classifier's logits, or None where it cannot be found.

    Args:
        model: a `keras.Model`; of subclassed ones nothing is known.
        num_classes: units that it must have.

    Returns:
        The last layer of the model, activations after it left out, if it is Dense with a unit a class.

    Examples:
        >>> import keras_ls as kls
        >>> kls.models.final_dense(kls.models.mlp((64,), 10), 10).name
        'logits'
    """
    elementwise = (keras.layers.Activation, keras.layers.Identity, keras.layers.Softmax)
    if not getattr(model, "inputs", None):
        return None
    tensor = model.outputs[0]
    for layer in reversed(model.layers):
        if layer.output is not tensor:  # another branch, or a layer that is used twice
            return None
        if not isinstance(layer, elementwise):
            break
        tensor = layer.input
    return layer if isinstance(layer, keras.layers.Dense) and layer.units == num_classes else None


def templates(model: keras.Model) -> np.ndarray:
    """The columns of the last layer's kernel, one template a class: `[K, D]`.

    The bias is left out: it shifts a logit by a constant and does not move the plane through the templates.

    Args:
        model: a `keras.Model` with a Dense layer named "logits".

    Returns:
        NumPy `[K, D]`.

    Examples:
        >>> import keras_ls as kls
        >>> kls.models.templates(kls.models.mlp((64,), 10, widths=(32,))).shape
        (10, 32)
    """
    return K.convert_to_numpy(model.get_layer("logits").kernel.value).T
