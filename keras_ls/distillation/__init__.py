"""Knowledge distillation: the Distiller and its losses."""

from keras_ls.distillation.attention_transfer import AttentionTransfer
from keras_ls.distillation.binary_logits_distillation import BinaryLogitsDistillation
from keras_ls.distillation.cached_teacher import CachedTeacher
from keras_ls.distillation.correlation_distillation import CorrelationDistillation
from keras_ls.distillation.decoupled_distillation import DecoupledDistillation
from keras_ls.distillation.distillation_loss import DistillationLoss
from keras_ls.distillation.distiller import Distiller
from keras_ls.distillation.feature_distillation import FeatureDistillation
from keras_ls.distillation.hard_label_distillation import HardLabelDistillation
from keras_ls.distillation.logits_distillation import LogitsDistillation
from keras_ls.distillation.relational_distillation import RelationalDistillation
from keras_ls.distillation.similarity_preserving import SimilarityPreserving
from keras_ls.distillation.squared_logits_distillation import SquaredLogitsDistillation
from keras_ls.distillation.teacher_cache import TeacherCache

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
