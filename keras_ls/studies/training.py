"""One network trained once: everything that its weights depend on, and nothing else."""

import dataclasses
import functools
import hashlib
import json

import keras
import tensorflow as tf

from keras_ls import data, models
from keras_ls.distillation import Distiller, LogitsDistillation
from keras_ls.losses import OnlineLabelSmoothing
from keras_ls.ops.checks import checked_choice, checked_count, checked_fraction, checked_positive
from keras_ls.studies.family import FAMILY


@dataclasses.dataclass(frozen=True)
class Training:
    """A network, its data and its loss. Equal trainings give equal weights and are done once.

    Attributes:
        dataset: name of the dataset.
        widths: hidden layers of the network "mlp".
        network: "mlp" or "alexnet".
        examples: the first so many of the training split; None for all.
        crop: images are cropped to so many pixels, at random and mirrored half of the time in training, the middle
            elsewhere; None for whole images.
        loss: name in `family.FAMILY`; not used with a teacher.
        label_smoothing: α of the loss "smoothed".
        teacher: the training of the teacher that alone is learned from (the paper's β = 1), or None.
        temperature: of the teacher; the student's stays 1, as in the paper.
        epochs: passes over the training split.
        batch_size: examples a step.
        learning_rate: of SGD with Nesterov momentum .9, the paper's optimizer for its image models.
        decay: whether the rate falls to 0 along a half cosine.
        seed: of initial weights, crops and order of examples.
    """

    dataset: str
    widths: tuple = (256, 256)
    network: str = "mlp"
    examples: int | None = None
    crop: int | None = None
    loss: str = "smoothed"
    label_smoothing: float = 0.0
    teacher: "Training | None" = None
    temperature: float = 1.0
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 0.05
    decay: bool = False
    seed: int = 0

    def __post_init__(self):
        checked_fraction("label_smoothing", self.label_smoothing)
        checked_positive("temperature", self.temperature)
        checked_positive("learning_rate", self.learning_rate)
        checked_choice("network", self.network, ["mlp", "alexnet"])
        checked_choice("loss", self.loss, FAMILY)
        for name in ("epochs", "batch_size"):
            checked_count(name, getattr(self, name))
        for name in ("examples", "crop"):
            if getattr(self, name) is not None:
                checked_count(name, getattr(self, name))

    @property
    def name(self):
        """Readable, and unique among the trainings of a run together with `key`."""
        network = "mlp-" + "x".join(map(str, self.widths)) if self.network == "mlp" else self.network
        if self.teacher is None:
            loss = f"alpha{self.label_smoothing:g}" if self.loss == "smoothed" else self.loss
            return f"{self.dataset}-{network}-{loss}-seed{self.seed}"
        teacher = f"teacher-alpha{self.teacher.label_smoothing:g}-T{self.temperature:g}"
        return f"{self.dataset}-{network}-{teacher}-seed{self.seed}"

    def about(self):
        """The data, the network and how much of both, in a sentence."""
        splits = data.load(self.dataset)
        network = f"perceptron of {'×'.join(map(str, self.widths))}" if self.network == "mlp" else "AlexNet"
        crops = f", crops of {self.crop} pixels" if self.crop else ""
        return (
            f"{splits.source}: {network}, {len(self.part('train')[1]):,} training images{crops}, {self.epochs} "
            f"epochs, {len(splits.calibration[1]):,} for T, {len(splits.test[1]):,} to test."
        )

    def part(self, name):
        """`(x, y)` of a part of the data as this network sees it outside training."""
        x, y = getattr(data.load(self.dataset), name)
        if name == "train":
            x, y = x[: self.examples], y[: self.examples]
        return x if self.crop is None else data.center_crop(x, self.crop), y

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
        keras.utils.set_random_seed(self.seed)
        network = self.build()
        step.student.set_weights(network.get_weights())
        if teacher is not None:
            step.teacher.set_weights(teacher.get_weights())
        if isinstance(step.trainer.loss, OnlineLabelSmoothing):
            step.trainer.loss.reset()
        for variable, value in zip(step.trainer.optimizer.variables, step.optimizer_start):
            variable.assign(value)
        # one long epoch: at this size Keras's own work between epochs takes longer than the epochs
        step.trainer.fit(self._batches(), shuffle=False, verbose=0)
        network.set_weights(step.student.get_weights())
        return network

    def build(self):
        """The network, untrained."""
        splits = data.load(self.dataset)
        shape = splits.train[0].shape[1:]
        if self.crop is not None:
            shape = (self.crop, self.crop, shape[-1])
        if self.network == "alexnet":
            return models.alexnet(shape, splits.num_classes)
        return models.mlp(shape, splits.num_classes, self.widths)

    @property
    def steps_per_epoch(self):
        """Batches in a pass over the training split."""
        return max(1, len(data.load(self.dataset).train[1][: self.examples]) // self.batch_size)

    def _batches(self):
        x, y = data.load(self.dataset).train
        x, y = x[: self.examples], y[: self.examples]
        examples = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=self.seed).repeat(self.epochs)
        if self.crop is not None:
            crop = data.random_crop_and_flip(self.crop, self.seed)
            examples = examples.enumerate().map(crop, num_parallel_calls=tf.data.AUTOTUNE)
        return examples.batch(self.batch_size).prefetch(2)


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
        student, teacher = training.build(), None
        if training.teacher is None:
            make = FAMILY[training.loss].make
            loss = make(student.output_shape[-1], training.steps_per_epoch, training.label_smoothing)
            trainer = student
        else:
            teacher, loss = training.teacher.build(), None
            distillation = LogitsDistillation(training.temperature, student_temperature=1, scale_by_temperature=False)
            trainer = Distiller(teacher, student, distillation, student_loss_weight=0.0)
        rate = training.learning_rate
        if training.decay:
            rate = keras.optimizers.schedules.CosineDecay(rate, training.epochs * training.steps_per_epoch)
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
        optimizer.build(trainer.trainable_variables)
        # many steps a call, which TensorFlow cannot do over replicas; no XLA: it would compile longer than it runs
        steps = 100 if strategy.num_replicas_in_sync == 1 else 1
        trainer.compile(optimizer, loss, steps_per_execution=steps, jit_compile=False)
    return _Step(trainer, student, teacher, tuple(variable.numpy() for variable in optimizer.variables))


def _without_seed(training):
    teacher = training.teacher and _without_seed(training.teacher)
    return dataclasses.replace(training, seed=0, teacher=teacher)
