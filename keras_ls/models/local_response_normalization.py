"""Local response normalization: a channel is damped by its neighbours' energy."""

from typing import Any

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._checks import checked_count, checked_positive
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each channel by a power of the energy of the channels around it.

    `y_c = x_c (bias + α Σ_{|j - c| ≤ r} x_j²)^-β`, where channels beyond the first and the last count as 0. The
    defaults are those of TensorFlow's CIFAR-10 network. The values are those of
    `tf.nn.local_response_normalization`, whose gradient is slow on a CPU.

    Args:
        depth_radius: r, channels on each side.
        bias: what the energy is added to.
        alpha: α, weight of the sum (not of the mean, so often written as a fraction of the window 2r + 1).
        beta: β, the power.
        name: name of the layer.

    Call arguments:
        - `inputs`: `[..., C]`, channels last.

    Returns:
        The shape and dtype of the inputs; half precision is widened inside.

    Raises:
        ValueError: for a radius that is no count and for other numbers that are not above 0.

    Examples:
        Two channels, a window of both: 3 and 4 have energy 25, so each is divided by 25^½.

        >>> import numpy as np, keras_ls as kls
        >>> layer = kls.models.LocalResponseNormalization(depth_radius=1, bias=1e-7, alpha=1.0, beta=0.5)
        >>> [round(float(value), 4) for value in layer(np.array([[3.0, 4.0]]))[0]]
        [0.6, 0.8]

    Reference:
        Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """

    def __init__(
        self,
        depth_radius: int = 4,
        bias: float = 1.0,
        alpha: float = 0.001 / 9,
        beta: float = 0.75,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.depth_radius = checked_count("depth_radius", depth_radius, minimum=0)
        self.bias = checked_positive("bias", bias)
        self.alpha = checked_positive("alpha", alpha)
        self.beta = checked_positive("beta", beta)

    def call(self, inputs: Tensor) -> Tensor:
        """Damped inputs."""
        x = at_least_float32(inputs)
        channels = np.arange(x.shape[-1])
        window = np.abs(channels[:, None] - channels) <= self.depth_radius
        # the sum over a window as one product with a band matrix, and exp(log) for the power: both are vectorised
        energy = K.matmul(K.square(x), K.cast(window, x.dtype))
        return K.cast(x * K.exp(-self.beta * K.log(self.bias + self.alpha * energy)), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "depth_radius": self.depth_radius,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }
