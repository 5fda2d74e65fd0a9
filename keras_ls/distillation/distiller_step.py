"""What the forward pass of a Distiller's step hands to its loss."""

import contextlib
import contextvars

_STEP = contextvars.ContextVar("keras_ls_distiller_step", default=None)  # of this thread: a strategy has one a replica


class DistillerStep:
    """A step under way.

    Args:
        distiller: whose step it is.
        abstract: whether it only tells shapes, so that nothing of its forward pass may be used outside of it.

    Attributes:
        taught: what the teachers said, or None.
        features: the student's features by name, or None.
    """

    def __init__(self, distiller, abstract):
        self.distiller, self.abstract = distiller, abstract
        self.taught = self.features = None


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
