"""Agreement of a student with its teacher, streamed."""

from typing import Any, Literal

import keras
from keras import ops as K

from keras_ls.metrics.streaming import StreamingMean
from keras_ls.ops._backend import argmax, at_least_float32
from keras_ls.ops._checks import checked_choice, checked_positive
from keras_ls.ops._logits import LogitsCheck, as_logits
from keras_ls.ops._tensors import as_tensor
from keras_ls.ops._types import Tensor
from keras_ls.ops.divergences import kl_core

NAMES = {"top1": "teacher_agreement", "kl": "teacher_kl"}


@keras.saving.register_keras_serializable(package="keras_ls")
class TeacherAgreement(StreamingMean):
    """How far a student says what its teacher says: the same top class, or the KL divergence.

    - `measure="top1"`: `mean_x [argmax_k z_t = argmax_k z_s]`
    - `measure="kl"`: `mean_x KL(softmax(z_t / T) ‖ softmax(z_s / T))`, without the T² of the loss

    A metric has one result and one name: give two of them to see both. `y_true` is the teacher's outputs: in
    `Distiller.compile(teacher_metrics=[...])`, which hands them over, or in a loop of one's own. The means are weighted
    by the sample weights, whose scale says nothing.

    Args:
        measure: "top1" or "kl".
        temperature: T > 0, for "kl"; the top class does not depend on it.
        from_logits: whether teacher and student give logits (default) or probabilities. Never guessed. Probabilities
            are clipped to at least Keras's ε (1e-7) for "kl".
        name: name of the metric; None for "teacher_agreement" or "teacher_kl".
        dtype: dtype of the result.

    Returns:
        `result()` is a scalar: a fraction in [0, 1], 1 when they agree everywhere; or nats, 0 when they agree.

    Raises:
        ValueError: for another measure, T or shapes that do not fit, and NaN predictions. Inside a traced function NaN
            predictions make the result NaN.

    Examples:
        They agree on the first class of the first example alone; `KL((0.5, 0.5) ‖ (0.25, 0.75)) = 0.1438`
        is the second's.

        >>> import math, keras_ls as kls
        >>> teacher, student = [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, math.log(3.0)]]
        >>> top, kl = kls.metrics.TeacherAgreement(), kls.metrics.TeacherAgreement("kl")
        >>> top.update_state(teacher, student), kl.update_state(teacher, student)
        (None, None)
        >>> round(float(top.result()), 4), round(float(kl.result()), 4)
        (0.5, 0.0719)

    Reference:
        Stanton et al., "Does Knowledge Distillation Really Work?", 2021.
    """

    dense = "teacher"  # and no class distributions
    needs_teacher = True  # `Distiller.compile(teacher_metrics=...)` gives it both outputs

    def __init__(
        self,
        measure: Literal["top1", "kl"] = "top1",
        temperature: float = 1.0,
        from_logits: bool = True,
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        self.measure = checked_choice("measure", measure, NAMES)
        self.temperature = checked_positive("temperature", temperature)
        super().__init__(from_logits, None, axis, name or NAMES[measure], dtype)
        self.teacher_check = LogitsCheck(type(self).__name__)
        # the likeliest class is that of the logits
        self.logits_check.done = self.teacher_check.done = measure == "top1"

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            y_true: the teacher's outputs, `[..., K]`.
            y_pred: the student's, likewise. A Keras mask that they carry is honoured.
            sample_weight: one weight an example, or None.
        """
        shapes = tuple(tuple(as_tensor(name, x).shape) for name, x in (("y_true", y_true), ("y_pred", y_pred)))
        classes = [shape[self.axis] if -len(shape) <= self.axis < len(shape) else None for shape in shapes]
        if len(shapes[0]) != len(shapes[1]) or classes[0] != classes[1] or classes[0] in (None, 1):
            raise ValueError(
                f"Expected the outputs of teacher and student, of one shape, with K ≥ 2 along axis {self.axis}. "
                f"Received: shapes {shapes[0]} and {shapes[1]}. In a Distiller this metric belongs into "
                "`compile(teacher_metrics=[...])`; among `metrics` it would meet the labels."
            )
        if self.from_logits:
            self.teacher_check.see(y_true, self.axis)
            self.logits_check.done |= self.teacher_check.found  # of which it is said already
        super().update_state(y_true, y_pred, sample_weight)

    def values(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """Agreement, or divergence, of each example."""
        teacher, student = at_least_float32(labels), at_least_float32(predictions)
        if self.measure == "top1":
            nan = K.any(K.isnan(teacher) | K.isnan(student), axis=-1)
            same = at_least_float32(argmax(teacher) == argmax(student))
            return K.where(nan, K.full_like(same, float("nan")), same)
        teacher, student = as_logits(teacher, self.from_logits), as_logits(student, self.from_logits)
        return kl_core(teacher, K.cast(student, teacher.dtype), self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        config = {**super().get_config(), "measure": self.measure, "temperature": self.temperature}
        del config["ignore_class"]
        return config
