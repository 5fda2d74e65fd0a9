"""The residual networks for CIFAR-sized images."""

from collections.abc import Sequence

import keras

from keras_ls.models.image_standardization import ImageStandardization
from keras_ls.models.padded_shortcut import PaddedShortcut
from keras_ls.ops._checks import checked_count, checked_image_shape


def resnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    depth: int = 20,
    widths: Sequence[int] = (16, 32, 64),
    projection: bool = False,
    preactivation: bool = False,
    final_activation: bool = True,
    name: str = "resnet",
) -> keras.Model:
    """The residual network of 6n + 2 layers: a 3×3 convolution, three stages of n blocks, pooling and logits.

    A block adds two 3×3 convolutions F to its input: `y = relu(x + F(x))` with `F = bn conv relu bn conv`, or with
    `preactivation` `y = x + F(x)` with `F = conv relu bn conv relu bn`. The second and third stage begin with a stride
    of 2. Batch normalization has momentum 0.9; convolutions have no bias and He's initial values.

    The network standardises each image itself: it takes pixels in [0, 1]. The outputs of the stages are named
    "stage_1", "stage_2" and "stage_3", the pooled features "penultimate", the last layer "logits".

    The code of Müller et al. uses widths 32, 64 and 128 and neither normalises nor rectifies before it pools: that is
    `widths=(32, 64, 128), final_activation=False`.

    A saved one holds layers of keras_ls: `import keras_ls.models` before `keras.saving.load_model`.

    Args:
        input_shape: `(H, W, C)` of one image; `(32, 32, 3)` for CIFAR.
        num_classes: K.
        depth: 6n + 2: 8, 14, 20, 26, 32, 44, 56, 110, ...
        widths: channels of the three stages, none fewer than those before.
        projection: whether a shortcut between stages is a 1×1 convolution (option B of He et al.); False for zeros in
            the place of missing channels (option A, the paper's choice for CIFAR).
        preactivation: whether blocks normalise and rectify before their convolutions (He et al. 2016 b).
        final_activation: whether what is pooled is rectified, with `preactivation` also normalised.
        name: name of the model.

    Returns:
        A functional `keras.Model` from images `[N, H, W, C]` to logits `[N, K]`.

    Raises:
        ValueError: for a depth that is not 6n + 2, a shape that is not one of images, and widths or a number of classes
            that are not counts.

    Examples:
        ResNet-20 has 0.27 million weights, and 2 running statistics for each of its 688 normalised channels.

        >>> import keras_ls as kls
        >>> model = kls.models.resnet((32, 32, 3), 10, depth=20)
        >>> model.count_params() - 2 * 688
        269722

    Reference:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016, section 4.2; He, Zhang, Ren and
        Sun, "Identity Mappings in Deep Residual Networks", 2016, for `preactivation`; Müller, Kornblith and Hinton,
        "When Does Label Smoothing Help?", 2019.
    """
    checked_count("num_classes", num_classes, minimum=2)
    checked_image_shape(input_shape)
    if checked_count("depth", depth, minimum=8) % 6 != 2:
        raise ValueError(f"Expected `depth` as 6n + 2, such as 8, 20, 32, 44, 56 or 110. Received: {depth}.")
    widths = [checked_count("widths", width) for width in widths]
    if len(widths) != 3 or widths != sorted(widths):
        raise ValueError(f"Expected `widths` as three that do not fall, such as (16, 32, 64). Received: {widths}.")
    layers = keras.layers
    inputs = keras.Input(input_shape)
    x = _convolution(widths[0], name="stem_conv")(ImageStandardization(name="standardize")(inputs))
    if not preactivation:
        x = _rectified(x, "stem")
    blocks = (depth - 2) // 6
    for stage, filters in enumerate(widths, start=1):
        for i in range(1, blocks + 1):
            prefix, last = f"stage_{stage}_block_{i}", i == blocks
            output = f"stage_{stage}" if last else prefix
            strides = 2 if stage > 1 and i == 1 else 1
            rectify = not preactivation and (final_activation or stage < 3 or not last)
            shortcut = x
            if preactivation:
                x = _rectified(x, prefix, "_0")
                # where the shape changes, or a bare convolution comes before, the shortcut too starts from here
                shortcut = x if i == 1 else shortcut
            x = _rectified(_convolution(filters, strides, name=f"{prefix}_conv_1")(x), prefix, "_1")
            x = _convolution(filters, name=f"{prefix}_conv_2")(x)
            if not preactivation:
                x = _normalization(f"{prefix}_norm_2")(x)
            if strides > 1 or shortcut.shape[-1] != filters:
                shortcut = _resized(shortcut, filters, strides, projection, not preactivation, f"{prefix}_shortcut")
            x = layers.Add(name=f"{prefix}_add" if rectify else output)([shortcut, x])
            if rectify:
                x = layers.ReLU(name=output)(x)
    if preactivation and final_activation:
        x = _rectified(x, "final")
    x = layers.GlobalAveragePooling2D(name="penultimate")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name)


def _convolution(filters, strides=1, size=3, name=None):
    return keras.layers.Conv2D(
        filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )


def _normalization(name):
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def _rectified(x, prefix, number=""):
    return keras.layers.ReLU(name=f"{prefix}_relu{number}")(_normalization(f"{prefix}_norm{number}")(x))


def _resized(x, filters, strides, projection, normalize, name):
    """A shortcut into another shape."""
    if not projection:
        return PaddedShortcut(filters, strides, name=name)(x)
    x = _convolution(filters, strides, size=1, name=f"{name}_conv")(x)
    return _normalization(f"{name}_norm")(x) if normalize else x
