"""Knowledge distillation as a Keras model: compile, fit, evaluate, save."""

import warnings

import keras
from keras import ops as K

from keras_ls.distillation.distiller_checks import check_scope, checked_losses, checked_teacher, warn_of_probabilities
from keras_ls.distillation.fitting import Fitting, current_step, distiller_step
from keras_ls.distillation.forward_pass import ForwardPass, checked_features, checked_inputs, select_inputs
from keras_ls.distillation.loss_terms import expanded
from keras_ls.distillation.loss_weights import LossWeights
from keras_ls.distillation.losses.probability_losses import check_layers
from keras_ls.distillation.projectors import Projectors
from keras_ls.distillation.saved_student import SavedStudent
from keras_ls.distillation.teacher_metrics import TeacherMetrics
from keras_ls.distillation.teachers import Teachers
from keras_ls.losses.keras_losses import weigh_keras_loss
from keras_ls.losses.reduction import num_replicas


@keras.saving.register_keras_serializable(package="keras_ls")
class Distiller(LossWeights, SavedStudent, Fitting, keras.Model):
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
        teacher,
        student,
        distillation_losses,
        distillation_loss_weights=None,
        student_loss_weight=0.5,
        name="distiller",
        *,
        teacher_weights=None,
        teacher_inputs=None,
        student_inputs=None,
        teacher_features=None,
        student_features=None,
        **kwargs,
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
        names = dict.fromkeys(name for term in self._terms for name in term.student_layers())
        self._student_pass = ForwardPass(student, names, self.student_features, self.student_inputs)
        self.make_loss_weights(distillation_loss_weights, student_loss_weight)
        self.student_loss_tracker = keras.metrics.Mean(name="student_loss")
        self.distillation_loss_trackers = [keras.metrics.Mean(name=term.name) for term in self._terms]
        building = [term for term in self._terms if term.builds]
        self._projections = Projectors(building) if building else None
        object.__setattr__(self, "_teacher_metrics", None)
        if student.built:
            self.built = True
            self._build_losses_for_known_inputs()

    def __setattr__(self, name, value):
        if name != "teacher":
            return super().__setattr__(name, value)
        teacher = checked_teacher(value)
        teachers = None
        if teacher is not None:
            names = dict.fromkeys(name for term in self._terms for name in term.teacher_layers())
            models = teacher if isinstance(teacher, list) else [teacher]
            for model in models:
                if model is not self.student:
                    warn_of_probabilities("teacher", model, self._terms)
                check_layers("teacher", model, self._terms)
            teachers = Teachers(models, self.teacher_weights, names, self.teacher_features, self.teacher_inputs)
        # past Keras's tracking: their weights are neither trained nor saved
        object.__setattr__(self, "teacher", teacher)
        object.__setattr__(self, "_teachers", teachers)
        self.train_function = self.test_function = None  # traced with the teacher before
        self._check_jit()

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

    @property
    def output_names(self):
        """Of the student, by which losses, metrics, labels and weights are found; None of a subclassed one."""
        return getattr(self.student, "output_names", None)

    def get_compile_config(self):
        """Arguments of `compile`, for serialisation."""
        config = super().get_compile_config()
        if self._teacher_metrics is not None:
            config["teacher_metrics"] = keras.saving.serialize_keras_object(self._teacher_metrics.given)
        return config

    def build(self, input_shape):
        """Nothing to do: the student and the projectors build themselves when a first batch passes."""

    def call(self, inputs, training=None):
        """The student's outputs."""
        step = current_step(self)
        x = inputs if self._teachers is None else self._teachers.inputs(inputs)
        if step is None:
            return self.student(select_inputs(x, self.student_inputs), training=training)
        from_student = self._student_pass(x, training)
        if not step.abstract:
            step.features = from_student[1]
        elif self._projections is not None and self._teachers is not None:
            self._projections.build_for(self._teachers(inputs)[0], from_student, self.output_names)
        return from_student[0]

    def train_step(self, *args):
        """As in Keras, with the teachers' pass first, where no gradient is recorded."""
        with distiller_step(self) as step:
            # within the loss on JAX, which has no such recording, and hands the present weights to the loss alone
            if self._teachers is not None and keras.backend.backend() != "jax":
                step.from_teacher = self._teachers(keras.utils.unpack_x_y_sample_weight(args[-1])[0])
            return super().train_step(*args)

    def test_step(self, *args):
        """As in Keras."""
        with distiller_step(self):
            return super().test_step(*args)

    def _symbolic_build(self, *args, **kwargs):
        # Keras runs this to make all variables before the optimizer's; where it does not, the first step makes them
        with distiller_step(self, abstract=True):
            return super()._symbolic_build(*args, **kwargs)

    def _build_losses_for_known_inputs(self):
        """So that a fresh distiller can load weights; where the inputs are not known, the first step builds."""
        inputs = getattr(self.student, "inputs", None)  # none of a subclass
        if inputs is None or self.student_inputs or self.teacher_inputs or self._projections is None:
            return
        if self._teachers is not None and not self._teachers.cached:
            with distiller_step(self, abstract=True):
                self.compute_output_spec(inputs[0] if len(inputs) == 1 else self.student.input)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
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
        step = current_step(self)
        from_teacher = step.from_teacher if step is not None and step.from_teacher is not None else self._teachers(x)
        if step is not None and step.features is not None:
            from_student = y_pred, step.features
        elif self._student_pass.names:  # called from outside of a step, which keeps no features
            from_student = y_pred, self._student_pass(self._teachers.inputs(x), training)[1]
        else:
            from_student = y_pred, {}
        if self._teacher_metrics is not None:
            if len(from_teacher) > 1:
                raise ValueError(
                    f"Expected one teacher for `teacher_metrics`. Received: {len(from_teacher)}. Evaluate each on its "
                    "own."
                )
            self._teacher_metrics.update_state(y, from_teacher[0][0], y_pred, sample_weight)
        if self._projections is not None:
            self._projections.build_for(from_teacher[0], from_student, self.output_names)
        given = sample_weight, y, self.output_names
        return [
            sum(share * term(one, from_student, *given) for share, one in zip(self._teachers.shares, from_teacher))
            for term in self._terms
        ]


def _log(tracker, value, batch):
    # a replica's share of the mean, times the replicas, weighted by its examples: the mean over all of them
    tracker.update_state(value * num_replicas(), sample_weight=batch)
