"""Losses for `compile` and `fit`."""

from keras_ls.losses.smoothed_crossentropy import SmoothedCrossentropy

__all__ = ["SmoothedCrossentropy"]
