"""Every public loss, metric, calibrator and distillation loss, with data to try it on: the sweeps run over these.

A new component registers here; `test_registry.py` fails until it does. Each entry makes a fresh component (keyword
arguments reach its constructor) and a batch `(y_true, y_pred)` of 7 examples: an odd number, so that two replicas get
unequal shares.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

import keras_ls as kls

CLASSES = 5


@dataclasses.dataclass(frozen=True)
class Component:
    name: str
    make: Callable
    batch: Callable
    whole: bool = False  # an example is what one index of the first axis holds: it has one weight and one mask
    bounded: bool = False  # a loss that stays small however large the logits are

    def __str__(self):
        return self.name


def _logits(shape):
    return (2.0 * np.random.default_rng(sum(shape)).normal(size=(*shape, CLASSES))).astype("float32")


def integers(shape=(7,)):
    return np.random.default_rng(1).integers(0, CLASSES, shape), _logits(shape)


def some_ignored(shape=(7,)):
    labels, logits = integers(shape)
    labels[..., ::3] = -1
    return labels, logits


def dense(shape=(7,)):
    return np.random.default_rng(2).dirichlet(np.ones(CLASSES), shape).astype("float32"), _logits(shape)


def binary(shape=(7,)):
    return np.random.default_rng(3).integers(0, 2, shape).astype("float32"), _logits(shape)[..., 0]


def multi_label(shape=(7,)):
    return np.random.default_rng(5).integers(0, 2, (*shape, CLASSES)).astype("float32"), _logits(shape)


def some_unknown(shape=(7,)):
    labels, logits = multi_label(shape)
    labels[::3, ..., 0] = -1  # one label of an example
    labels[2] = -1  # all of them
    return labels, logits


def teacher(shape=(7,)):
    return _logits((*shape, 1))[..., 0, :], _logits(shape)


def feature_maps(shape=(7,)):
    """As `teacher`, with an axis of positions."""
    return teacher(shape if len(shape) > 1 else (*shape, 4))


def overconfident(shape=(40,)):
    """Labels drawn from softmax(z / 3): the right temperature is about 3."""
    logits = _logits(shape) * 3
    noise = np.random.default_rng(4).gumbel(size=logits.shape)
    return (logits / 3 + noise).argmax(axis=-1), logits


def projected(**k):
    """With a projector whose first weights are the same every time."""
    projector = keras.layers.Dense(CLASSES, kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    loss = kls.distillation.FeatureDistillation(projector=projector, **k)
    loss.build((None, CLASSES), (None, CLASSES))
    return loss


PRIOR = [0.1, 0.2, 0.3, 0.15, 0.25]
LOSSES = [
    Component("SmoothedCrossentropy", kls.losses.SmoothedCrossentropy, integers),
    Component("SmoothedCrossentropy-dense", kls.losses.SmoothedCrossentropy, dense),
    Component("SmoothedCrossentropy-hard", lambda **k: kls.losses.SmoothedCrossentropy(0.0, **k), integers),
    Component("SmoothedCrossentropy-prior", lambda **k: kls.losses.SmoothedCrossentropy(0.3, PRIOR, **k), integers),
    Component(
        "SmoothedCrossentropy-ignore", lambda **k: kls.losses.SmoothedCrossentropy(ignore_class=-1, **k), some_ignored
    ),
    Component("OnlineLabelSmoothing", lambda **k: kls.losses.OnlineLabelSmoothing(CLASSES, **k), integers),
    Component(
        "OnlineLabelSmoothing-ignore",
        lambda **k: kls.losses.OnlineLabelSmoothing(CLASSES, 0.3, ignore_class=-1, **k),
        some_ignored,
    ),
    Component("MarginSmoothing", lambda **k: kls.losses.MarginSmoothing(2.0, 0.3, **k), integers),
    Component("MarginSmoothing-dense", lambda **k: kls.losses.MarginSmoothing(2.0, 0.3, **k), dense),
    Component("MaxSuppression", kls.losses.MaxSuppression, integers),
    Component("MaxSuppression-ignore", lambda **k: kls.losses.MaxSuppression(ignore_class=-1, **k), some_ignored),
    Component("ConfidencePenalty", kls.losses.ConfidencePenalty, integers),
    Component("ConfidencePenalty-dense", kls.losses.ConfidencePenalty, dense),
    Component("FocalCrossentropy", kls.losses.FocalCrossentropy, integers),
    Component("FocalCrossentropy-flsd53", lambda **k: kls.losses.FocalCrossentropy("flsd-53", **k), integers),
    Component("BinarySmoothedCrossentropy", kls.losses.BinarySmoothedCrossentropy, multi_label),
    Component(
        "BinarySmoothedCrossentropy-ignore",
        lambda **k: kls.losses.BinarySmoothedCrossentropy(0.2, [0.1, 0.2, 0.3, 0.4, 0.5], ignore_class=-1, **k),
        some_unknown,
    ),
    Component("LogitsDistillation", kls.distillation.LogitsDistillation, teacher),
    Component(
        "LogitsDistillation-paper",
        lambda **k: kls.distillation.LogitsDistillation(4.0, student_temperature=1.0, scale_by_temperature=False, **k),
        teacher,
    ),
    Component(
        "LogitsDistillation-reverse",
        lambda **k: kls.distillation.LogitsDistillation(2.0, divergence="reverse_kl", **k),
        teacher,
        bounded=True,  # by the teacher's least probability
    ),
    Component(
        "LogitsDistillation-jensen_shannon",
        lambda **k: kls.distillation.LogitsDistillation(divergence="jensen_shannon", **k),
        teacher,
        bounded=True,
    ),
    Component(
        "LogitsDistillation-standardized",
        lambda **k: kls.distillation.LogitsDistillation(2.0, standardize=True, **k),
        teacher,
        bounded=True,
    ),
    Component("BinaryLogitsDistillation", kls.distillation.BinaryLogitsDistillation, teacher),
    Component(
        "BinaryLogitsDistillation-paper",
        lambda **k: kls.distillation.BinaryLogitsDistillation(1.0, 2.0, scale_by_temperature=False, **k),
        teacher,
    ),
    Component("HardLabelDistillation", kls.distillation.HardLabelDistillation, teacher),
    Component("SquaredLogitsDistillation", kls.distillation.SquaredLogitsDistillation, teacher),
    Component(
        "SquaredLogitsDistillation-centered",
        lambda **k: kls.distillation.SquaredLogitsDistillation(center=True, **k),
        teacher,
    ),
    Component(
        "DecoupledDistillation",
        lambda **k: kls.distillation.DecoupledDistillation(1.0, 2.0, 1.0, target="teacher", **k),
        teacher,
    ),
    Component("CorrelationDistillation", kls.distillation.CorrelationDistillation, teacher, bounded=True),
    Component(
        "CorrelationDistillation-standardized",
        lambda **k: kls.distillation.CorrelationDistillation(1.0, 0.5, 2.0, False, standardize=True, **k),
        teacher,
        bounded=True,
    ),
    Component(
        "RelationalDistillation",
        lambda **k: kls.distillation.RelationalDistillation(1.0, 2.0, **k),
        teacher,
        whole=True,
        bounded=True,
    ),
    Component("SimilarityPreserving", kls.distillation.SimilarityPreserving, teacher, whole=True, bounded=True),
    Component("FeatureDistillation", kls.distillation.FeatureDistillation, teacher),
    Component(
        "FeatureDistillation-cosine",
        lambda **k: kls.distillation.FeatureDistillation("cosine", **k),
        teacher,
        bounded=True,
    ),
    Component("FeatureDistillation-projector", projected, teacher),
    Component("AttentionTransfer", kls.distillation.AttentionTransfer, feature_maps, whole=True, bounded=True),
]
METRICS = [
    Component("ExpectedCalibrationError", kls.metrics.ExpectedCalibrationError, integers),
    Component("ExpectedCalibrationError-dense", kls.metrics.ExpectedCalibrationError, dense),
    Component("ExpectedCalibrationError-binary", kls.metrics.ExpectedCalibrationError, binary),
    Component(
        "ExpectedCalibrationError-quantile",
        lambda **k: kls.metrics.ExpectedCalibrationError(3, binning="quantile", closed="right", **k),
        integers,
    ),
    Component(
        "ExpectedCalibrationError-debiased",
        lambda **k: kls.metrics.ExpectedCalibrationError(2, norm="l2", debiased=True, **k),
        integers,
    ),
    Component(
        "ExpectedCalibrationError-max",
        lambda **k: kls.metrics.ExpectedCalibrationError(3, norm="max", ignore_class=-1, **k),
        some_ignored,
    ),
    Component("BrierScore", kls.metrics.BrierScore, integers),
    Component("BrierScore-dense", kls.metrics.BrierScore, dense),
    Component("BrierScore-binary", kls.metrics.BrierScore, binary),
    Component("NegativeLogLikelihood", kls.metrics.NegativeLogLikelihood, integers),
    Component(
        "NegativeLogLikelihood-ignore",
        lambda **k: kls.metrics.NegativeLogLikelihood(ignore_class=-1, **k),
        some_ignored,
    ),
    Component("NegativeLogLikelihood-binary", kls.metrics.NegativeLogLikelihood, binary),
    Component(
        "ClasswiseCalibrationError",
        lambda **k: kls.metrics.ClasswiseCalibrationError(num_classes=CLASSES, **k),
        integers,
    ),
    Component(
        "ClasswiseCalibrationError-dense",
        lambda **k: kls.metrics.ClasswiseCalibrationError(3, num_classes=CLASSES, **k),
        dense,
    ),
    Component(
        "ClasswiseCalibrationError-binary",
        lambda **k: kls.metrics.ClasswiseCalibrationError(num_classes=2, **k),
        binary,
    ),
    Component(
        "ClasswiseCalibrationError-quantile",
        lambda **k: kls.metrics.ClasswiseCalibrationError(
            3, "quantile", closed="right", threshold=0.01, num_classes=CLASSES, **k
        ),
        integers,
    ),
    Component(
        "ClasswiseCalibrationError-debiased",
        lambda **k: kls.metrics.ClasswiseCalibrationError(2, norm="l2", debiased=True, num_classes=CLASSES, **k),
        integers,
    ),
    Component(
        "ClasswiseCalibrationError-ignore",
        lambda **k: kls.metrics.ClasswiseCalibrationError(3, norm="max", ignore_class=-1, num_classes=CLASSES, **k),
        some_ignored,
    ),
    Component("SmoothCalibrationError", kls.metrics.SmoothCalibrationError, integers),
    Component("SmoothCalibrationError-dense", kls.metrics.SmoothCalibrationError, dense),
    Component("SmoothCalibrationError-binary", kls.metrics.SmoothCalibrationError, binary),
    Component(
        "SmoothCalibrationError-ignore",
        lambda **k: kls.metrics.SmoothCalibrationError(0.05, ignore_class=-1, **k),
        some_ignored,
    ),
    Component("RiskCoverageArea", kls.metrics.RiskCoverageArea, integers),
    Component("RiskCoverageArea-dense", kls.metrics.RiskCoverageArea, dense),
    Component("RiskCoverageArea-binary", kls.metrics.RiskCoverageArea, binary),
    Component("RiskCoverageArea-ignore", lambda **k: kls.metrics.RiskCoverageArea(ignore_class=-1, **k), some_ignored),
    Component("EffectiveSmoothing", lambda **k: kls.metrics.EffectiveSmoothing(2.0, **k), integers),
    Component("EffectiveSmoothing-dense", kls.metrics.EffectiveSmoothing, dense),
    Component("EffectiveSmoothing-binary", kls.metrics.EffectiveSmoothing, binary),
    Component(
        "EffectiveSmoothing-ignore",
        lambda **k: kls.metrics.EffectiveSmoothing(ignore_class=-1, **k),
        some_ignored,
    ),
    Component("TeacherAgreement", kls.metrics.TeacherAgreement, teacher),
    Component("TeacherAgreement-kl", lambda **k: kls.metrics.TeacherAgreement("kl", 2.0, **k), teacher),
]
CALIBRATORS = [
    Component("TemperatureScaling", kls.calibrators.TemperatureScaling, overconfident),
    Component("IsotonicCalibration", kls.calibrators.IsotonicCalibration, overconfident),
    Component(
        "IsotonicCalibration-top_label",
        lambda **k: kls.calibrators.IsotonicCalibration("top_label", **k),
        overconfident,
    ),
    Component("HistogramBinning", kls.calibrators.HistogramBinning, overconfident),
    Component(
        "HistogramBinning-quantile",
        lambda **k: kls.calibrators.HistogramBinning(4, "quantile", closed="right", **k),
        overconfident,
    ),
    Component(
        "HistogramBinning-top_label",
        lambda **k: kls.calibrators.HistogramBinning(method="top_label", **k),
        overconfident,
    ),
    Component("VectorScaling", kls.calibrators.VectorScaling, overconfident),
    Component("VectorScaling-l2", lambda **k: kls.calibrators.VectorScaling(l2=0.1, **k), overconfident),
    Component("MatrixScaling", kls.calibrators.MatrixScaling, overconfident),
    Component("DirichletCalibration", kls.calibrators.DirichletCalibration, overconfident),
    Component("EnsembleTemperatureScaling", kls.calibrators.EnsembleTemperatureScaling, overconfident),
]
