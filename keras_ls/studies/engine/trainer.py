"""How the weights of a training come about: a compiled step, shared by seeds, and one `fit` that can be killed."""

import dataclasses
import functools

import keras
import tensorflow as tf

from keras_ls.callbacks import ExactResume
from keras_ls.distillation import CachedTeacher, Distiller, LogitsDistillation, SquaredLogitsDistillation
from keras_ls.losses import OnlineLabelSmoothing
from keras_ls.studies.engine.compared_losses import COMPARED_LOSSES
from keras_ls.studies.engine.pipeline import training_batches

# function of the temperature → what a student takes from its teacher
MATCHING = {
    "softened": lambda T: LogitsDistillation(T, student_temperature=1, scale_by_temperature=False),
    "squared": lambda T: SquaredLogitsDistillation(),
}
STEPS_PER_EXECUTION = 100
LONG = 5_000  # steps of a training that is worth a checkpoint within it
CHECKPOINT_EVERY = "2 minutes"


def train(training, cache=None, strategy=None, progress=None, checkpoints=None):
    """Trains a network.

    Args:
        training: a `Training`.
        cache: a `TeacherCache` that `pipeline.write_teacher_cache` has written, where the training has a teacher.
        strategy: a `tf.distribute` strategy, or None.
        progress: called now and then with the share of the training that is done, or None.
        checkpoints: directory from which a long training that was killed goes on, to the same weights; or None.

    Returns:
        A `keras.Model`, not compiled.
    """
    strategy = strategy or tf.distribute.get_strategy()
    step = _compiled(_without_seed(training), strategy)
    keras.utils.set_random_seed(training.seed)
    network = training.build()
    step.start(network)
    callbacks = [] if progress is None else [_Progress(progress, training.steps)]
    if checkpoints is not None and training.steps >= LONG:
        callbacks.append(ExactResume(checkpoints, CHECKPOINT_EVERY))
    # one long epoch: at small sizes Keras's own work between epochs takes longer than the epochs
    batches = training_batches(training, cache)
    step.trainer.fit(batches, steps_per_epoch=training.steps, shuffle=False, verbose=0, callbacks=callbacks)
    network.set_weights(step.student.get_weights())
    return network


class _Progress(keras.callbacks.Callback):
    def __init__(self, progress, steps):
        super().__init__()
        self.progress, self.steps = progress, steps

    def on_train_batch_end(self, batch, logs=None):
        self.progress(min(1.0, (batch + 1) / self.steps))  # Keras counts a last execution as a whole one


@dataclasses.dataclass(frozen=True)
class _Step:
    """A compiled training step: seeds of one training share it, as tracing takes longer than a tiny training."""

    trainer: keras.Model
    student: keras.Model
    optimizer_start: tuple

    def start(self, network):
        """Puts it where a training begins, with the weights and random layers of an untrained network."""
        self.student.set_weights(network.get_weights())
        for state, start in zip(_seed_states(self.student), _seed_states(network)):  # of dropout
            state.assign(start)
        if isinstance(self.trainer.loss, OnlineLabelSmoothing):
            self.trainer.loss.reset()
        for variable, value in zip(self.trainer.optimizer.variables, self.optimizer_start):
            variable.assign(value)


@functools.lru_cache(maxsize=8)
def _compiled(training, strategy):
    with strategy.scope():
        trainer = student = training.build()
        make = COMPARED_LOSSES[training.loss].make
        loss = make(student.output_shape[-1], training.steps_per_epoch, training.label_smoothing)
        if training.teacher is not None:
            matching = MATCHING[training.matching](training.temperature)
            trainer = Distiller(CachedTeacher(), student, matching, student_loss_weight=training.label_share)
            loss = loss if training.label_share else None
        rate, steps = training.learning_rate, training.epochs * training.steps_per_epoch
        if training.decay == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, steps)
        elif training.decay == "linear":
            rate = keras.optimizers.schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0)
        if training.optimizer == "adam":
            optimizer = keras.optimizers.Adam(rate)
        else:
            optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
        optimizer.build(trainer.trainable_variables)
        # many steps a call, which TensorFlow cannot do over replicas; no XLA: it would compile longer than it runs
        steps = STEPS_PER_EXECUTION if strategy.num_replicas_in_sync == 1 else 1
        trainer.compile(optimizer, loss, steps_per_execution=steps, jit_compile=False)
    return _Step(trainer, student, tuple(variable.numpy() for variable in optimizer.variables))


def _seed_states(network):
    weights = {id(variable) for variable in network.weights}
    return [v for v in network.variables if id(v) not in weights and "seed_generator" in v.path]


def _without_seed(training):
    teacher = training.teacher and _without_seed(training.teacher)
    return dataclasses.replace(training, seed=0, teacher=teacher)
