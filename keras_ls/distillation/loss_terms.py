"""The terms of a Distiller's loss that compare teacher and student."""

import dataclasses
import json

import keras
import numpy as np
from keras import ops as K
from keras.src.backend import set_keras_mask

from keras_ls.distillation.keras_distillation_loss import KerasDistillationLoss
from keras_ls.distillation.losses.distillation_loss import DistillationLoss, check_dense, teachers_mask
from keras_ls.distillation.losses.feature_distillation import FeatureDistillation
from keras_ls.distillation.losses.probability_losses import check_values
from keras_ls.losses.keras_losses import weigh_keras_loss
from keras_ls.ops._weights import align_leading, get_keras_mask

SHAPES = "feature_shapes"  # of the entry in a weights file


@dataclasses.dataclass(frozen=True)
class Term:
    """One loss of a Distiller.

    Args:
        loss: the loss.
        name: of its log.
        weight_index: which of the distillation weights it has.
        output: the output that it compares, or None for all.
    """

    loss: object
    name: str
    weight_index: int
    output: str | None = None

    @property
    def builds(self):
        """Whether the loss makes variables for the shapes of its features."""
        return isinstance(self.loss, DistillationLoss) and type(self.loss).build is not DistillationLoss.build

    @property
    def takes_logits(self):
        """Whether the loss takes all outputs for logits."""
        return self.output is None and getattr(self.loss, "takes_logits", False)

    @property
    def needs_labels(self):
        """Whether the loss wants the true labels, too."""
        return getattr(self.loss, "needs_labels", False)

    @property
    def compared(self):
        """The loss that gets the outputs, within one that hands them on."""
        return self.loss.loss if isinstance(self.loss, (FeatureDistillation, KerasDistillationLoss)) else self.loss

    def teacher_layers(self):
        """The names of the teacher's layers that the loss compares."""
        return _names(self.loss, "teacher_layer_name")

    def student_layers(self):
        """The names of the student's layers that the loss compares."""
        return _names(self.loss, "student_layer_name")

    def shapes(self, from_teacher, from_student, names=None):
        """The shapes (teacher's, student's) to build the loss for; of the first output where there are several."""
        t, s, _, _ = next(self._pairs(from_teacher, from_student, None, None, names))
        return tuple([tuple(z.shape) for z in x] if isinstance(x, list) else tuple(x.shape) for x in (t, s))

    def __call__(self, from_teacher, from_student, sample_weight=None, labels=None, names=None):
        """The loss between a teacher's and the student's `(outputs, features)`, summed over the outputs compared.

        `names` are those of the outputs in a list, by which weights and labels in dictionaries are found.
        """
        total = 0
        for t, s, weight, y in self._pairs(from_teacher, from_student, sample_weight, labels, names):
            if self.needs_labels:
                total = total + self.loss(t, s, weight, labels=y)
            elif isinstance(self.loss, DistillationLoss):
                total = total + self.loss(t, s, weight)
            else:
                total = total + self._loss_of_keras(t, s, weight)
        if len(total.shape) > 0:
            raise ValueError(
                f"Expected distillation losses that return a scalar. Received: shape {tuple(total.shape)} from "
                f"{self.name!r}. Give it another `reduction`, such as 'sum_over_batch_size'."
            )
        return total

    def _loss_of_keras(self, t, s, weight):
        check_dense(*keras.tree.flatten([t, s]))
        check_values(self.compared, t, s)
        if not isinstance(self.loss, keras.losses.Loss):
            return self.loss(t, s, weight)
        value = self.loss(t, _masked_by_both(t, s), weight)
        return weigh_keras_loss(value, [self.loss], K.shape(keras.tree.flatten(s)[0])[0])

    def _pairs(self, from_teacher, from_student, sample_weight, labels, names=None):
        """What to compare with what: (teacher's, student's, weights, labels)."""
        (t, t_features), (s, s_features) = from_teacher, from_student
        if self.teacher_layers() or self.student_layers():
            t = _features(self.loss, "teacher_layer_name", t, t_features)
            s = _features(self.loss, "student_layer_name", s, s_features)
            yield t, s, self._one(sample_weight, "sample_weight"), self._one(labels, "y", self.needs_labels)
        elif isinstance(self.loss, KerasDistillationLoss) and self.output is None:
            yield t, s, sample_weight, None
        elif self.output is not None:
            t, s, sample_weight, labels = (_by_name(x, names) for x in (t, s, sample_weight, labels))
            for role, outputs in (("teacher", t), ("student", s)):
                if not isinstance(outputs, dict) or self.output not in outputs:
                    found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
                    raise ValueError(f"Expected a {role} with an output {self.output!r}. Received: {found}.")
            weight, y = (x.get(self.output) if isinstance(x, dict) else x for x in (sample_weight, labels))
            yield t[self.output], s[self.output], weight, y
        else:
            yield from self._by_output(t, s, sample_weight, labels, names)

    def _by_output(self, t, s, sample_weight, labels, names):
        if isinstance(t, dict) and not isinstance(s, dict):
            s, sample_weight, labels = (_by_name(x, names) for x in (s, sample_weight, labels))
        if isinstance(t, dict) != isinstance(s, dict) and len(keras.tree.flatten(s)) > 1:
            raise ValueError(
                "Expected a teacher and a student that both return dictionaries, or both lists. "
                f"Received: teacher with a {type(t).__name__}, student with a {type(s).__name__}."
            )
        if isinstance(t, dict) and isinstance(s, dict) and t.keys() != s.keys():
            raise ValueError(
                "Expected a teacher and a student with outputs of the same names. "
                f"Received: teacher with {sorted(t)}, student with {sorted(s)}."
            )
        unnamed = names is None and isinstance(s, (list, tuple)) and len(s) > 1
        for name, value in {"sample_weight": sample_weight, "y": labels if self.needs_labels else None}.items():
            if unnamed and isinstance(value, dict):
                raise ValueError(
                    f"Expected `{name}` as a list, one entry an output, for a student whose outputs have no names. "
                    f"Received: a dictionary of {sorted(value)}. Or let it return a dictionary."
                )
        names = sorted(s) if isinstance(s, dict) else names  # as flatten has them
        t, s = keras.tree.flatten(t), keras.tree.flatten(s)
        names = names if names is not None and len(names) == len(s) else None
        if len(t) != len(s):
            raise ValueError(
                "Expected a teacher and a student with as many outputs. "
                f"Received: teacher with {len(t)}, student with {len(s)}."
            )
        weights = _for_each(sample_weight, "sample_weight", len(s), names)
        labels = _for_each(labels, "y", len(s), names) if self.needs_labels else [None] * len(s)
        if any(y is None for y in labels) and any(y is not None for y in labels):
            without = ", ".join(repr(name) for name, y in zip(names or range(len(s)), labels) if y is None)
            raise ValueError(
                f"Expected labels of every output for {self.name!r}, which compares them all. Received: none for "
                f"{without}. Give the Distiller a dictionary {{output: loss}} of the outputs that have labels."
            )
        yield from zip(t, s, weights, labels)

    def _one(self, value, name, asked=True):
        if not asked or not keras.tree.is_nested(value):
            return value if asked else None
        values = keras.tree.flatten(value)
        if len(values) != 1:
            raise ValueError(
                f"Expected one `{name}` for {self.name!r}, which compares layers and no outputs. "
                f"Received: {len(values)}."
            )
        return values[0]


