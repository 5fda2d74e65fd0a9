"""One network trained once: everything that its weights depend on, and nothing else."""

import dataclasses
import functools
import hashlib
import json

import keras
import tensorflow as tf

from keras_ls import data, models
from keras_ls.distillation import Distiller, LogitsDistillation
from keras_ls.losses import SmoothedCrossentropy
from keras_ls.ops.checks import checked_count, checked_fraction, checked_positive


@dataclasses.dataclass(frozen=True)
class Training:
    """A network, its data and its loss. Equal trainings give equal weights and are done once.

    Attributes:
        dataset: name of the dataset.
        widths: hidden layers of the network.
        label_smoothing: α; not used with a teacher.
        teacher: the training of the teacher that alone is learned from (the paper's β = 1), or None.
        temperature: of the teacher; the student's stays 1, as in the paper.
        epochs: passes over the training split.
        batch_size: examples a step.
        learning_rate: of SGD with Nesterov momentum .9, the paper's optimizer for its image models.
        seed: of initial weights and order of examples.
    """

    dataset: str
    widths: tuple
    label_smoothing: float = 0.0
    teacher: "Training | None" = None
    temperature: float = 1.0
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 0.05
    seed: int = 0

    def __post_init__(self):
        checked_fraction("label_smoothing", self.label_smoothing)
        checked_positive("temperature", self.temperature)
        checked_positive("learning_rate", self.learning_rate)
        for name in ("epochs", "batch_size"):
            checked_count(name, getattr(self, name))

    @property
    def name(self):
        """Readable, and unique among the trainings of a run together with `key`."""
        network = "mlp-" + "x".join(map(str, self.widths))
        if self.teacher is None:
            return f"{self.dataset}-{network}-alpha{self.label_smoothing:g}-seed{self.seed}"
        teacher = f"teacher-alpha{self.teacher.label_smoothing:g}-T{self.temperature:g}"
        return f"{self.dataset}-{network}-{teacher}-seed{self.seed}"

    def key(self, fingerprint):
        """Hash of the training, the data and the versions that decide its weights."""
        facts = {
            "training": dataclasses.asdict(self),
            "data": fingerprint,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, teacher=None, strategy=None):
        """Trains and returns the network.

        Args:
            teacher: the trained teacher, where `self.teacher` names one.
            strategy: a `tf.distribute` strategy, or None.

        Returns:
            A `keras.Model`, not compiled.
        """
        step = _compiled(_without_seed(self), strategy or tf.distribute.get_strategy())
        x, y = data.load(self.dataset).train
        keras.utils.set_random_seed(self.seed)
        network = self.network()
        step.student.set_weights(network.get_weights())
        if teacher is not None:
            step.teacher.set_weights(teacher.get_weights())
        for variable, value in zip(step.trainer.optimizer.variables, step.optimizer_start):
            variable.assign(value)
        examples = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=self.seed)
        # one long epoch: at this size Keras's own work between epochs takes longer than the epochs
        step.trainer.fit(examples.repeat(self.epochs).batch(self.batch_size), shuffle=False, verbose=0)
        network.set_weights(step.student.get_weights())
        return network

    def network(self):
        """The network, untrained."""
        splits = data.load(self.dataset)
        return models.mlp(splits.train[0].shape[1:], splits.num_classes, self.widths)


@dataclasses.dataclass(frozen=True)
class _Step:
    """A compiled training step: seeds of one training share it, as tracing takes longer than a tiny training."""

    trainer: keras.Model
    student: keras.Model
    teacher: keras.Model | None
    optimizer_start: tuple


@functools.cache
def _compiled(training, strategy):
    with strategy.scope():
        student, teacher = training.network(), None
        if training.teacher is None:
            trainer, loss = student, SmoothedCrossentropy(training.label_smoothing)
        else:
            teacher, loss = training.teacher.network(), None
            distillation = LogitsDistillation(training.temperature, student_temperature=1, scale_by_temperature=False)
            trainer = Distiller(teacher, student, distillation, student_loss_weight=0.0)
        optimizer = keras.optimizers.SGD(training.learning_rate, momentum=0.9, nesterov=True)
        optimizer.build(trainer.trainable_variables)
        # many steps a call, which TensorFlow cannot do over replicas; no XLA: it would compile longer than it runs
        steps = 100 if strategy.num_replicas_in_sync == 1 else 1
        trainer.compile(optimizer, loss, steps_per_execution=steps, jit_compile=False)
    return _Step(trainer, student, teacher, tuple(variable.numpy() for variable in optimizer.variables))


def _without_seed(training):
    teacher = training.teacher and _without_seed(training.teacher)
    return dataclasses.replace(training, seed=0, teacher=teacher)
