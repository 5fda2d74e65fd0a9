"""The layers that distillation losses train along with the student."""

import keras


class Projectors(keras.layers.Layer):
    """Holds the projectors of a Distiller's losses, which it trains and saves beside the student.

    Args:
        terms: the terms whose losses have a `build` of their own.

    Attributes:
        shapes: the shapes that the losses are built for, (teacher's, student's) each; None before.
    """

    def __init__(self, terms):
        super().__init__(name="projections")
        self._terms = tuple(terms)
        self.projectors = []
        self.shapes = None

    def build(self, shapes):
        """Builds the losses.

        Raises:
            ValueError: for a loss that has a projector of another distiller, from whose training it would go on.
        """
        for term in self._terms:
            if getattr(term.loss, "auto", False) and term.loss.projector is not None:
                raise ValueError(
                    f"Expected a new loss for every Distiller. Received: {term.name!r}, which has its projector from "
                    'before. To share one on purpose, give the losses a layer of yours in place of projector="auto".'
                )
        self.shapes = [[_tuples(shape) for shape in pair] for pair in shapes]
        for term, pair in zip(self._terms, self.shapes):
            term.loss.build(*pair)
            if term.loss.projector is not None:
                self.projectors.append(term.loss.projector)

    def build_for(self, from_teacher, from_student, names=None):
        """Builds the losses for what a teacher and the student return, `(outputs, features)` each, the first time.

        `names` are those of the outputs in a list.
        """
        if not self.built:
            self.build([term.shapes(from_teacher, from_student, names) for term in self._terms])


def _tuples(shape):
    """A shape, or a list of them, in tuples: JSON knows lists alone."""
    return [tuple(one) for one in shape] if any(isinstance(one, (list, tuple)) for one in shape) else tuple(shape)
