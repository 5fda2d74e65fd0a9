"""Displays: data first, drawing last. Each can be saved as JSON and drawn again; none changes matplotlib's settings."""

from keras_ls.plots.classwise_reliability_display import ClasswiseReliabilityDisplay
from keras_ls.plots.comparison_display import ComparisonDisplay
from keras_ls.plots.projection_display import ProjectionDisplay
from keras_ls.plots.reliability_comparison_display import ReliabilityComparisonDisplay
from keras_ls.plots.reliability_display import ReliabilityDisplay
from keras_ls.plots.smoothing_sweep_display import SmoothingSweepDisplay

__all__ = [
    "ClasswiseReliabilityDisplay",
    "ComparisonDisplay",
    "ProjectionDisplay",
    "ReliabilityComparisonDisplay",
    "ReliabilityDisplay",
    "SmoothingSweepDisplay",
]
