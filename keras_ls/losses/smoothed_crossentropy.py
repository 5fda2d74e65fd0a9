"""Cross-entropy with label smoothing, from integer or dense labels."""

from typing import Any

import keras

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient
from keras_ls.ops._checks import checked_fraction, checked_prior
from keras_ls.ops._types import Tensor
from keras_ls.ops.crossentropy import crossentropy_core


@keras.saving.register_keras_serializable(package="keras_ls")
class SmoothedCrossentropy(ClassificationLoss):
    """Cross-entropy against smoothed targets, from integer or dense labels.

    `ℓ = -(1 - α) log p_y - α Σ_k u_k log p_k`, with `p = softmax(z)` and `u` uniform (`1/K`) or `prior`. Integer labels
    never become one-hot, and the gradient is written by hand. `SmoothedCrossentropy(0.0)` is the plain cross-entropy.

    When: the default. It calibrates about as well as a temperature and packs each class into a tight cluster; avoid it
    for a teacher that distils at a high temperature, and for models that rank their predictions by confidence (Xia et
    al., 2025). With unbalanced classes smooth towards `prior=unigram_prior(...)`.

    Weights and masks follow Keras: "sum_over_batch_size" divides by the number of examples (of kept ones under a mask
    or `ignore_class`), "mean_with_sample_weight" by the sum of their weights. A batch split over replicas gives the
    same update as on one.

    Args:
        label_smoothing: α in [0, 1). The tensor2tensor convention (α/(K-1) on the wrong classes) is α·K/(K-1) here.
        prior: class distribution `[K]` to smooth towards; None for the uniform one. `losses.unigram_prior` counts one.
        from_logits, ignore_class, axis, reduction, name, dtype: as of every `ClassificationLoss`.

    Attributes:
        label_smoothing: α, a `keras.Variable`. Assigning a number to it (`callbacks.SmoothingSchedule` does) takes
            effect at the next step, without a new trace. Under a strategy, create the loss in its scope.

    Call arguments:
        - `y_true`: integers of the shape of `y_pred` without `axis` (or with 1 there), or dense targets of its
          whole shape.
        - `y_pred`: logits `[..., K]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for α outside [0, 1), a prior that is no distribution over K classes, and for labels as every
            `ClassificationLoss`.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> loss = kls.losses.SmoothedCrossentropy(0.1)
        >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]], "float32")
        >>> round(float(loss([0, 2], logits)), 4)
        0.3339
        >>> round(float(loss([[1, 0, 0], [0, 0, 1]], logits)), 4)
        0.3339

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016; Müller, Kornblith and Hinton,
        "When Does Label Smoothing Help?", 2019. A prior other than uniform: Pereyra et al., 2017.
    """

    label_smoothing = Coefficient(checked_fraction)

    def __init__(
        self,
        label_smoothing: float = 0.1,
        prior: Tensor | None = None,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "smoothed_crossentropy",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, reduction, name, dtype)
        self.label_smoothing = label_smoothing
        self.prior = None if prior is None else checked_prior(prior).tolist()

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        return crossentropy_core(labels, logits, self.label_smoothing.value, self.prior)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "prior": self.prior}
