"""A teacher's logits on disk: written, checked, joined to a dataset."""

from keras_ls.distillation.teacher_cache.teacher_cache import TeacherCache

__all__ = ["TeacherCache"]
