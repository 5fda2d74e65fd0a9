"""The losses that the accuracy study compares, each at one setting from its paper for all data: none is tuned here."""

import dataclasses
from collections.abc import Callable

from keras_ls import losses


@dataclasses.dataclass(frozen=True)
class ComparedLoss:
    """A loss of the accuracy study.

    Attributes:
        label: what tables and figures call it.
        make: function of `(num_classes, steps_per_epoch, label_smoothing)` that returns the loss.
    """

    label: str
    make: Callable


COMPARED_LOSSES = {
    "smoothed": ComparedLoss("label smoothing", lambda k, steps, alpha: losses.SmoothedCrossentropy(alpha)),
    "online": ComparedLoss(
        "online smoothing α=0.5", lambda k, steps, alpha: losses.OnlineLabelSmoothing(k, 0.5, steps_per_epoch=steps)
    ),
    "margin": ComparedLoss("margin (MbLS)", lambda k, steps, alpha: losses.MarginSmoothing(10.0, 0.1)),
    "max-suppression": ComparedLoss("max suppression α=0.1", lambda k, steps, alpha: losses.MaxSuppression(0.1)),
    "confidence-penalty": ComparedLoss("confidence penalty", lambda k, steps, alpha: losses.ConfidencePenalty(0.1)),
    "focal": ComparedLoss("focal γ=3", lambda k, steps, alpha: losses.FocalCrossentropy(3.0)),
    "flsd-53": ComparedLoss("focal FLSD-53", lambda k, steps, alpha: losses.FocalCrossentropy("flsd-53")),
}
