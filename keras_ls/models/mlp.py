"""The multilayer perceptron."""

from collections.abc import Sequence

import keras

from keras_ls.ops._checks import checked_count


def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    widths: Sequence[int] = (256, 256),
    dropout: float = 0.0,
    name: str = "mlp",
) -> keras.Model:
    """Dense layers with ReLU, then logits. The last hidden layer is named "penultimate", the last layer "logits".

    Args:
        input_shape: shape of one example.
        num_classes: K.
        widths: units of the hidden layers.
        dropout: rate after every hidden layer.
        name: name of the model.

    Returns:
        A functional `keras.Model` that returns logits `[N, K]`.

    Raises:
        ValueError: for widths or a number of classes that are not counts.

    Examples:
        >>> import keras_ls as kls
        >>> kls.models.mlp((64,), 10, widths=(32,)).output_shape
        (None, 10)
    """
    checked_count("num_classes", num_classes, minimum=2)
    x = inputs = keras.Input(input_shape)
    if len(input_shape) > 1:
        x = keras.layers.Flatten()(x)
    for i, width in enumerate(widths):
        last = i == len(widths) - 1
        layer = keras.layers.Dense(
            checked_count("widths", width), activation="relu", name="penultimate" if last else f"hidden_{i + 1}"
        )
        x = layer(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name=name)
