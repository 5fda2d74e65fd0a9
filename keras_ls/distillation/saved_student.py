"""What of a Distiller is saved: all but the teacher."""

import keras

_FUNCTIONS = ("teacher_inputs", "student_inputs", "teacher_features", "student_features")


class SavedStudent:
    """How a Distiller is written and read."""

    def __dir__(self):
        # Keras saves whatever `dir` shows
        return [name for name in super().__dir__() if name not in ("teacher", "_teacher_metrics")]

    def export(self, filepath, *args, **kwargs):
        """Exports the student alone, as `keras.Model.export` does."""
        return self.student.export(filepath, *args, **kwargs)

    def get_config(self):
        """Constructor arguments without the teacher, and the shapes that the losses are built for."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "teacher": None,
            "student": serialize(self.student),
            "distillation_losses": serialize(list(self.distillation_losses)),
            "distillation_loss_weights": self.distillation_loss_weights,
            "student_loss_weight": self.student_loss_weight,
            "teacher_weights": self.teacher_weights,
            **{name: serialize(getattr(self, name)) for name in _FUNCTIONS},
            "feature_shapes": serialize(None if self._projections is None else self._projections.shapes),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A distiller without a teacher."""
        config = dict(config)
        for name in {"student", "distillation_losses", "feature_shapes", *_FUNCTIONS} & config.keys():
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        shapes = config.pop("feature_shapes", None)
        distiller = cls(**config)
        if shapes is not None:
            distiller._projections.build(shapes)
        return distiller

    def compile_from_config(self, config):
        """Compiles as it was when saved; Keras leaves that to classes that have their own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
