"""The shortcut without parameters: fewer positions, and channels of zeros."""

from typing import Any

import keras
from keras import ops as K

from keras_ls.ops._checks import checked_count
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class PaddedShortcut(keras.layers.Layer):
    """Keeps every `strides`-th row and column and appends channels of zeros up to `filters`.

    `y[i, j] = (x[strides · i, strides · j], 0, …, 0)`: option A of He et al., an identity between stages of different
    sizes.

    Args:
        filters: channels of the output, at least those of the input.
        strides: step along rows and columns.
        name: name of the layer.

    Call arguments:
        - `inputs`: `[N, H, W, C]`.

    Returns:
        `[N, ⌈H / strides⌉, ⌈W / strides⌉, filters]`, in the dtype of the inputs.

    Raises:
        ValueError: for numbers that are no counts and fewer filters than channels.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> x = np.arange(4.0).reshape(1, 2, 2, 1) + 1
        >>> np.ravel(kls.models.PaddedShortcut(3)(x)).tolist()
        [1.0, 0.0, 0.0]

    Reference:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016.
    """

    def __init__(self, filters: int, strides: int = 2, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.filters = checked_count("filters", filters)
        self.strides = checked_count("strides", strides)

    def call(self, inputs: Tensor) -> Tensor:
        """Fewer positions, more channels."""
        missing = self.filters - inputs.shape[-1]
        if missing < 0:
            raise ValueError(
                f"Expected inputs of at most {self.filters} channels. Received: shape {tuple(inputs.shape)}. "
                "A shortcut appends channels; project to drop some."
            )
        return K.pad(inputs[:, :: self.strides, :: self.strides], [(0, 0), (0, 0), (0, 0), (0, missing)])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
