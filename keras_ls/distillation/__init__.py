"""Knowledge distillation: the Distiller and its losses."""

from keras_ls.distillation.cached_teacher import CachedTeacher
from keras_ls.distillation.distiller import Distiller
from keras_ls.distillation.losses.attention_transfer import AttentionTransfer
from keras_ls.distillation.losses.binary_logits_distillation import BinaryLogitsDistillation
from keras_ls.distillation.losses.correlation_distillation import CorrelationDistillation
from keras_ls.distillation.losses.decoupled_distillation import DecoupledDistillation
from keras_ls.distillation.losses.distillation_loss import DistillationLoss
from keras_ls.distillation.losses.feature_distillation import FeatureDistillation
from keras_ls.distillation.losses.hard_label_distillation import HardLabelDistillation
from keras_ls.distillation.losses.logits_distillation import LogitsDistillation
from keras_ls.distillation.losses.relational_distillation import RelationalDistillation
from keras_ls.distillation.losses.similarity_preserving import SimilarityPreserving
from keras_ls.distillation.losses.squared_logits_distillation import SquaredLogitsDistillation
from keras_ls.distillation.teacher_cache.teacher_cache import TeacherCache

__all__ = [
    "AttentionTransfer",
    "BinaryLogitsDistillation",
    "CachedTeacher",
    "CorrelationDistillation",
    "DecoupledDistillation",
    "DistillationLoss",
    "Distiller",
    "FeatureDistillation",
    "HardLabelDistillation",
    "LogitsDistillation",
    "RelationalDistillation",
    "SimilarityPreserving",
    "SquaredLogitsDistillation",
    "TeacherCache",
]
