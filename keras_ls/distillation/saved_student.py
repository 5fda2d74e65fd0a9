"""What of a Distiller is saved: all but the teacher."""

import json

import keras
import numpy as np

from keras_ls.losses.epoch_starts import KEY, epoch_starts

_SHAPES = "feature_shapes"
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

    def save_own_variables(self, store):
        """Keeps, beside the loss weights, what schedules found them at and the shapes of the projectors."""
        super().save_own_variables(store)
        epoch_starts(self).save(store)
        if self._projections is not None:
            store[_SHAPES] = np.frombuffer(json.dumps(self._projections.shapes).encode(), "uint8")

    def load_own_variables(self, store):
        """Builds the projectors that no batch has built yet, before their own variables are read.

        Raises:
            ValueError: for a file without their shapes, which would leave them as they start.
        """
        own = {key: store[key] for key in store.keys() if key not in (_SHAPES, KEY)}  # noqa: SIM118, an entry of a file
        epoch_starts(self).load(store)
        if self._projections is not None and not self._projections.built:
            if _SHAPES not in store.keys():  # noqa: SIM118
                raise ValueError(
                    "Expected weights with the shapes of the projectors. Received: a file without, of before. "
                    "Let one batch pass first (`distiller.evaluate(batch)`), so that they are built."
                )
            shapes = json.loads(np.asarray(store[_SHAPES]).tobytes())
            if shapes is not None:
                self._projections.build(shapes)
                self._renew_optimizer()
        super().load_own_variables(own)

    def _renew_optimizer(self):
        # built before the file told of the projectors, as for BackupAndRestore, it would lack their state
        if self.optimizer is not None and self.optimizer.built:
            self.optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
            self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        """Compiles as it was when saved; Keras leaves that to classes that have their own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
