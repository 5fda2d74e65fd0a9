"""Knowledge distillation as a Keras model: compile, fit, evaluate, save.

In a step `train_step` runs the teachers, then Keras runs `call`, the student, and `compute_loss`, the sum of the terms.
"""

import contextlib
import inspect
import threading
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops as K

from keras_ls.distillation.distiller_checks import (
    check_scope,
    checked_loss_weights,
    checked_losses,
    checked_share,
    checked_teacher,
    one_strategy_advised,
    warn_of_probabilities,
)
from keras_ls.distillation.forward_pass import (
    ForwardPass,
    Teachers,
    checked_features,
    checked_inputs,
    select_inputs,
    without_rematerialization,
)
from keras_ls.distillation.loss_terms import SHAPES, Projectors, expanded
from keras_ls.distillation.losses.probability_losses import check_layers
from keras_ls.distillation.teacher_metrics import TeacherMetrics
from keras_ls.losses.epoch_starts import KEY, epoch_starts
from keras_ls.losses.keras_losses import weigh_keras_loss
from keras_ls.losses.reduction import num_replicas
from keras_ls.ops._types import Data, PathLike, Tensor

# Keras trains, counts and saves every model and metric that is set as an attribute or that `dir` shows: not these
_UNTRACKED = ("teacher", "_teacher_metrics")
_FUNCTIONS = ("teacher_inputs", "student_inputs", "teacher_features", "student_features")


class _Step(threading.local):
    """What a step hands from its forward passes to its loss, as Keras calls `call` and `compute_loss` one by one.

    Each thread has its own: a strategy runs every replica in one, and goes to and fro between them within the step.

    Attributes:
        kind: "step", "shapes" where variables are made and nothing may be used outside of the pass, None in no step.
        from_teacher: what the teachers returned, or None.
        features: the student's features by name, or None.
    """

    kind = from_teacher = features = None


