"""Inception-v4, the network of the paper's ImageNet experiments."""

import keras

from keras_ls.ops._checks import checked_count, checked_flag, checked_fraction, checked_image_shape, checked_positive

SMALLEST = 75  # pixels that leave one place after the last reduction

# A block is a list of branches whose outputs are concatenated. A branch is a list of steps: (filters, rows, columns) of
# a convolution; with "V" of one without padding, with "V/2" of one that also has a stride of 2, as the paper's figures
# say it; "max" or "average" pooling; a list of convolutions of one input at the end of a branch.
STEM = [
    [[(32, 3, 3, "V/2"), (32, 3, 3, "V"), (64, 3, 3)]],
    [["max"], [(96, 3, 3, "V/2")]],
    [[(64, 1, 1), (96, 3, 3, "V")], [(64, 1, 1), (64, 1, 7), (64, 7, 1), (96, 3, 3, "V")]],
    [[(192, 3, 3, "V/2")], ["max"]],
]
INCEPTION_A = [
    [(96, 1, 1)],
    [(64, 1, 1), (96, 3, 3)],
    [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
    ["average", (96, 1, 1)],
]
REDUCTION_A = [
    [(384, 3, 3, "V/2")],
    [(192, 1, 1), (224, 3, 3), (256, 3, 3, "V/2")],
    ["max"],
]
INCEPTION_B = [
    [(384, 1, 1)],
    [(192, 1, 1), (224, 1, 7), (256, 7, 1)],
    [(192, 1, 1), (192, 7, 1), (224, 1, 7), (224, 7, 1), (256, 1, 7)],
    ["average", (128, 1, 1)],
]
REDUCTION_B = [
    [(192, 1, 1), (192, 3, 3, "V/2")],
    [(256, 1, 1), (256, 1, 7), (320, 7, 1), (320, 3, 3, "V/2")],
    ["max"],
]
INCEPTION_C = [
    [(256, 1, 1)],
    [(384, 1, 1), [(256, 1, 3), (256, 3, 1)]],
    [(384, 1, 1), (448, 3, 1), (512, 1, 3), [(256, 1, 3), (256, 3, 1)]],
    ["average", (256, 1, 1)],
]
BLOCKS = (
    *((f"stem_{i}", block) for i, block in enumerate(STEM, start=1)),
    *((f"inception_a_{i}", INCEPTION_A) for i in range(1, 5)),
    ("reduction_a", REDUCTION_A),
    *((f"inception_b_{i}", INCEPTION_B) for i in range(1, 8)),
    ("reduction_b", REDUCTION_B),
    *((f"inception_c_{i}", INCEPTION_C) for i in range(1, 4)),
)


def inception_v4(
    input_shape: tuple[int, int, int] = (299, 299, 3),
    num_classes: int = 1000,
    dropout: float = 0.2,
    scale: bool = True,
    width: float = 1.0,
    name: str = "inception_v4",
) -> keras.Model:
    """A stem, 4 Inception-A, 7 Inception-B and 3 Inception-C blocks with a reduction between them, pooling and logits.

    `y = relu(bn(conv(x)))` for each of the 149 convolutions, none of which has a bias. Batch normalization has momentum
    0.9997 and ε = 0.001, convolutions He's initial values, as in TensorFlow's code of the authors (TF-slim). There is
    no auxiliary head. The running statistics need some 10,000 steps to follow the kernels: before that, logits outside
    training can be of any size, or infinite.

    It takes pixels in [-1, 1], which `data.inception_random_crop` and `data.inception_center_crop` give. The outputs of
    the blocks are named "stem_1", ..., "inception_a_1", ..., "reduction_a", ..., "inception_c_3", the pooled features
    "penultimate", the last layer "logits".

    Args:
        input_shape: `(H, W, C)` of one image, at least 75×75.
        num_classes: K; the authors' code has 1001, one for the background.
        dropout: rate after pooling.
        scale: whether batch normalization has a scale γ beside its shift β, as Müller et al. say; False for TF-slim's
            default.
        width: multiple of the paper's filters; what comes out is rounded.
        name: name of the model.

    Returns:
        A functional `keras.Model` from images `[N, H, W, C]` to logits `[N, K]`.

    Raises:
        ValueError: for a shape that is not one of images or too small, a number of classes that is not a count, a rate
            outside [0, 1), a width not above 0.

    Examples:
        A sixteenth of the filters; with all of them the features are 1536.

        >>> import keras_ls as kls
        >>> model = kls.models.inception_v4((75, 75, 3), 10, width=1 / 16)
        >>> kls.models.penultimate(model).output_shape
        [(None, 96), (None, 10)]

    Reference:
        Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
        Learning", 2016; Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", 2019.
    """
    checked_count("num_classes", num_classes, minimum=2)
    if min(checked_image_shape(input_shape)[:2]) < SMALLEST:
        raise ValueError(
            f"Expected `input_shape` of at least {SMALLEST}×{SMALLEST} pixels. Received: {input_shape!r}. Resize the "
            "images."
        )
    checked_fraction("dropout", dropout)
    checked_flag("scale", scale)
    checked_positive("width", width)
    layers = keras.layers
    x = inputs = keras.Input(input_shape)
    for block, branches in BLOCKS:
        outputs = []
        for i, branch in enumerate(branches, start=1):
            outputs += _branch(x, branch, scale, width, f"{block}_branch_{i}")
        x = layers.Concatenate(name=block)(outputs) if len(outputs) > 1 else layers.Identity(name=block)(*outputs)
    x = layers.GlobalAveragePooling2D(name="penultimate")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name)


def _branch(x, steps, scale, width, prefix):
    """The outputs of a branch, one or several."""
    for i, step in enumerate(steps, start=1):
        if isinstance(step, list):
            return [_convolution(x, *last, scale, width, f"{prefix}_{i}{'ab'[j]}") for j, last in enumerate(step)]
        if step == "max":
            x = keras.layers.MaxPooling2D(3, 2, name=f"{prefix}_max")(x)
        elif step == "average":
            x = keras.layers.AveragePooling2D(3, 1, padding="same", name=f"{prefix}_average")(x)
        else:
            x = _convolution(x, *step[:3], scale, width, f"{prefix}_{i}", *step[3:])
    return [x]


def _convolution(x, filters, rows, columns, scale, width, prefix, figure_mark=""):
    convolution = keras.layers.Conv2D(
        max(1, round(width * filters)),
        (rows, columns),
        strides=2 if figure_mark == "V/2" else 1,
        padding="valid" if figure_mark else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{prefix}_conv",
    )
    normalization = keras.layers.BatchNormalization(momentum=0.9997, epsilon=1e-3, scale=scale, name=f"{prefix}_norm")
    return keras.layers.ReLU(name=f"{prefix}_relu")(normalization(convolution(x)))
