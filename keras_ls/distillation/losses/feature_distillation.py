"""Distillation of intermediate features."""

from collections.abc import Callable

import keras
from keras import ops as K

from keras_ls.distillation.losses.distillation_loss import DistillationLoss, checked_layer_names
from keras_ls.distillation.losses.probability_losses import check_values
from keras_ls.ops._backend import mean
from keras_ls.ops._checks import check_same_shape
from keras_ls.ops._types import Tensor
from keras_ls.ops.features import cosine_core


@keras.saving.register_keras_serializable(package="keras_ls")
class FeatureDistillation(DistillationLoss):
    """Distance of the student's features, mapped to the teacher's width where it differs, from the teacher's.

    `ℓ = d(A_t, r(A_s))` at each position of an example, with the projector r; `d` is the mean over the channels of
    `(a_s - a_t)²` ("mse") or `|a_s - a_t|` ("mae"), or `1 - cos(a_s, a_t)` ("cosine"; the cosine with zeros is 0).

    The projector trains with the student and belongs to the distiller, not to the student.

    Args:
        loss: "mse" (default), "mae" (or "l1"), "cosine", or a loss of Keras's: its name, function or object, whose
            values for `(teacher, student)` are taken before their reduction.
        teacher_layer_name: None for the teacher's output, a layer's name, or a path through nested models such as
            "encoder/block_2/conv".
        student_layer_name: of the student, likewise.
        projector: r: None for none, "auto" for a `Dense` layer over the channels where the widths differ, or a layer of
            your own. It runs in inference mode.
        reduction, name, dtype: as in `DistillationLoss`.

    Attributes:
        projector: the layer, or None; of "auto", once it is built.

    Call arguments:
        - `y_true`: the teacher's features `[N, ..., C]`.
        - `y_pred`: the student's features `[N, ..., C']`.

    Returns:
        In the unit of `loss`; a scalar, or one value a position `[N, ...]` for `reduction="none"`.

    Raises:
        ValueError: for another `loss` or `projector`, features that differ in shape after the projector,
            features without channels, a single channel for "cosine", and features that are no probabilities for a loss
            of Keras's that takes them for such.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> loss = kls.distillation.FeatureDistillation()
        >>> float(loss([[1.0, 2.0]], [[2.0, 4.0]]))  # (1² + 2²) / 2
        2.5
        >>> loss = kls.distillation.FeatureDistillation(teacher_layer_name="conv_3", projector="auto")
        >>> loss.build(teacher_shape=(None, 8, 8, 64), student_shape=(None, 8, 8, 16))
        >>> [tuple(variable.shape) for variable in loss.trainable_variables]
        [(16, 64), (64,)]

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015.
    """

    def __init__(
        self,
        loss: str | Callable | keras.losses.Loss = "mse",
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
        projector: keras.layers.Layer | str | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "feature_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.loss = loss
        self._distance = _distance(loss)
        self.teacher_layer_name, self.student_layer_name = checked_layer_names(
            teacher_layer_name, student_layer_name, several=False
        )
        if projector not in (None, "auto") and not isinstance(projector, keras.layers.Layer):
            raise ValueError(f'Expected `projector` to be None, "auto" or a Keras layer. Received: {projector!r}.')
        self.auto = isinstance(projector, str)
        self.projector = None if self.auto else projector
        self.built = False

    def build(self, teacher_shape: tuple, student_shape: tuple) -> None:
        """Makes the projector's variables for features of these shapes; once."""
        if self.built:
            if self.projector is not None and student_shape[-1] != self._width:
                raise ValueError(
                    f"Expected features of the width that {self.name!r} is built for, {self._width}. "
                    f"Received: {student_shape[-1]}. Make a new loss for every Distiller."
                )
            return
        self.built, self._width = True, student_shape[-1]
        if self.auto and teacher_shape[-1] != student_shape[-1]:
            self.projector = keras.layers.Dense(teacher_shape[-1], dtype=self.dtype, name=f"{self.name}_projector")
        if self.projector is not None and not self.projector.built:
            self.projector.build(tuple(student_shape))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Distances at each position."""
        if len(y_true.shape) < 2 or len(y_pred.shape) < 2:
            raise ValueError(
                f"Expected features [N, ..., C]. Received: teacher {tuple(y_true.shape)}, student "
                f"{tuple(y_pred.shape)}. Give each example its own axis of channels, also where there is one channel."
            )
        self.build(tuple(y_true.shape), tuple(y_pred.shape))
        if self.projector is not None:
            y_pred = K.cast(self.projector(y_pred), y_pred.dtype)
        advice = " Choose layers of one resolution, or give `projector` a layer that maps the student's features."
        if self.projector is None and tuple(y_true.shape[:-1]) == tuple(y_pred.shape[:-1]):
            advice = ' For widths that differ, give projector="auto".'
        check_same_shape(y_true, y_pred, "features", advice)
        if self.loss == "cosine" and y_pred.shape[-1] == 1:
            raise ValueError(
                f"Expected features of at least 2 channels for loss='cosine'. Received: shape {tuple(y_pred.shape)}. "
                "The cosine of single numbers is 1 or -1; take 'mse' or 'mae'."
            )
        check_values(self.loss, y_true, y_pred)
        return self._distance(K.cast(y_true, y_pred.dtype), y_pred)

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "loss": self.loss if isinstance(self.loss, str) else serialize(self.loss),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
            "projector": "auto" if self.auto else self.projector and serialize(self.projector),
        }

    @classmethod
    def from_config(cls, config: dict) -> "FeatureDistillation":
        """With its loss and projector made anew."""
        config = dict(config)
        for part in ("loss", "projector"):
            if isinstance(config[part], dict):
                config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


def _distance(loss):
    """The function of `(teacher, student)` that `loss` stands for."""
    own = {
        "mse": lambda t, s: mean(K.square(s - t), axis=-1),
        "mae": lambda t, s: mean(K.abs(s - t), axis=-1),
        "cosine": cosine_core,
    }
    own["l1"] = own["mae"]
    if isinstance(loss, str) and loss in own:
        return own[loss]
    try:
        found = keras.losses.get(loss)
    except ValueError:
        found = None
    if not callable(found):
        raise ValueError(
            f"Expected `loss` to be one of {', '.join(map(repr, own))}, or the name, function or object of a Keras "
            f"loss. Received: {loss!r}."
        )
    return found.call if isinstance(found, keras.losses.Loss) else found
