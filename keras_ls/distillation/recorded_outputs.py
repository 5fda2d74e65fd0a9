"""What chosen layers return while their model runs."""

import contextlib
import contextvars
import functools
import threading

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
