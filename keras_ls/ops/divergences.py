"""Divergences between softmax distributions given as logits, per example, through log-softmax throughout."""

from keras import ops as K

from keras_ls.ops.checks import checked_positive
from keras_ls.ops.precision import at_least_float32


def kl_divergence(teacher_logits, student_logits, temperature=1.0, student_temperature=None):
    """`KL(softmax(z_t / T) ‖ softmax(z_s / T_s))`, per example.

    Nothing is clipped, so a true divergence of thousands of nats is returned as such and keeps its gradient.

    Args:
        teacher_logits: `[..., K]`.
        student_logits: `[..., K]`.
        temperature: T > 0.
        student_temperature: T_s > 0; None for T.

    Returns:
        Nats, of the shape of the logits without the last axis; at least float32.

    Raises:
        ValueError: for a temperature that is not above 0.

    Examples:
        `KL((.5, .5) ‖ (.25, .75)) = ½ log 2 + ½ log ⅔ = 0.1438`.

        >>> import math, keras_ls as kls
        >>> round(float(kls.ops.kl_divergence([[0.0, 0.0]], [[0.0, math.log(3.0)]])[0]), 4)
        0.1438

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    temperature = checked_positive("temperature", temperature)
    student_temperature = checked_positive(
        "student_temperature", temperature if student_temperature is None else student_temperature
    )
    log_t = K.log_softmax(at_least_float32(teacher_logits) / temperature, axis=-1)
    log_s = K.log_softmax(at_least_float32(student_logits) / student_temperature, axis=-1)
    t = K.exp(log_t)
    possible = t > 0  # 0 · (log 0 - …) = 0, also where a logit is -inf
    difference = K.where(possible, log_t, K.zeros_like(log_t)) - K.where(possible, log_s, K.zeros_like(log_s))
    return K.sum(t * difference, axis=-1)
