"""Losses for `compile` and `fit`."""

from keras_ls.losses.binary_smoothed_crossentropy import BinarySmoothedCrossentropy
from keras_ls.losses.confidence_penalty import ConfidencePenalty
from keras_ls.losses.focal_crossentropy import FocalCrossentropy
from keras_ls.losses.margin_smoothing import MarginSmoothing
from keras_ls.losses.max_suppression import MaxSuppression
from keras_ls.losses.online_label_smoothing import OnlineLabelSmoothing
from keras_ls.losses.smoothed_crossentropy import SmoothedCrossentropy
from keras_ls.losses.unigram_prior import unigram_prior

__all__ = [
    "BinarySmoothedCrossentropy",
    "ConfidencePenalty",
    "FocalCrossentropy",
    "MarginSmoothing",
    "MaxSuppression",
    "OnlineLabelSmoothing",
    "SmoothedCrossentropy",
    "unigram_prior",
]
