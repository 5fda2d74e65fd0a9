"""The small AlexNet of the paper's CIFAR-10 experiments."""

import keras

from keras_ls.models.image_standardization import ImageStandardization
from keras_ls.models.local_response_normalization import LocalResponseNormalization
from keras_ls.ops._checks import checked_count, checked_image_shape, checked_positive


def alexnet(
    input_shape: tuple[int, int, int], num_classes: int, width: float = 1.0, name: str = "alexnet"
) -> keras.Model:
    """Two 5×5 convolutions with local response normalization, dense layers of 384 and 192, then logits.

    The network standardises each image itself: it takes pixels in [0, 1]. As in TensorFlow's CIFAR-10 network, the
    first block pools before it normalises and the second after. The last hidden layer is named "penultimate", the last
    layer "logits". The paper decays the kernels of "dense_1" and "penultimate"; that is left to training.

    A saved one holds layers of keras_ls: `import keras_ls.models` before `keras.saving.load_model`.

    Args:
        input_shape: `(H, W, C)` of one image; `(24, 24, 3)` for the paper's crops.
        num_classes: K.
        width: multiple of the paper's filters and units; what comes out is rounded.
        name: name of the model.

    Returns:
        A functional `keras.Model` from images `[N, H, W, C]` to logits `[N, K]`.

    Raises:
        ValueError: for a shape that is not one of images, a number of classes that is not a count, a width not above 0.

    Examples:
        >>> import keras_ls as kls
        >>> kls.models.alexnet((24, 24, 3), 10).count_params()
        1068298

    Reference:
        Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012;
        TensorFlow's tutorial "Convolutional Neural Networks", 2015, for this size of it; Müller, Kornblith and Hinton,
        "When Does Label Smoothing Help?", 2019.
    """
    checked_count("num_classes", num_classes, minimum=2)
    checked_image_shape(input_shape)
    filters, units, features = (max(1, round(checked_positive("width", width) * n)) for n in (64, 384, 192))
    layers = keras.layers
    inputs = keras.Input(input_shape)
    x = ImageStandardization(name="standardize")(inputs)
    x = layers.Conv2D(filters, 5, padding="same", activation="relu", name="conv_1")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool_1")(x)
    x = LocalResponseNormalization(name="norm_1")(x)
    x = layers.Conv2D(filters, 5, padding="same", activation="relu", name="conv_2")(x)
    x = LocalResponseNormalization(name="norm_2")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="relu", name="dense_1")(x)
    x = layers.Dense(features, activation="relu", name="penultimate")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name)
