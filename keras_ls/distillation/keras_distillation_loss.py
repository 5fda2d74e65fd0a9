"""Losses of `keras.distillation` beside ours."""

import re
import warnings

import keras
from keras import ops as K

from keras_ls.losses.keras_losses import weigh_with_share
from keras_ls.losses.reduction import num_replicas


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
