"""Each image to mean 0 and standard deviation 1, inside the network: an exported one takes pixels."""

import math

import keras
from keras import ops as K

from keras_ls.ops._backend import at_least_float32
from keras_ls.ops._types import Tensor


@keras.saving.register_keras_serializable(package="keras_ls")
class ImageStandardization(keras.layers.Layer):
    """Gives each image mean 0 and standard deviation 1 over all its pixels and channels.

    `y = (x - mean x) / max(std x, n^-½)` with `n = H·W·C` and the standard deviation over n, not n - 1. The floor keeps
    an image of one colour at 0.

    Call arguments:
        - `inputs`: images `[N, H, W, C]`.

    Returns:
        The shape and dtype of the inputs; half precision is widened inside.

    Examples:
        The mean of these four pixels is 0.5, their standard deviation 0.5.

        >>> import numpy as np, keras_ls as kls
        >>> np.ravel(kls.models.ImageStandardization()(np.reshape([0.0, 1.0, 1.0, 0.0], (1, 2, 2, 1)))).tolist()
        [-1.0, 1.0, 1.0, -1.0]

    Reference:
        `tf.image.per_image_standardization` of TensorFlow, 2015; Krizhevsky, "Learning Multiple Layers of Features from
        Tiny Images", 2009, for the images.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Standardised images."""
        x = at_least_float32(inputs)
        centred = x - K.mean(x, axis=(1, 2, 3), keepdims=True)
        std = K.sqrt(K.mean(K.square(centred), axis=(1, 2, 3), keepdims=True))
        return K.cast(centred / K.maximum(std, 1 / math.sqrt(math.prod(x.shape[1:]))), inputs.dtype)
