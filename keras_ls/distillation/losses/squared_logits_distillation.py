"""Distillation by matching logits."""

import keras

from keras_ls.distillation.losses.distillation_loss import DistillationLoss, as_two_classes, check_classes
from keras_ls.ops._checks import check_same_shape
from keras_ls.ops._types import Tensor
from keras_ls.ops.divergences import squared_error_core


@keras.saving.register_keras_serializable(package="keras_ls")
class SquaredLogitsDistillation(DistillationLoss):
    """Half the squared distance between the student's and the teacher's logits.

    `ℓ = ½ ‖z_student - z_teacher‖²`, the setting of Müller et al. on MNIST. `center=True` compares the logits less
    their means, which the softmax does not see: it is the limit of `LogitsDistillation` for T → ∞, times the number of
    classes K.

    Args:
        center: whether each logit vector first gets mean 0.
        standardize: whether each logit vector first gets mean 0 and standard deviation 1.
        reduction, name, dtype: as in `DistillationLoss`.

    Call arguments:
        - `y_true`: the teacher's logits `[..., K]`; one logit z of a sigmoid (`[..., 1]` or `[N]`) counts as two
          classes with the logits `[0, z]`.
        - `y_pred`: the student's, likewise.

    Returns:
        Squared units of logits, summed over classes; a scalar, or one value an example for `reduction="none"`. Where a
        logit is -∞ it is ∞, where both are, NaN: leave masked classes out of the outputs.

    Raises:
        ValueError: for logits of different shapes, and a single logit with `standardize`.

    Examples:
        `½ (1² + 2²)`:

        >>> import keras_ls as kls
        >>> float(kls.distillation.SquaredLogitsDistillation()([[1.0, 2.0]], [[2.0, 4.0]]))
        2.5

    Reference:
        Ba and Caruana, "Do Deep Nets Really Need to Be Deep?", 2014; Müller, Kornblith and Hinton, "When Does Label
        Smoothing Help?", 2019.
    """

    takes_logits = True

    def __init__(
        self,
        center: bool = False,
        standardize: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "squared_logits_distillation",
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.center = bool(center)
        self.standardize = bool(standardize)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Per-example half squared distances."""
        check_same_shape(y_true, y_pred)
        if self.standardize:
            check_classes(f"{self.name!r} with standardize=True", y_pred, "the standard deviation says nothing")
        y_true, y_pred = as_two_classes(y_true), as_two_classes(y_pred)
        return squared_error_core(keras.ops.cast(y_true, y_pred.dtype), y_pred, self.center, self.standardize)

    def get_config(self) -> dict:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "center": self.center, "standardize": self.standardize}
