"""What an exported model is given: the names, shapes and dtypes of its inputs."""

import inspect
import itertools
import re

import keras
import tensorflow as tf

# operations of a TensorFlow graph that move numbers and change none
_MOVES = {"Identity", "Reshape", "ExpandDims", "Squeeze", "Transpose", "StridedSlice", "ConcatV2", "Pack", "Unpack"}
_ADVICE = (
    "Pass `input_signature`, such as [tf.TensorSpec((None, 128), 'int64')]: a tensor, or a dict or list of them, as "
    "the model is called."
)


def input_signature(model, given=None):
    """TensorSpecs in the structure of the model's inputs, with distinct names.

    Args:
        model: a built `keras.Model`.
        given: as `keras.Model.export` takes it, a list of the one structure the model is called on, of `tf.TensorSpec`,
            `keras.InputSpec` or `keras.KerasTensor`; None for what the model knows of its inputs.

    Raises:
        ValueError: for a model that is not built, or is called on several arguments; for another `given`; and for a
            subclassed model that makes integers or text of its inputs, whose dtypes nothing tells.
    """
    _check_one_argument(model)
    if given is not None:
        return _given(given)
    inputs = getattr(model, "inputs", None)
    if inputs:
        names = _Names(lambda shape: (None, *shape[1:]))
        return names.specs(inputs[0] if isinstance(model, keras.Sequential) else model.input)
    shape = _built_shape(model)
    if not model.built or shape is None:
        raise ValueError(
            f"Expected a built model. Received: {type(model).__name__} {model.name!r}, whose inputs are not known yet. "
            "Call it once on a batch, or fit it, before the export; or pass `input_signature`."
        )
    dtype = "float64" if model.input_dtype == "float64" else "float32"
    found = _Names(lambda shape: (None, *shape[1:]), dtype).specs(shape)
    _check_takes_floats(model, found)
    return found


class _Names:
    """Makes specs with names that are distinct and that TensorFlow takes."""

    def __init__(self, shape, dtype=None):
        self._shape, self._dtype, self._used = shape, dtype, set()

    def spec(self, name, shape, dtype):
        base = re.sub(r"\W", "_", name or "inputs", flags=re.ASCII).lstrip("_") or "inputs"
        candidates = itertools.chain([base], (f"{base}_{i}" for i in itertools.count(1)))
        self._used.add(distinct := next(name for name in candidates if name not in self._used))
        return tf.TensorSpec(self._shape(shape), dtype, distinct)

    def specs(self, node, name=""):
        if hasattr(node, "dtype") and hasattr(node, "shape"):
            return self.spec(name, node.shape, node.dtype or "float32")
        if isinstance(node, dict):
            return {key: self.specs(value, f"{name}_{key}" if name else str(key)) for key, value in node.items()}
        if set(map(type, node)) <= {int, type(None)}:  # a shape
            return self.spec(name, node, self._dtype)
        if len(node) == 1:
            return [self.specs(node[0], name)]
        return [self.specs(value, f"{name or 'inputs'}_{i}") for i, value in enumerate(node)]


def _given(signature):
    leaves = keras.tree.flatten(signature)
    known = all(isinstance(leaf, (tf.TensorSpec, keras.InputSpec, keras.KerasTensor)) for leaf in leaves)
    if not isinstance(signature, (list, tuple)) or len(signature) != 1 or not known or not leaves:
        raise ValueError(
            "Expected `input_signature` as a list of the one argument that the model is called on, of tf.TensorSpec. "
            f"Received: {signature!r}. {_ADVICE}"
        )
    if any(leaf.shape is None for leaf in leaves):
        raise ValueError(f"Expected `input_signature` with shapes. Received: {signature!r}.")
    return _Names(tuple).specs(signature[0])


def _check_one_argument(model):
    required = [
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    if len(required) > 1:
        raise ValueError(
            "Expected a model that is called on one argument: a tensor, or a dict or list of them. "
            f"Received: {type(model).__name__}.call({', '.join(required)}). Put its inputs into one dict."
        )


def _built_shape(model):
    """The shape, or structure of shapes, that a subclassed model was first called on; None if there is none."""
    config = model.get_build_config() or {}
    return config.get("input_shape", next(iter(config.get("shapes_dict", {}).values()), None))


def _check_takes_floats(model, specs):
    """Raises for a model that makes something else of floats: as such, integers above 2²⁴ would lose their last digits.

    Keras keeps no dtypes of what a subclassed model was called on.
    """
    refused = "Expected `input_signature` for a subclassed model whose inputs are no floats. Received: none, and"
    try:
        graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(specs).graph
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{refused} {type(model).__name__} {model.name!r} cannot be called on floats ({reason:.200}). {_ADVICE}"
        ) from error
    reached = [tensor for tensor in graph.inputs if tensor.dtype.is_floating]
    while reached:
        for operation in reached.pop().consumers():
            if operation.type in _MOVES:
                reached += operation.outputs
            elif any(not output.dtype.is_floating for output in operation.outputs if operation.type == "Cast"):
                raise ValueError(
                    f"{refused} {type(model).__name__} {model.name!r} makes something else of floats. {_ADVICE}"
                )
