"""The layers of a model by their paths, and what they return while the model runs."""

import contextlib
import contextvars
import difflib
import functools
import threading

import keras


def find_layer(model, path):
    """The layer of `model` at `path`: names from the model down, "encoder/block_2/conv", or the end of that.

    The end is enough where one layer alone has it, so that a bare name finds a layer in a nested model.

    Raises:
        ValueError: for no such layer, naming the nearest paths, and for several.
    """
    layers = list(_paths(model))
    named = [(p, layer) for p, layer in layers if p == path]
    named = named or [(p, layer) for p, layer in layers if p.endswith(f"/{path}")]
    if len({id(layer) for _, layer in named}) == 1:
        return named[0][1]
    if named:
        raise ValueError(
            f"Expected a path to one layer of {model.name!r}. Received: {path!r}, which are "
            f"{', '.join(sorted(repr(p) for p, _ in named))}. Give more of the path."
        )
    paths = [p for p, _ in layers]
    near = difflib.get_close_matches(path, paths, n=3, cutoff=0.5)
    ends = {p.rsplit("/", 1)[-1]: p for p in paths}
    near += [ends[n] for n in difflib.get_close_matches(path.rsplit("/", 1)[-1], ends, n=3) if ends[n] not in near]
    raise ValueError(
        f"Expected the name of a layer of {model.name!r}, or a path through nested models such as "
        f"'encoder/block_2/conv'. Received: {path!r}. "
        + (f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Its layers: {', '.join(map(repr, paths))}.")
    )


def _paths(layer, prefix="", above=()):
    """(path, layer) of everything inside `layer` that runs in its forward pass."""
    inside = layer.layers if isinstance(layer, keras.Model) else layer._flatten_layers(False, recursive=False)
    for child in inside:
        if isinstance(child, keras.layers.InputLayer) or any(child is one for one in above):
            continue
        yield prefix + child.name, child
        yield from _paths(child, f"{prefix}{child.name}/", (*above, layer))


_RECORDS = contextvars.ContextVar("keras_ls_records", default=())  # of this thread: a strategy has one a replica
_LOCK = threading.Lock()
_USERS = {}  # id of a layer: how many records watch it, in all threads


@contextlib.contextmanager
def recorded_outputs(layers):
    """Gives a dictionary that collects what `layers` return within the context: `{id(layer): [outputs]}`.

    For that time each layer has a `call` of its own that notes its result and returns it, so that nothing runs twice,
    masks stay on, and it works wherever the model does. Of a layer that runs again for its gradient
    (`keras.RematScope`) the result of the whole is noted, to which the gradient belongs. The `call` is taken off again
    when the last context that watches the layer ends, whatever happens inside.
    """
    record = {id(layer): [] for layer in layers}
    watched = []
    try:
        for layer in layers:
            _watch(layer)
            watched.append(layer)
        token = _RECORDS.set((*_RECORDS.get(), record))
        try:
            yield record
        finally:
            _RECORDS.reset(token)
    finally:
        for layer in watched:
            _unwatch(layer)


def _method(layer):
    if getattr(layer, "_remat_mode", None) is not None:
        return "rematerialized_call"
    return "call" if getattr(layer, "quantization_mode", None) is None else "quantized_call"


def _watch(layer):
    with _LOCK:
        _USERS[id(layer)] = _USERS.get(id(layer), 0) + 1
        if _USERS[id(layer)] > 1:
            return
        method = getattr(layer, _method(layer))
        noting = _noting(layer, method)
        if _method(layer) == "rematerialized_call":  # which returns a function
            noting = functools.wraps(method)(lambda *args, **kwargs: _noting(layer, method(*args, **kwargs)))
        noting.of_the_instance = vars(layer).get(_method(layer))
        vars(layer)[_method(layer)] = noting  # past Keras's tracking of attributes


def _noting(layer, call):
    @functools.wraps(call)
    def noting(*args, **kwargs):
        outputs = call(*args, **kwargs)
        for record in _RECORDS.get():
            if id(layer) in record:
                record[id(layer)].append(outputs)
        return outputs

    return noting


def _unwatch(layer):
    with _LOCK:
        _USERS[id(layer)] -= 1
        if _USERS[id(layer)] > 0:
            return
        del _USERS[id(layer)]
        noting = vars(layer).pop(_method(layer))
        if noting.of_the_instance is not None:
            vars(layer)[_method(layer)] = noting.of_the_instance


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
