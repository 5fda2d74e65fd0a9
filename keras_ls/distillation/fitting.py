"""What a Distiller adds to Keras's `fit` and `evaluate`."""

import contextlib
import contextvars
import inspect
import warnings

import keras
import numpy as np

from keras_ls.distillation.distiller_checks import check_scope, one_strategy_advised


class Fitting:
    """Weights without labels, and errors that say what to do about a strategy; XLA where the teachers allow it."""

    def compile(self, *args, **kwargs):
        """As `keras.Model.compile`."""
        super().compile(*args, **kwargs)
        if getattr(self, "optimizer", None) is not None:
            check_scope(self, "the optimizer", self.optimizer.variables)

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`; `sample_weight` counts without labels, too."""
        self._check_scope()
        given = _arguments(super().fit, args, kwargs)
        if given.get("class_weight") is None:
            _keep_weights(given)
        validation = given.get("validation_data")
        if isinstance(validation, (tuple, list)) and len(validation) == 3:
            x, y, weight = validation
            validation = _keep_weights({"x": x, "y": y, "sample_weight": weight})
            given["validation_data"] = tuple(validation.values())
        with one_strategy_advised():
            return super().fit(**given)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; `sample_weight` counts without labels, too."""
        given = _keep_weights(_arguments(super().evaluate, args, kwargs))
        with one_strategy_advised():
            return super().evaluate(**given)

    def train_step(self, *args):
        """As in Keras."""
        return super().train_step(*args[:-1], _without_empty_labels(args[-1]))

    def test_step(self, *args):
        """As in Keras."""
        return super().test_step(*args[:-1], _without_empty_labels(args[-1]))

    def _symbolic_build(self, iterator=None, data_batch=None):
        super()._symbolic_build(iterator, _without_empty_labels(data_batch) if iterator is None else None)

    def _check_scope(self):
        check_scope(self, "the student", self.student.variables)
        check_scope(self, "the projectors", self.trainable_variables)
        if getattr(self, "optimizer", None) is not None:
            check_scope(self, "the optimizer", self.optimizer.variables)

    @property
    def supports_jit(self):
        """Whether XLA can compile the step: Keras asks every layer of a model, of which the teachers are none."""
        teachers = getattr(self, "teacher", None)
        teachers = teachers if isinstance(teachers, list) else [teachers]
        layers = [layer for model in teachers if model is not None for layer in model._flatten_layers()]
        return self._supports_jit and all(layer.supports_jit for layer in layers)

    @supports_jit.setter
    def supports_jit(self, value):
        object.__setattr__(self, "_supports_jit", value)

    def _check_jit(self):
        if self._jit_compile and not self.supports_jit:
            warnings.warn(
                "Expected teachers that XLA can compile, for `jit_compile=True`. Received: one with a layer that it "
                "cannot. Training goes on without XLA.",
                stacklevel=3,
            )
            self.jit_compile = False


def _arguments(method, args, kwargs):
    """Name → argument."""
    given = inspect.signature(method).bind(*args, **kwargs).arguments
    return {**given.pop("kwargs", {}), **given}


def _keep_weights(given):
    """Puts labels of no columns beside weights that have none: Keras drops such weights without a word."""
    x, weight = given.get("x"), given.get("sample_weight")
    if weight is not None and given.get("y") is None:
        leaves = keras.tree.flatten(x)
        if leaves and all(getattr(leaf, "shape", None) for leaf in leaves):  # arrays, no data set
            given["y"] = np.empty((leaves[0].shape[0], 0), "float32")
    return given


def _without_empty_labels(data):
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    return (x, None, weight) if _is_empty(y) else data


def _is_empty(y):
    return not keras.tree.is_nested(y) and len(getattr(y, "shape", None) or ()) == 2 and y.shape[1] == 0


_STEP = contextvars.ContextVar("keras_ls_distiller_step", default=None)  # of this thread: a strategy has one a replica


class DistillerStep:
    """A step under way.

    Args:
        distiller: whose step it is.
        abstract: whether it only tells shapes, so that nothing of its forward pass may be used outside of it.

    Attributes:
        from_teacher: what the teachers said, or None.
        features: the student's features by name, or None.
    """

    def __init__(self, distiller, abstract):
        self.distiller, self.abstract = distiller, abstract
        self.from_teacher = self.features = None


@contextlib.contextmanager
def distiller_step(distiller, abstract=False):
    """A context in which `distiller` runs forward and computes its loss."""
    token = _STEP.set(DistillerStep(distiller, abstract))
    try:
        with _rematerialized_once(distiller) if abstract else contextlib.nullcontext():
            yield _STEP.get()
    finally:
        _STEP.reset(token)


@contextlib.contextmanager
def _rematerialized_once(distiller):
    """Lets layers of a `keras.RematScope` run as others do: where only shapes are told, TensorFlow has a graph.

    A graph takes no keyword arguments for what runs again for its gradient.
    """
    teachers = distiller.teacher if isinstance(distiller.teacher, list) else [distiller.teacher]
    models = [model for model in (distiller.student, *teachers) if model is not None]
    layers = [layer for model in models for layer in model._flatten_layers()]
    modes = [(layer, vars(layer)["_remat_mode"]) for layer in layers if vars(layer).get("_remat_mode") is not None]
    for layer, _ in modes:
        vars(layer)["_remat_mode"] = None  # past Keras's tracking of attributes
    try:
        yield
    finally:
        for layer, mode in modes:
            vars(layer)["_remat_mode"] = mode


def current_step(distiller):
    """The step of `distiller` under way in this thread, or None: a teacher may be a Distiller, too."""
    step = _STEP.get()
    return step if step is not None and step.distiller is distiller else None
