"""Knowledge distillation: the Distiller and its losses."""

from keras_ls.distillation.cached_teacher import CachedTeacher
from keras_ls.distillation.distillation_loss import DistillationLoss
from keras_ls.distillation.distiller import Distiller
from keras_ls.distillation.logits_distillation import LogitsDistillation
from keras_ls.distillation.teacher_cache import TeacherCache

__all__ = ["CachedTeacher", "DistillationLoss", "Distiller", "LogitsDistillation", "TeacherCache"]
