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
            `keras.InputSpec` or `keras.KerasTensor`, with None for an optional input that is left out; None for what
            the model knows of its inputs.

    Raises:
        ValueError: for a model that is not built, or is called on several arguments; for another `given`; and for a
            subclassed model that makes integers or text of its inputs, whose dtypes nothing tells.
    """
    _check_one_argument(model)
    inputs = getattr(model, "inputs", None)
    if not inputs:
        _check_built_whole(model)
    if given is not None:
        return _given(given)
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


def without_missing(signature):
    """The signature of what is served, and a function that puts None in the place of the optional inputs left out.

    Args:
        signature: what `input_signature` returns.
    """
    specs = keras.tree.flatten(signature)
    if None not in specs:
        return signature, lambda inputs: inputs
    present = {spec.name: spec for spec in specs if spec is not None}
    return present, lambda inputs: keras.tree.pack_sequence_as(
        signature, [None if spec is None else inputs[spec.name] for spec in specs]
    )


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
        if node is None:  # an optional input that is left out
            return None
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
    leaves = [leaf for leaf in keras.tree.flatten(signature) if leaf is not None]
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


def _check_built_whole(model):
    """Raises for a model first called without an optional input: Keras then exports it with a value there."""
    shape = _built_shape(model)
    if shape is not None and True in keras.tree.flatten(keras.tree.map_shape_structure(lambda s: s is None, shape)):
        raise ValueError(
            f"Expected a model whose first call had all its inputs. Received: {type(model).__name__} {model.name!r}, "
            f"first called on inputs of shapes {shape}. Make it anew, call it once on all inputs, load its weights, "
            "and pass `input_signature` with None for what is to be left out."
        )


def _check_takes_floats(model, specs):
    """Raises for a model that makes something else of floats: as such, integers above 2²⁴ would lose their last digits.

    Keras keeps no dtypes of what a subclassed model was called on.
    """
    refused = "Expected `input_signature` for a subclassed model whose inputs are no floats. Received: none, and"
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # which puts what a tf.function of the model does into this one graph
    try:
        graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(specs).graph
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{refused} {type(model).__name__} {model.name!r} cannot be called on floats ({reason:.200}). {_ADVICE}"
        ) from error
    finally:
        tf.config.run_functions_eagerly(eagerly)
    reached = [tensor for tensor in graph.inputs if tensor.dtype.is_floating]
    while reached:
        for operation in reached.pop().consumers():
            if operation.type in _MOVES:
                reached += operation.outputs
            elif any(not output.dtype.is_floating for output in operation.outputs if operation.type == "Cast"):
                raise ValueError(
                    f"{refused} {type(model).__name__} {model.name!r} makes something else of floats. {_ADVICE}"
                )
