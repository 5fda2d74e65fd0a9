"""Floating-point operations of a forward pass."""

import math
import warnings

import keras
from keras import layers

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


def flops(model: keras.Model) -> int:
    """Floating-point operations of one forward pass for one example: two for each multiplication with its addition.

    A convolution has `2 · places · size of its kernel` with the places of its output (of a transposed one: its input),
    a Dense layer `2 · places · D · K`. What is shared counts as often as it is called. All other layers count 0, and so
    do biases, activations, pooling and normalization: some percent at most in the networks here. Of layers with
    matrices that count 0, such as LSTM and MultiHeadAttention, a warning tells.

    Papers that count multiply-adds give half of this, also where they write FLOPs.

    Args:
        model: a functional or sequential `keras.Model` whose inputs have a known shape; models in it count, too.

    Returns:
        The number, an int.

    Raises:
        ValueError: for a model whose layers' shapes are not known: a subclassed one, or one of any image size.

    Examples:
        64·32 + 32·10 multiply-adds.

        >>> import keras_ls as kls
        >>> kls.models.flops(kls.models.mlp((64,), 10, widths=(32,)))
        4736
    """
    uncounted = {}
    count = 2 * _multiply_adds(model, uncounted)
    if uncounted:
        warnings.warn(
            "Expected layers whose operations are counted: Dense, convolutions, and those without matrices. Received: "
            f"{', '.join(f'{name!r} ({kind})' for name, kind in uncounted.items())}, which count 0.",
            stacklevel=2,
        )
    return count


def _multiply_adds(model, uncounted):
    graph = getattr(model, "_functional", None) or model  # of a sequential model
    if not hasattr(graph, "_nodes_by_depth"):
        raise ValueError(
            f"Expected a functional or sequential model that is built. Received: {model.name!r}, a "
            f"{type(model).__name__}. Count the parts of a subclassed one."
        )
    total = 0
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:  # a call of a layer
            layer = node.operation
            if isinstance(layer, keras.Model):
                total += _multiply_adds(layer, uncounted)
            elif isinstance(layer, layers.Dense):
                total += _places(node.output_tensors[0], -1, layer) * math.prod(layer.kernel.shape)
            elif isinstance(layer, CONVOLUTIONS):
                total += _places(node.output_tensors[0], _channels(layer), layer) * math.prod(layer.kernel.shape)
            elif isinstance(layer, TRANSPOSED):
                total += _places(node.input_tensors[0], _channels(layer), layer) * math.prod(layer.kernel.shape)
            elif isinstance(layer, SEPARABLE):
                kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
                total += _places(node.output_tensors[0], _channels(layer), layer) * kernels
            elif not isinstance(layer, layers.Embedding) and any(
                len(weight.shape) > 1 for weight in getattr(layer, "weights", [])
            ):
                uncounted[layer.name] = type(layer).__name__
    return total


def _channels(layer):
    return -1 if layer.data_format == "channels_last" else 1


def _places(tensor, channels, layer):
    """Where a kernel is applied: the product of what is neither the batch nor the channels."""
    sizes = list(tensor.shape)
    del sizes[channels], sizes[0]
    if None in sizes:
        raise ValueError(
            f"Expected a model whose inputs have a known shape. Received: {layer.name!r} with {tuple(tensor.shape)}. "
            "Build it with a size."
        )
    return math.prod(sizes)
