"""The terms of a Distiller's loss that compare teacher and student."""

import dataclasses
import re
import warnings

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss
from keras_ls.distillation.losses.feature_distillation import FeatureDistillation
from keras_ls.distillation.losses.probability_losses import check_values
from keras_ls.distillation.losses.teacher_outputs import check_dense, masked_by_both
from keras_ls.losses.keras_losses import weigh_keras_loss, weigh_with_share
from keras_ls.losses.reduction import num_replicas


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
        total = sum(
            self._value(*pair) for pair in self._pairs(from_teacher, from_student, sample_weight, labels, names)
        )
        if len(total.shape) > 0:
            raise ValueError(
                f"Expected distillation losses that return a scalar. Received: shape {tuple(total.shape)} from "
                f"{self.name!r}. Give it another `reduction`, such as 'sum_over_batch_size'."
            )
        return total

    def _value(self, t, s, weight, labels):
        if getattr(self.loss, "needs_labels", False):
            return self.loss(t, s, weight, labels=labels)
        if not isinstance(self.loss, DistillationLoss):
            check_dense(*keras.tree.flatten([t, s]))
            check_values(self.compared, t, s)
            if isinstance(self.loss, keras.losses.Loss):
                s = masked_by_both(t, s)
        value = self.loss(t, s, weight)
        if isinstance(self.loss, keras.losses.Loss):
            value = weigh_keras_loss(value, [self.loss], K.shape(keras.tree.flatten(s)[0])[0])
        return value

    def _pairs(self, from_teacher, from_student, sample_weight, labels, names=None):
        """What to compare with what: (teacher's, student's, weights, labels)."""
        (t, t_features), (s, s_features) = from_teacher, from_student
        if self.teacher_layers() or self.student_layers():
            t = _features(self.loss, "teacher_layer_name", t, t_features)
            s = _features(self.loss, "student_layer_name", s, s_features)
            yield t, s, self._one(sample_weight, "sample_weight"), self._one(labels, "y", self._asks_labels())
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
        for name, value in {"sample_weight": sample_weight, "y": labels if self._asks_labels() else None}.items():
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
        labels = _for_each(labels, "y", len(s), names) if self._asks_labels() else [None] * len(s)
        if any(y is None for y in labels) and any(y is not None for y in labels):
            without = ", ".join(repr(name) for name, y in zip(names or range(len(s)), labels) if y is None)
            raise ValueError(
                f"Expected labels of every output for {self.name!r}, which compares them all. Received: none for "
                f"{without}. Give the Distiller a dictionary {{output: loss}} of the outputs that have labels."
            )
        yield from zip(t, s, weights, labels)

    def _asks_labels(self):
        return getattr(self.loss, "needs_labels", False)

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


# a tuple for isinstance; none before Keras 3.12
KERAS_DISTILLATION_LOSSES = (keras.distillation.DistillationLoss,) if hasattr(keras, "distillation") else ()


class KerasDistillationLoss:
    """Calls a `keras.distillation.DistillationLoss` as one of ours is called.

    It sees all outputs, or the features that it names. What it returns is taken for the mean over a replica's examples,
    and weighed with their share of the batch, so that one replica equals many. Weights cannot reach it.

    Args:
        loss: the loss, of Keras or of a user's own class.
    """

    def __init__(self, loss):
        self.loss = loss
        self.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(loss).__name__).lower()
        self.teacher_layer_name = getattr(loss, "teacher_layer_name", None)
        self.student_layer_name = getattr(loss, "student_layer_name", None)
        self._warned = False
        # Keras divides what its loss classes return by the number of replicas, but not what its functions return
        self._divided = {
            isinstance(one, keras.losses.Loss)
            for one in keras.tree.flatten(getattr(loss, "loss", None))
            if one is not None
        } or {False}

    def __call__(self, teacher_outputs, student_outputs, sample_weight=None):
        """The loss of a batch."""
        if sample_weight is not None and not self._warned:
            self._warned = True
            warnings.warn(
                f"Weights of examples do not reach {self.name!r} of keras.distillation, which counts all alike. "
                "Take the loss of keras_ls.distillation for that.",
                stacklevel=2,
            )
        teacher_outputs = keras.tree.map_structure(_widened, teacher_outputs)
        student_outputs = keras.tree.map_structure(_widened, student_outputs)
        self.loss.validate_outputs(teacher_outputs, student_outputs)
        value = K.convert_to_tensor(self.loss.compute_loss(teacher_outputs, student_outputs))
        if len(value.shape) > 0 or num_replicas() == 1:
            return value
        if len(self._divided) > 1:
            raise ValueError(
                f"Expected `loss` of {self.name!r} to hold either loss objects or names of losses, as Keras scales the "
                "one and not the other for several replicas. Received: both. Give objects for all."
            )
        if False in self._divided:
            value = value / num_replicas()
        return weigh_with_share(value, K.shape(keras.tree.flatten(student_outputs)[0])[0])


def _widened(x):
    # teacher and student may compute in different types
    narrow = keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return K.cast(x, "float32") if narrow else x
