"""The base of the losses that add a weighted penalty on the logits to the cross-entropy."""

from keras import ops as K

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient, number
from keras_ls.ops._checks import checked_non_negative
from keras_ls.ops.crossentropy import crossentropy_core, weighted


class PenalisedCrossentropy(ClassificationLoss):
    """`ℓ = -log p_y + weight · penalty(z)`. Subclasses implement `penalty(logits)`, per example.

    Args:
        weight: 0 or more; a `keras.Variable`, to assign to while training.
        **kwargs: of `ClassificationLoss`.
    """

    weight = Coefficient(checked_non_negative)

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def penalty(self, logits):
        """Per-example penalties of logits `[..., K]`."""
        raise NotImplementedError(f"{type(self).__name__} must implement penalty(logits).")

    def losses(self, labels, logits):
        """Per-example losses."""
        weight = K.cast(self.weight.value, logits.dtype)
        return crossentropy_core(labels, logits) + weighted(weight, self.penalty(logits))

    def get_config(self):
        """Constructor arguments, for serialisation."""
        return {**super().get_config(), "weight": number(self.weight)}
