"""Knowledge distillation as a Keras model: compile, fit, evaluate, save."""

import numbers
import warnings

import keras
from keras import ops as K

from keras_ls.distillation.cached_teacher import CachedTeacher, is_joined
from keras_ls.distillation.teacher_metrics import TeacherMetrics
from keras_ls.losses.reduction import num_replicas, sum_over_replicas
from keras_ls.losses.replica_exact_loss import ReplicaExactLoss


@keras.saving.register_keras_serializable(package="keras_ls")
class Distiller(keras.Model):
    """Trains a student on labels and on what a teacher says of the same inputs.

    `loss = w · student loss + (1 - w) Σ_i λ_i D_i(teacher, student) + Σ add_loss terms of the student`, with w
    `student_loss_weight`, λ `distillation_loss_weights`, and the student loss given to `compile` (the β of Müller et
    al. is 1 - w). The student runs forward once a step, the teacher once in inference mode; the teacher is not changed,
    and not saved: a reloaded distiller predicts and evaluates the student, and trains on once `distiller.teacher` is
    set again.

    Sample weights, class weights and masks reach every term; the terms under a `tf.distribute` strategy add up to what
    one replica gives. The logs hold `loss` (the total), `student_loss`, and each distillation loss by its name, all
    unweighted by w and λ but the total, as means over the examples of the epoch.

    Args:
        teacher: a `keras.Model` that returns logits, or None (as in a reloaded distiller).
        student: a `keras.Model` that returns logits of the same shape.
        distillation_losses: one loss or a list, such as `LogitsDistillation`; any `keras.losses.Loss` that takes
            `(teacher_outputs, student_outputs)`. With several outputs each loss applies to every output.
        distillation_loss_weights: λ, one a loss; None for ones.
        student_loss_weight: w in [0, 1].
        name: name of the model.

    Attributes:
        student: the student, to use on its own after training.
        student_loss_weight: w; assigning to it (in a callback) takes effect without retracing.
        distillation_loss_weights: λ, likewise.

    Raises:
        ValueError: for arguments out of range, numbers of losses and weights that differ, `compile` without a loss
            while w > 0, and `fit` without a teacher.

    Examples:
        >>> import keras, numpy as np, keras_ls as kls
        >>> def network(width):
        ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dense(3)])
        >>> distiller = kls.Distiller(network(8), network(2), kls.distillation.LogitsDistillation(temperature=4.0))
        >>> distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0))
        >>> history = distiller.fit(np.eye(4, dtype="float32"), np.array([0, 1, 2, 0]), verbose=0).history
        >>> sorted(history)
        ['logits_distillation', 'loss', 'student_loss']

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    def __init__(
        self,
        teacher,
        student,
        distillation_losses,
        distillation_loss_weights=None,
        student_loss_weight=0.5,
        name="distiller",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not isinstance(student, keras.Model):
            raise ValueError(f"Expected `student` to be a keras.Model. Received: {type(student).__name__}.")
        self.teacher = teacher
        self.student = student
        self.distillation_losses = _checked_losses(distillation_losses)
        # variables, so that a schedule can move them without a new trace
        self._distillation_weights = [
            self._scalar(f"distillation_loss_weight_{i}", weight)
            for i, weight in enumerate(self._checked_weights(distillation_loss_weights))
        ]
        self._student_weight = self._scalar("student_loss_weight", _checked_share(student_loss_weight))
        self.student_loss_tracker = keras.metrics.Mean(name="student_loss")
        names = _unique([loss.name for loss in self.distillation_losses])
        self.distillation_loss_trackers = [keras.metrics.Mean(name=name) for name in names]
        object.__setattr__(self, "_teacher_metrics", None)
        if student.built:
            self.built = True

    @property
    def student_loss_weight(self):
        """w, a float."""
        return float(self._student_weight.numpy())

    @student_loss_weight.setter
    def student_loss_weight(self, value):
        self._student_weight.assign(_checked_share(value))

    @property
    def distillation_loss_weights(self):
        """λ, a list of floats."""
        return [float(weight.numpy()) for weight in self._distillation_weights]

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, values):
        for variable, value in zip(self._distillation_weights, self._checked_weights(values)):
            variable.assign(value)

    def _checked_weights(self, values):
        count = len(self.distillation_losses)
        values = values.tolist() if hasattr(values, "tolist") else values  # NumPy
        values = [1.0] * count if values is None else keras.tree.flatten(values)
        if len(values) != count:
            raise ValueError(
                f"Expected one `distillation_loss_weights` entry a distillation loss: {count}. Received: {len(values)}."
            )
        return [_checked_weight("distillation_loss_weights", value) for value in values]

    def __setattr__(self, name, value):
        if name != "teacher":
            return super().__setattr__(name, value)
        if value is not None and not isinstance(value, keras.Model):
            raise ValueError(f"Expected `teacher` to be a keras.Model or None. Received: {type(value).__name__}.")
        object.__setattr__(self, name, value)  # past Keras's tracking: its weights are neither trained nor saved
        self.train_function = self.test_function = None  # traced with the teacher before

    def __dir__(self):
        # Keras saves whatever `dir` shows
        return [name for name in super().__dir__() if name not in ("teacher", "_teacher_metrics")]

    @property
    def metrics(self):
        """The student's metrics, the terms of the loss, and what is measured of the teacher."""
        return super().metrics + ([self._teacher_metrics] if self._teacher_metrics is not None else [])

    def compile(self, optimizer="rmsprop", loss=None, *, teacher_metrics=None, **kwargs):
        """As `keras.Model.compile`; `loss`, `loss_weights` and `metrics` are the student's.

        Args:
            optimizer: as in Keras.
            loss: of the student; None where w = 0.
            teacher_metrics: measured of the teacher in the same step, with sample weights: a list, or a dictionary of
                lists by the names of the outputs. `metrics.TeacherAgreement` compares teacher and student; any other
                metric measures the teacher against the labels, and its log begins with "teacher_".
            **kwargs: as in Keras.
        """
        if loss is None and self.student_loss_weight > 0:
            raise ValueError(
                f"Expected `loss` in compile(), as student_loss_weight={self.student_loss_weight:g}. Received: None. "
                "To train on the teacher alone, build the Distiller with student_loss_weight=0."
            )
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        measured = TeacherMetrics(teacher_metrics) if teacher_metrics else None
        object.__setattr__(self, "_teacher_metrics", measured)  # past the tracking, as Keras does with `metrics`

    def get_compile_config(self):
        """Arguments of `compile`, for serialisation."""
        config = super().get_compile_config()
        if self._teacher_metrics is not None:
            config["teacher_metrics"] = keras.saving.serialize_keras_object(self._teacher_metrics.given)
        return config

    def compile_from_config(self, config):
        """Compiles as it was when saved; Keras leaves that to classes that have their own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=None):
        """The student's outputs."""
        if isinstance(self.teacher, CachedTeacher) and is_joined(inputs):
            inputs = inputs["inputs"]
        return self.student(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of the student loss, the distillation losses and the student's `add_loss` terms."""
        y_pred = self(x, training=training) if y_pred is None else y_pred
        batch = K.shape(keras.tree.flatten(x)[0])[0]
        total = 0.0
        if self._compile_loss is not None:
            if y is None:
                raise ValueError(
                    "Expected labels, as compile() was given a loss. Received: data without y. To train on the teacher "
                    "alone, build the Distiller with student_loss_weight=0 and compile without a loss."
                )
            student_loss = self._over_replicas(self._compile_loss(y, y_pred, sample_weight), batch)
            _log(self.student_loss_tracker, student_loss, batch)
            total = self._student_weight.value * student_loss
        share = 1.0 - self._student_weight.value
        terms = self._distillation_terms(x, y, y_pred, sample_weight, batch, training)
        for term, weight in zip(terms, self._distillation_weights):
            total = total + share * weight.value * term
        for term in self.losses:
            total = total + K.cast(self._aggregate_additional_loss(term), "float32")
        return total

    def _over_replicas(self, student_loss, batch):
        """Weighs a replica's mean, as Keras's own losses give it, with its share of the examples in the gradient."""
        losses = [entry.loss for entry in self._compile_loss._flat_losses]
        mean = ("sum_over_batch_size", "mean")
        if num_replicas() == 1 or any(
            isinstance(loss, ReplicaExactLoss) or getattr(loss, "reduction", "mean") not in mean for loss in losses
        ):
            return student_loss
        own = K.cast(batch, student_loss.dtype)
        exact = student_loss * num_replicas() * K.divide_no_nan(own, sum_over_replicas(own))
        return exact + K.stop_gradient(student_loss - exact)

    def _distillation_terms(self, x, y, y_pred, sample_weight, batch, training):
        if self._teacher_metrics is not None:
            self._teacher_metrics.known = self.teacher is not None
        if self.teacher is None:
            if training:
                raise ValueError("Expected a teacher to train with. Received: None. Set `distiller.teacher = model`.")
            warnings.warn(
                "This distiller has no teacher: `loss` leaves the distillation losses out. Set `distiller.teacher`.",
                stacklevel=2,
            )
            for tracker in self.distillation_loss_trackers:
                tracker.update_state(float("nan"))  # unknown: 0 would say that the student agrees
            return []
        taught = self.teacher(x, training=False)
        if isinstance(taught, dict) and isinstance(y_pred, dict) and taught.keys() != y_pred.keys():
            raise ValueError(
                "Expected a teacher and a student with outputs of the same names. "
                f"Received: teacher with {sorted(taught)}, student with {sorted(y_pred)}."
            )
        if self._teacher_metrics is not None:
            self._teacher_metrics.update_state(y, taught, y_pred, sample_weight)
        taught = [K.stop_gradient(output) for output in keras.tree.flatten(taught)]
        learned = keras.tree.flatten(y_pred)
        if len(taught) != len(learned):
            raise ValueError(
                "Expected a teacher and a student with as many outputs. "
                f"Received: teacher with {len(taught)}, student with {len(learned)}."
            )
        weights = [sample_weight] * len(learned)
        if keras.tree.is_nested(sample_weight):
            weights = keras.tree.flatten(sample_weight)
            if len(weights) != len(learned):
                raise ValueError(
                    f"Expected one `sample_weight` for all outputs, or {len(learned)}, one each. "
                    f"Received: {len(weights)}."
                )
        terms = []
        for loss, tracker in zip(self.distillation_losses, self.distillation_loss_trackers):
            term = sum(loss(t, s, w) for t, s, w in zip(taught, learned, weights))
            if len(term.shape) > 0:
                raise ValueError(
                    f"Expected distillation losses that return a scalar. Received: shape {tuple(term.shape)} from "
                    f"{loss.name!r}. Give it another `reduction`, such as 'sum_over_batch_size'."
                )
            _log(tracker, term, batch)
            terms.append(term)
        return terms

    def export(self, filepath, *args, **kwargs):
        """Exports the student alone, as `keras.Model.export` does."""
        return self.student.export(filepath, *args, **kwargs)

    def get_config(self):
        """Constructor arguments without the teacher, for serialisation."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "teacher": None,
            "student": serialize(self.student),
            "distillation_losses": [serialize(loss) for loss in self.distillation_losses],
            "distillation_loss_weights": self.distillation_loss_weights,
            "student_loss_weight": self.student_loss_weight,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A distiller without a teacher."""

        def deserialize(item):
            return keras.saving.deserialize_keras_object(item, custom_objects)

        config = dict(config)
        config["student"] = deserialize(config["student"])
        config["distillation_losses"] = [deserialize(loss) for loss in config["distillation_losses"]]
        return cls(**config)

    def _scalar(self, name, value):
        return self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=False, dtype="float32", name=name
        )


def _log(tracker, value, batch):
    # a replica's share of the mean, times the replicas, weighted by its examples: the mean over all of them
    tracker.update_state(value * num_replicas(), sample_weight=batch)


def _checked_losses(losses):
    losses = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    for loss in losses:
        if not isinstance(loss, keras.losses.Loss):
            raise ValueError(
                "Expected `distillation_losses` to be a loss such as keras_ls.distillation.LogitsDistillation(), or a "
                f"list of them. Received: {loss!r}."
            )
    if not losses:
        raise ValueError("Expected at least one distillation loss. Received: an empty list.")
    return losses


def _checked_weight(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < float("inf"):
        raise ValueError(f"Expected `{name}` of at least 0. Received: {value!r}.")
    return float(value)


def _checked_share(value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"Expected `student_loss_weight` in [0, 1]. Received: {value!r}.")
    return float(value)


def _unique(names):
    names = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
    if len({*names, "loss", "student_loss"}) < len(names) + 2:
        raise ValueError(
            "Expected distillation losses with names of their own, none of them 'loss' or 'student_loss'. "
            f"Received: {names}."
        )
    return names
