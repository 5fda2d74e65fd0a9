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
        yield _STEP.get()
    finally:
        _STEP.reset(token)


def current_step(distiller):
    """The step of `distiller` under way in this thread, or None: a teacher may be a Distiller, too."""
    step = _STEP.get()
    return step if step is not None and step.distiller is distiller else None
