"""A teacher whose outputs come with the data."""

from typing import Any

import keras

from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class CachedTeacher(keras.Model):
    """Stands for a teacher that has spoken before: returns the outputs that a dataset carries beside its inputs.

    A batch has `x = {"inputs": ..., "teacher_outputs": ...}`. A `Distiller` with this teacher gives the student the
    inputs alone, and runs no other network.

    Call arguments:
        - `inputs`: the dictionary.

    Returns:
        `inputs["teacher_outputs"]`.

    Raises:
        ValueError: for anything but such a dictionary.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> x = {"inputs": np.ones((1, 4)), "teacher_outputs": np.array([[2.0, 0.5]])}
        >>> [float(z) for z in kls.distillation.CachedTeacher()(x)[0]]
        [2.0, 0.5]
    """

    def __init__(self, name: str = "cached_teacher", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.built = True

    def call(self, inputs: dict) -> Tensor:
        """What the teacher said."""
        if not is_joined(inputs):
            raise ValueError(
                'Expected batches with x = {"inputs": ..., "teacher_outputs": ...} for a CachedTeacher. '
                f"Received: {sorted(inputs) if isinstance(inputs, dict) else 'inputs alone'}. Join the dataset with "
                "what the teacher said first, validation data too; or evaluate `distiller.student`."
            )
        return inputs["teacher_outputs"]


def is_joined(x):
    """Whether `x` holds a teacher's outputs beside the inputs."""
    return isinstance(x, dict) and x.keys() == {"inputs", "teacher_outputs"}