@keras.saving.register_keras_serializable(package="keras_ls")
class Distiller(keras.Model):
    """Trains a student on labels and on what a teacher says of the same inputs.

    `loss = w · student loss + (1 - w) Σ_i λ_i D_i(teacher, student) + Σ add_loss terms of the student`, with w
    `student_loss_weight`, λ `distillation_loss_weights`, and the student loss given to `compile` (the β of Müller et
    al. is 1 - w). With several teachers D_i is its mean over them: for the cross-entropy and the forward KL divergence
    the gradient is that of the teachers' averaged predictions, and it is defined for features, too.

    The student runs forward once a step, each teacher once in inference mode, outside the gradient; a teacher is not
    changed, and not saved: a reloaded distiller predicts and evaluates the student, and trains on once
    `distiller.teacher` is set again. The teacher may be the student itself, which then learns from its own predictions
    of the moment; from a snapshot with `keras.models.clone_model` and `set_weights`.

    Losses with layer names compare what these layers return in that one pass; the layers of such names run once in it.
    The variables of the losses' projectors are trained and saved with the distiller, and are no part of the student.

    Sample weights, class weights and masks reach every term; the terms under a `tf.distribute` strategy add up to what
    one replica gives. The logs hold `loss` (the total), `student_loss`, and each distillation loss by its name, all
    unweighted by w and λ but the total, as means over the examples of the epoch.

    Args:
        teacher: a `keras.Model` that returns logits, a list of them, or None (as in a reloaded distiller).
        student: a `keras.Model` that returns logits of the same shape.
        distillation_losses: one loss or a list, such as `LogitsDistillation`; any `keras.losses.Loss` that takes
            `(teacher_outputs, student_outputs)`, or a `keras.distillation.DistillationLoss`, which no weights reach.
            With several outputs each loss applies to every output; `{output: loss}` in the list names them. None
            without a teacher: the student learns from labels alone, with w = 1.
        distillation_loss_weights: λ, one an entry of the list; None for ones.
        student_loss_weight: w in [0, 1].
        name: name of the model.
        teacher_weights: weights of the teachers in the means; None for equal ones.
        teacher_inputs: what the teachers get of a batch's x: all for None, a key of the dictionary x, or a function
            of x (registered with Keras, to be saved).
        student_inputs: what the student gets, likewise.
        teacher_features: function of `(model, inputs, training)` that runs the model and returns `(outputs, {name:
            tensor})`, for losses that compare what no layer returns; None to find the names among the layers.
        student_features: the same for the student.

    Attributes:
        student: the student, to use on its own after training.
        student_loss_weight: w; assigning to it (in a callback) takes effect without retracing.
        distillation_loss_weights: λ, likewise.

    Raises:
        ValueError: for arguments out of range, names of layers that a model does not have, numbers of losses and
            weights that differ, `compile` without a loss while w > 0, `fit` without a teacher, logits for a loss of
            probabilities such as `keras.losses.KLDivergence`, and parts made outside of the `strategy.scope()`.

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
        teacher: keras.Model | list[keras.Model] | None,
        student: keras.Model,
        distillation_losses: keras.losses.Loss | list | None,
        distillation_loss_weights: float | list[float] | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        *,
        teacher_weights: list[float] | None = None,
        teacher_inputs: str | Callable | None = None,
        student_inputs: str | Callable | None = None,
        teacher_features: Callable | None = None,
        student_features: Callable | None = None,
        **kwargs: Any,
    ):
        # each model converts its own inputs: half precision here would round them for all
        super().__init__(name=name, **{"autocast": False, **kwargs})
        if not isinstance(student, keras.Model):
            raise ValueError(f"Expected `student` to be a keras.Model. Received: {type(student).__name__}.")
        if teacher is None and not distillation_losses:
            distillation_losses, student_loss_weight = [], 1.0
        elif isinstance(distillation_losses, (list, tuple)) and not distillation_losses:
            raise ValueError("Expected at least one distillation loss. Received: an empty list.")
        check_scope(self, "the student", student.variables)
        self.student = student
        self.distillation_losses = checked_losses(distillation_losses)
        self._terms = tuple(expanded(self.distillation_losses))
        warn_of_probabilities("student", student, self._terms)
        check_layers("student", student, self._terms)
        self.teacher_weights = teacher_weights
        self.teacher_inputs = checked_inputs("teacher_inputs", teacher_inputs)
        self.student_inputs = checked_inputs("student_inputs", student_inputs)
        self.teacher_features = checked_features("teacher_features", teacher_features)
        self.student_features = checked_features("student_features", student_features)
        self.teacher = teacher
        self._teacher_metrics = None
        self._step = _Step()
        names = dict.fromkeys(name for term in self._terms for name in term.student_layers())
        self._student_pass = ForwardPass(student, names, self.student_features, self.student_inputs)
        self._distillation_weights = [
            self._scalar(f"distillation_loss_weight_{i}", weight)
            for i, weight in enumerate(checked_loss_weights(distillation_loss_weights, len(self.distillation_losses)))
        ]
        self._student_weight = self._scalar("student_loss_weight", checked_share(student_loss_weight))
        self.student_loss_tracker = keras.metrics.Mean(name="student_loss")
        self.distillation_loss_trackers = [keras.metrics.Mean(name=term.name) for term in self._terms]
        building = [term for term in self._terms if term.builds]
        self._projections = Projectors(building) if building else None
        if student.built:
            self.built = True
            self._build_losses_for_known_inputs()

    def __setattr__(self, name, value):
        if name in _UNTRACKED:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self):
        return [name for name in super().__dir__() if name not in _UNTRACKED]

    @property
    def teacher(self) -> keras.Model | list[keras.Model] | None:
        """The teacher, a list of several, or None; another one takes effect at the next step."""
        return None if self._teachers is None else self._teachers.given

    @teacher.setter
    def teacher(self, teacher):
        teacher = checked_teacher(teacher)
        models = teacher if isinstance(teacher, list) else [teacher]
        for model in models if teacher is not None else []:
            if model is not self.student:
                warn_of_probabilities("teacher", model, self._terms)
            check_layers("teacher", model, self._terms)
        names = dict.fromkeys(name for term in self._terms for name in term.teacher_layers())
        how = self.teacher_weights, names, self.teacher_features, self.teacher_inputs
        self._teachers = None if teacher is None else Teachers(teacher, *how)
        self.train_function = self.test_function = None  # traced with the teacher before
        # Keras asks every layer of a model, of which the teachers are none
        layers = [layer for model in models if model is not None for layer in model._flatten_layers()]
        self.supports_jit = all(layer.supports_jit for layer in layers)
        if self._jit_compile and not self.supports_jit:
            warnings.warn(
                "Expected teachers that XLA can compile, for `jit_compile=True`. Received: one with a layer that it "
                "cannot. Training goes on without XLA.",
                stacklevel=3,
            )
            self.jit_compile = False

    @property
    def student_loss_weight(self) -> float:
        """The weight w of the student loss."""
        return float(self._student_weight.numpy())

    @student_loss_weight.setter
    def student_loss_weight(self, value):
        self._student_weight.assign(checked_share(value))

    @property
    def distillation_loss_weights(self) -> list[float]:
        """The weights λ of the distillation losses."""
        return [float(weight.numpy()) for weight in self._distillation_weights]

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, values):
        values = checked_loss_weights(values, len(self.distillation_losses))
        for variable, value in zip(self._distillation_weights, values):
            variable.assign(value)

    def _scalar(self, name, value):
        # a variable, so that a schedule can move it without a new trace
        return self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=False, dtype="float32", name=name
        )

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The student's metrics, the terms of the loss, and what is measured of the teacher."""
        return super().metrics + ([self._teacher_metrics] if self._teacher_metrics is not None else [])

    @property
    def output_names(self) -> list[str] | None:
        """Of the student, by which losses, metrics, labels and weights are found; None of a subclassed one."""
        return getattr(self.student, "output_names", None)

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss: keras.losses.Loss | str | list | dict | None = None,
        *,
        teacher_metrics: list | dict | None = None,
        **kwargs: Any,
    ) -> None:
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
        self._check_scope()
        self._teacher_metrics = TeacherMetrics(teacher_metrics) if teacher_metrics else None

    def _check_scope(self):
        check_scope(self, "the student", self.student.variables)
        check_scope(self, "the projectors", self.trainable_variables)
        if getattr(self, "optimizer", None) is not None:
            check_scope(self, "the optimizer", self.optimizer.variables)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; `sample_weight` counts without labels, too."""
        self._check_scope()
        call = inspect.signature(super().fit).bind(*args, **kwargs)
        if call.arguments.get("class_weight") is None:
            _keep_weights(call.arguments)
        validation = call.arguments.get("validation_data")
        if isinstance(validation, (tuple, list)) and len(validation) == 3:
            named = dict(zip(("x", "y", "sample_weight"), validation))
            _keep_weights(named)
            call.arguments["validation_data"] = tuple(named.values())
        with one_strategy_advised():
            return super().fit(*call.args, **call.kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> list[float] | dict[str, float]:
        """As `keras.Model.evaluate`; `sample_weight` counts without labels, too."""
        call = inspect.signature(super().evaluate).bind(*args, **kwargs)
        _keep_weights(call.arguments)
        with one_strategy_advised():
            return super().evaluate(*call.args, **call.kwargs)

    def build(self, input_shape: Data) -> None:
        """Nothing to do: the student and the projectors build themselves when a first batch passes."""

    def train_step(self, *args: Data) -> dict | tuple:
        """As in Keras, with the teachers' pass first, where no gradient is recorded."""
        with self._step_of(args[-1]) as data:
            return super().train_step(*args[:-1], data)

    def test_step(self, *args: Data) -> dict | tuple:
        """As in Keras, likewise."""
        with self._step_of(args[-1]) as data:
            return super().test_step(*args[:-1], data)

    @contextlib.contextmanager
    def _step_of(self, data, kind="step"):
        """A context in which the models run and the loss is computed; gives the data as Keras is to have it."""
        data = _without_empty_labels(data)
        self._step.kind = kind
        try:
            if kind == "shapes":
                with without_rematerialization([self.student, *(self._teachers.models if self._teachers else ())]):
                    yield data
                return
            # within the loss on JAX, which has no recording, and hands the present weights to the loss alone
            if self._teachers is not None and keras.backend.backend() != "jax":
                self._step.from_teacher = self._teachers(keras.utils.unpack_x_y_sample_weight(data)[0])
            yield data
        finally:
            vars(self._step).clear()

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """The student's outputs."""
        x = inputs if self._teachers is None else self._teachers.inputs(inputs)
        if self._step.kind is None:
            return self.student(select_inputs(x, self.student_inputs), training=training)
        from_student = self._student_pass(x, training)
        if self._step.kind == "step":
            self._step.features = from_student[1]
        elif self._projections is not None and self._teachers is not None:
            self._projections.build_for(self._teachers(inputs)[0], from_student, self.output_names)
        return from_student[0]

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The weighted sum of the student loss, the distillation losses and the student's `add_loss` terms."""
        y_pred = self(x, training=training) if y_pred is None else y_pred
        batch = K.shape(next(leaf for leaf in keras.tree.flatten(x) if leaf is not None))[0]
        total = 0.0
        if self._compile_loss is not None:
            if y is None:
                raise ValueError(
                    "Expected labels, as compile() was given a loss. Received: data without y. To train on the teacher "
                    "alone, build the Distiller with student_loss_weight=0 and compile without a loss."
                )
            student_loss = self._compile_loss(y, y_pred, sample_weight)
            losses = [entry.loss for entry in self._compile_loss._flat_losses]  # which its call has put in order
            student_loss = weigh_keras_loss(student_loss, losses, batch)
            _log(self.student_loss_tracker, student_loss, batch)
            total = self._student_weight.value * student_loss
        share = 1.0 - self._student_weight.value
        terms = self._distillation_terms(x, y, y_pred, sample_weight, training)
        for term, tracker, value in zip(self._terms, self.distillation_loss_trackers, terms):
            _log(tracker, value, batch)
            total = total + share * self._distillation_weights[term.weight_index].value * value
        for term in self.losses:
            total = total + K.cast(self._aggregate_additional_loss(term), "float32")
        return total

    def _distillation_terms(self, x, y, y_pred, sample_weight, training):
        """The value of each term, the mean over the teachers."""
        if self._teacher_metrics is not None:
            self._teacher_metrics.known = self._teachers is not None
        if not self._terms:
            return []
        if self._teachers is None:
            if training:
                raise ValueError("Expected a teacher to train with. Received: None. Set `distiller.teacher = model`.")
            warnings.warn(
                "This distiller has no teacher: `loss` leaves the distillation losses out. Set `distiller.teacher`.",
                stacklevel=2,
            )
            for tracker in self.distillation_loss_trackers:
                tracker.update_state(float("nan"))  # unknown: 0 would say that the student agrees
            return []
        from_teacher, features = self._step.from_teacher, self._step.features
        if from_teacher is None:
            from_teacher = self._teachers(x)
        if features is None:  # in no step, or where shapes are told
            features = self._student_pass(self._teachers.inputs(x), training)[1] if self._student_pass.names else {}
        from_student = y_pred, features
        if self._teacher_metrics is not None:
            if len(from_teacher) > 1:
                raise ValueError(
                    f"Expected one teacher for `teacher_metrics`. Received: {len(from_teacher)}. Evaluate each on its "
                    "own."
                )
            self._teacher_metrics.update_state(y, from_teacher[0][0], y_pred, sample_weight)
        if self._projections is not None:
            self._projections.build_for(from_teacher[0], from_student, self.output_names)
        values = []
        for term in self._terms:
            value = 0
            for share, one in zip(self._teachers.shares, from_teacher):
                value = value + share * term(one, from_student, sample_weight, y, self.output_names)
            values.append(value)
        return values

    def _symbolic_build(self, iterator=None, data_batch=None):
        # Keras makes the model's variables here, before the optimizer's, and `call` the projectors' along with them;
        # where Keras leaves this out (TensorFlow on one device), the first step makes them
        with self._step_of(data_batch, "shapes") as data_batch:
            super()._symbolic_build(iterator, data_batch)

    def _build_losses_for_known_inputs(self):
        """So that a fresh distiller can load weights; where the inputs are not known, the first step builds."""
        inputs = getattr(self.student, "inputs", None)  # none of a subclass
        if inputs is None or self.student_inputs or self.teacher_inputs or self._projections is None:
            return
        if self._teachers is not None and not self._teachers.cached:
            with self._step_of(None, "shapes"):
                self.compute_output_spec(inputs[0] if len(inputs) == 1 else self.student.input)

    def export(self, filepath: PathLike, *args: Any, **kwargs: Any) -> None:
        """Exports the student alone, as `keras.Model.export` does."""
        self.student.export(filepath, *args, **kwargs)

    def get_config(self) -> dict:
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
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Distiller":
        """A distiller without a teacher."""
        config = dict(config)
        for name in {"student", "distillation_losses", "feature_shapes", *_FUNCTIONS} & config.keys():
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        shapes = config.pop("feature_shapes", None)
        distiller = cls(**config)
        if shapes is not None:
            distiller._projections.build(shapes)
        return distiller

    def get_compile_config(self) -> dict:
        """Arguments of `compile`, for serialisation."""
        config = super().get_compile_config()
        if self._teacher_metrics is not None:
            config["teacher_metrics"] = keras.saving.serialize_keras_object(self._teacher_metrics.given)
        return config

    def compile_from_config(self, config: dict) -> None:
        """Compiles as it was when saved; Keras leaves that to classes that have their own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def save_own_variables(self, store: dict) -> None:
        """Keeps, beside the loss weights, what schedules found them at and the shapes of the projectors."""
        super().save_own_variables(store)
        epoch_starts(self).save(store)
        if self._projections is not None:
            self._projections.save_shapes(store)

    def load_own_variables(self, store: dict) -> None:
        """Builds the projectors that no batch has built yet, before their own variables are read.

        Raises:
            ValueError: for a file without their shapes, which would leave them as they start.
        """
        epoch_starts(self).load(store)
        if self._projections is not None and not self._projections.built:
            self._projections.load_shapes(store)
            if self._projections.built and self.optimizer is not None and self.optimizer.built:
                # before the file told of the projectors, as for BackupAndRestore: it would lack their state
                self.optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
                self.optimizer.build(self.trainable_variables)
        own = {key: store[key] for key in store.keys() if key not in (SHAPES, KEY)}  # noqa: SIM118, an entry of a file
        super().load_own_variables(own)


def _log(tracker, value, batch):
    # a replica's share of the mean, times the replicas, weighted by its examples: the mean over all of them
    tracker.update_state(value * num_replicas(), sample_weight=batch)


def _keep_weights(given):
    """Puts labels of no columns beside weights that have none: Keras drops such weights without a word."""
    leaves = keras.tree.flatten(given.get("x"))
    are_arrays = bool(leaves) and all(getattr(leaf, "shape", None) for leaf in leaves)  # no data set
    if given.get("y") is None and given.get("sample_weight") is not None and are_arrays:
        given["y"] = np.empty((leaves[0].shape[0], 0), "float32")


def _without_empty_labels(data):
    """The data of a step without what `_keep_weights` put in."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    is_empty = not keras.tree.is_nested(y) and len(getattr(y, "shape", None) or ()) == 2 and y.shape[1] == 0
    return (x, None, weight) if is_empty else data