def expanded(losses):
    """A term for each loss; for an entry `{output: loss}`, one for each output, all with the entry's weight."""
    found = []
    for i, entry in enumerate(losses):
        for output, loss in entry.items() if isinstance(entry, dict) else [(None, entry)]:
            loss = loss if isinstance(loss, keras.losses.Loss) else KerasDistillationLoss(loss)
            found.append((loss, loss.name if output is None else f"{output}_{loss.name}", i, output))
    names = [name for _, name, _, _ in found]
    unique = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
    if len({*unique, "loss", "student_loss"}) < len(unique) + 2:
        raise ValueError(
            "Expected distillation losses with names of their own, none of them 'loss' or 'student_loss'. "
            f"Received: {unique}."
        )
    return [Term(loss, name, i, output) for (loss, _, i, output), name in zip(found, unique)]


def _names(loss, attribute):
    names = getattr(loss, attribute, None)
    names = names if isinstance(names, (list, tuple)) else [names]
    return [name for name in names if name is not None]


def _features(loss, attribute, outputs, features):
    names = getattr(loss, attribute, None)
    known = {None: outputs, **features}
    return [known[name] for name in names] if isinstance(names, (list, tuple)) else known[names]


def _masked_by_both(teacher, student):
    """The student's output with the mask of both, for a loss of Keras's, which looks at that alone."""
    mask, own = teachers_mask(teacher, student), get_keras_mask(student)
    if mask is None:
        return student
    student = K.copy(student)  # the student's own loss and metrics go by its own mask
    set_keras_mask(student, mask if own is None else K.logical_and(K.cast(own, "bool"), align_leading(mask, own)))
    return student


def _by_name(values, names):
    """A list with an entry an output as a dictionary by `names`; anything else as it is."""
    known = isinstance(values, (list, tuple)) and names is not None and len(values) == len(names)
    return dict(zip(names, values)) if known else values


def _for_each(value, name, count, names):
    """`value` for each of `count` outputs, or its entries: by their names where known, as in Keras."""
    if not keras.tree.is_nested(value):
        return [value] * count
    if isinstance(value, dict) and names is not None:
        if not value.keys() <= set(names):
            raise ValueError(f"Expected `{name}` by the names of outputs, {names}. Received: {sorted(value)}.")
        return [value.get(output) for output in names]
    values = keras.tree.flatten(value)
    if len(values) != count:
        raise ValueError(f"Expected one `{name}` for all outputs, or {count}, one each. Received: {len(values)}.")
    return values


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

    def save_shapes(self, store):
        """Writes the shapes into the `store` of a distiller's own variables."""
        store[SHAPES] = np.frombuffer(json.dumps(self.shapes).encode(), "uint8")

    def load_shapes(self, store):
        """Builds the losses for the shapes that `save_shapes` wrote, if they were built by then."""
        if SHAPES not in store.keys():  # noqa: SIM118, an entry of a file
            raise ValueError(
                "Expected weights with the shapes of the projectors. Received: a file without, of before. "
                "Let one batch pass first (`distiller.evaluate(batch)`), so that they are built."
            )
        shapes = json.loads(np.asarray(store[SHAPES]).tobytes())
        if shapes is not None:
            self.build(shapes)


def _tuples(shape):
    """A shape, or a list of them, in tuples of numbers and None: JSON knows lists alone, JAX symbols for None."""
    if any(isinstance(one, (list, tuple)) for one in shape):
        return [_tuples(one) for one in shape]
    return tuple(size if isinstance(size, int) else None for size in shape)
