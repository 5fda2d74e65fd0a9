"""The base of the distillation losses: a Keras loss whose `y_true` is what the teacher says."""

import functools

import keras
from keras import ops as K

from keras_ls.losses.reduction import reduce_over_replicas
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss
from keras_ls.ops._inputs import LABELS_ADVICE
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._tensors import as_tensor, as_weight
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import align_leading, get_keras_mask, over_leading, zero_where_dropped

OFF = "Take the {activation} off the model, and let its other losses and metrics know: from_logits=True."


class DistillationLoss(ReplicaExactLoss):
    """A loss between a teacher's and a student's outputs, per example, with weights, masks and replicas as any loss.

    Subclasses implement `call(teacher_outputs, student_outputs)` and return one value an example; with `needs_labels`,
    `call(teacher_outputs, student_outputs, labels)`.

    Args:
        name: name of the loss, and of its log.
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        dtype: "float32" or "float64" to compute in; None for "float32".

    Attributes:
        teacher_layer_name: which features of the teacher the loss compares: None for its output, a layer's name, a path
            through nested models such as "encoder/block_2/conv", or a list of them, whose losses add up.
        student_layer_name: of the student, likewise.
        takes_logits: whether a softmax of what it compares would be wrong.
        needs_labels: whether the loss wants the true labels, too.
        projector: a Keras layer that the loss trains along with the student, or None.

    Call arguments:
        - `y_true`: the teacher's outputs or features; of several layers, a list of them.
        - `y_pred`: the student's, likewise.
        - `sample_weight`: weights of the examples.
        - `labels`: the true labels, where the loss needs them.

    Returns:
        A scalar, or one value an example for `reduction="none"`.
    """

    teacher_layer_name = None
    student_layer_name = None
    takes_logits = False
    needs_labels = False
    projector = None

    @functools.cached_property
    def logits_check(self) -> LogitsCheck:
        """What tells a teacher or student that returns probabilities."""
        return LogitsCheck(type(self).__name__, OFF)

    def build(self, teacher_shape: tuple, student_shape: tuple) -> None:
        """Makes the variables of the loss, if it has some, for features of these shapes."""

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Those of the projector."""
        return [] if self.projector is None else self.projector.trainable_variables

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None, labels: Tensor = None) -> Tensor:
        """Reduces `call`, with weights and masks, over the batch of all replicas; the sum of it for several layers."""
        with keras.name_scope(self.name):
            if not isinstance(self.student_layer_name, list):
                check_dense(y_true, y_pred)
                return self.reduced(y_true, y_pred, sample_weight, labels)
            count = len(self.student_layer_name)
            if len(y_true) != count or len(y_pred) != count:
                raise ValueError(
                    f"Expected lists of {count} features, one a layer name. "
                    f"Received: {len(y_true)} of the teacher and {len(y_pred)} of the student."
                )
            check_dense(*y_true, *y_pred)
            return sum(self.reduced(t, s, sample_weight, labels) for t, s in zip(y_true, y_pred))

    def without_dropped(self, y_true: Tensor, y_pred: Tensor, keep: Tensor = None) -> tuple:
        """As in every loss; what the teacher's mask drops does not count either."""
        mask = teachers_mask(y_true, y_pred)
        if mask is not None:
            keep = mask if keep is None else K.logical_and(keep, align_leading(mask, keep))
        return super().without_dropped(y_true, y_pred, keep)

    def reduced(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None, labels: Tensor = None) -> Tensor:
        """The reduced loss of one pair of outputs or features."""
        if self.takes_logits:
            self.logits_check.see_all(y_true, y_pred)
        teacher, student, keep = self.without_dropped(y_true, y_pred, self.known(labels, y_pred))
        losses = self.call(teacher, student, *self.checked_labels(labels, keep))
        weight = as_weight(sample_weight)
        return reduce_over_replicas(losses, weight, over_leading(keep, len(losses.shape)), self.reduction)

    def known(self, labels: Tensor, y_pred: Tensor) -> Tensor:
        """Where there is a label, `[...]`, or None for everywhere: other examples do not count."""
        return None

    def checked_labels(self, labels: Tensor, keep: Tensor) -> tuple:
        """A tuple of the labels for a loss that needs them, of nothing for others."""
        if not self.needs_labels:
            return ()
        if labels is None:
            raise ValueError(
                f"Expected `labels` for {self.name!r}. Received: None. A Distiller hands on the `y` that it is fitted "
                "to; elsewhere call the loss with `labels=y`."
            )
        labels = as_tensor("labels", labels, LABELS_ADVICE)
        return (labels if keep is None else zero_where_dropped(labels, keep, self.axis),)

    def compute_loss(
        self, teacher_outputs: Tensor, student_outputs: Tensor, sample_weight: Tensor = None, labels: Tensor = None
    ) -> Tensor:
        """The reduced loss, in the argument order of `keras.distillation`."""
        return self(teacher_outputs, student_outputs, sample_weight, labels)


def checked_layer_names(teacher_layer_name, student_layer_name, several=True):
    """`(teacher_layer_name, student_layer_name)`, each None or a string, or both lists of these of one length."""

    def is_name(name):
        return name is None or (isinstance(name, str) and name != "")

    def is_list(names):
        return several and isinstance(names, (list, tuple)) and len(names) > 0 and all(map(is_name, names))

    teacher, student = teacher_layer_name, student_layer_name
    if is_name(teacher) and is_name(student):
        return teacher, student
    if is_list(teacher) and is_list(student) and len(teacher) == len(student):
        return list(teacher), list(student)
    lists = ", or lists of as many of them" if several else ""
    raise ValueError(
        f"Expected `teacher_layer_name` and `student_layer_name` to be names or None{lists}. "
        f"Received: {teacher_layer_name!r} and {student_layer_name!r}."
    )


def teachers_mask(teacher, student):
    """The mask of a teacher's output where it fits the student's, `[N, ...]` over its leading axes; else None."""
    mask = get_keras_mask(teacher)
    if mask is None or len(mask.shape) > len(student.shape):
        return None
    fits = all(a is None or b is None or a == b for a, b in zip(mask.shape, student.shape))
    return K.cast(mask, "bool") if fits else None


def check_dense(*outputs):
    """Raises `ValueError` for a RaggedTensor."""
    if any(hasattr(one, "row_splits") for one in outputs):
        raise ValueError(
            "Expected outputs of teacher and student as dense tensors. Received: a RaggedTensor. Pad what the models "
            "return to one length (`to_tensor()`), with a Keras mask or weights of 0 where there is nothing."
        )


def as_two_classes(logits):
    """`[..., 2]` for one logit z of a sigmoid (`[..., 1]`, or `[N]`): `softmax([0, z])` is `(1 - σ(z), σ(z))`.

    Logits of more classes stay as they are.
    """
    if not _is_single(logits):
        return logits
    logits = K.expand_dims(logits, -1) if len(logits.shape) == 1 else logits
    return K.concatenate([K.zeros_like(logits), logits], axis=-1)


def check_classes(name, logits, why):
    """Raises `ValueError` for one logit an example, of which the loss `name` has no form, for the reason `why`."""
    if _is_single(logits):
        raise ValueError(
            f"Expected logits [..., K] of at least 2 classes for {name}. Received: shape {tuple(logits.shape)}, one "
            f"logit an example, of which {why}. Take keras_ls.distillation.LogitsDistillation or "
            "SquaredLogitsDistillation without `standardize`, which count it as two classes; or give the networks "
            "two outputs."
        )


def _is_single(logits):
    return len(logits.shape) == 1 or logits.shape[-1] == 1
