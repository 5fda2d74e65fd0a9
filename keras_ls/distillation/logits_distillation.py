"""Distillation of softened logits."""

import keras

from keras_ls import ops
from keras_ls.distillation.distillation_loss import DistillationLoss
from keras_ls.ops.checks import checked_positive


@keras.saving.register_keras_serializable(package="keras_ls")
class LogitsDistillation(DistillationLoss):
    """Divergence of the student's softened prediction from the teacher's.

    `ℓ = T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T_s))`. T² keeps the gradient's size as T grows. The KL
    divergence differs from the cross-entropy of the papers by the teacher's entropy, which has no gradient: 0 says that
    the student agrees. The setting of Müller et al. is `student_temperature=1, scale_by_temperature=False`.

    Args:
        temperature: T > 0, of the teacher.
        student_temperature: T_s > 0; None for T.
        scale_by_temperature: whether to multiply by T².
        reduction: "sum_over_batch_size" (default), "sum", "mean_with_sample_weight" or "none".
        name: name of the loss, and of its log.
        dtype: "float32" or "float64".

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`.
        - `y_pred`: the student's logits `[..., K]`.
        - `sample_weight`: weights of the examples.

    Returns:
        Nats (times T²); a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for a temperature that is not above 0, and logits of different shapes.

    Examples:
        `KL((.5, .5) ‖ (.25, .75)) = 0.1438`; here T = 2, so it is multiplied by 4.

        >>> import math, keras_ls as kls
        >>> loss = kls.distillation.LogitsDistillation(temperature=2.0)
        >>> round(float(loss([[0.0, 0.0]], [[0.0, 2 * math.log(3.0)]])), 4)
        0.5754

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    def __init__(
        self,
        temperature=3.0,
        student_temperature=None,
        scale_by_temperature=True,
        reduction="sum_over_batch_size",
        name="logits_distillation",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = checked_positive("temperature", temperature)
        if student_temperature is not None:
            student_temperature = checked_positive("student_temperature", student_temperature)
        self.student_temperature = student_temperature
        self.scale_by_temperature = bool(scale_by_temperature)

    def call(self, y_true, y_pred):
        """Per-example divergences."""
        known = all(a is None or b is None or a == b for a, b in zip(y_true.shape, y_pred.shape))
        if len(y_true.shape) != len(y_pred.shape) or not known:
            raise ValueError(
                "Expected teacher and student logits of one shape. "
                f"Received: teacher {tuple(y_true.shape)}, student {tuple(y_pred.shape)}."
            )
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        divergence = ops.kl_divergence(y_true, y_pred, self.temperature, self.student_temperature)
        return self.temperature**2 * divergence if self.scale_by_temperature else divergence

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "student_temperature": self.student_temperature,
            "scale_by_temperature": self.scale_by_temperature,
        }
