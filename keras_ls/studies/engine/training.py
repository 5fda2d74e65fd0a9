"""One network trained once: everything that its weights depend on, and nothing else."""

import dataclasses
import functools
import hashlib
import json
import math

import keras
import tensorflow as tf

from keras_ls import data, models
from keras_ls.distillation import CachedTeacher, Distiller, LogitsDistillation, SquaredLogitsDistillation
from keras_ls.losses import OnlineLabelSmoothing
from keras_ls.ops._checks import checked_choice, checked_count, checked_fraction, checked_positive
from keras_ls.studies.engine.compared_losses import COMPARED_LOSSES
from keras_ls.studies.engine.sources import sources_hash

# function of the temperature → what a student takes from its teacher
MATCHING = {
    "softened": lambda T: LogitsDistillation(T, student_temperature=1, scale_by_temperature=False),
    "squared": lambda T: SquaredLogitsDistillation(),
}


@dataclasses.dataclass(frozen=True)
class Training:
    """A network, its data and its loss. Equal trainings give equal weights and are done once.

    Attributes:
        dataset: name of the dataset.
        widths: hidden layers of the network "mlp".
        dropout: rate after each of them.
        network: "mlp" or "alexnet".
        width: of the network "alexnet", as a multiple of the paper's.
        examples: the first so many of the training split; None for all.
        crop: images are cropped to so many pixels, at random and mirrored half of the time in training, the middle
            elsewhere; None for whole images.
        shift: training images move by up to so many pixels up, down, left and right; None for none.
        loss: name in `compared_losses.COMPARED_LOSSES`; not used with a teacher.
        label_smoothing: α of the loss "smoothed".
        teacher: the training of the teacher, or None.
        label_share: of the labels in the loss of a teacher's student: the paper's 1 - β.
        matching: what else is in it, "softened": the divergence from the teacher at `temperature`, or "squared": half
            the squared difference of the logits.
        temperature: of the teacher; the student's stays 1, as in the paper.
        epochs: passes over the training split.
        batch_size: examples a step.
        optimizer: "sgd" with Nesterov momentum 0.9, the paper's for its image models, or "adam".
        learning_rate: its first.
        decay: how the rate falls to 0: None for not, "cosine" (half of one) or "linear".
        seed: of initial weights, crops and order of examples.
    """

    dataset: str
    widths: tuple = (256, 256)
    dropout: float = 0.0
    network: str = "mlp"
    width: float = 1.0
    examples: int | None = None
    crop: int | None = None
    shift: int | None = None
    loss: str = "smoothed"
    label_smoothing: float = 0.0
    teacher: "Training | None" = None
    label_share: float = 0.0
    matching: str = "softened"
    temperature: float = 1.0
    epochs: int = 40
    batch_size: int = 64
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    decay: str | None = None
    seed: int = 0

    def __post_init__(self):
        checked_fraction("label_smoothing", self.label_smoothing)
        checked_positive("temperature", self.temperature)
        checked_positive("learning_rate", self.learning_rate)
        checked_positive("width", self.width)
        checked_fraction("dropout", self.dropout)
        checked_fraction("label_share", self.label_share)
        checked_choice("network", self.network, ["mlp", "alexnet"])
        checked_choice("loss", self.loss, COMPARED_LOSSES)
        checked_choice("matching", self.matching, MATCHING)
        checked_choice("optimizer", self.optimizer, ["sgd", "adam"])
        if self.decay is not None:
            checked_choice("decay", self.decay, ["cosine", "linear"])
        for name in ("epochs", "batch_size"):
            checked_count(name, getattr(self, name))
        for name in ("examples", "crop", "shift"):
            if getattr(self, name) is not None:
                checked_count(name, getattr(self, name))

    @property
    def name(self):
        """Readable, and unique among the trainings of a run together with `key`."""
        if self.network == "mlp":
            network = "mlp-" + "x".join(map(str, self.widths))
        else:
            network = self.network + (f"-{self.width:g}" if self.width != 1 else "")
        if self.teacher is None:
            loss = f"alpha{self.label_smoothing:g}" if self.loss == "smoothed" else self.loss
        else:
            how = f"T{self.temperature:g}" if self.matching == "softened" else self.matching
            loss = f"teacher-alpha{self.teacher.label_smoothing:g}-{how}"
        return f"{self.dataset}-{network}-{loss}-seed{self.seed}"

    def about(self):
        """The data, the network and how much of both, in a sentence."""
        splits = data.load(self.dataset)
        crops = f", crops of {self.crop} pixels" if self.crop else ""
        return (
            f"{splits.source}: {self.about_network()}, {len(self.part('train')[1]):,} training images{crops}, "
            f"{self.epochs} epochs, {len(splits.calibration[1]):,} for T, {len(splits.test[1]):,} to test."
        )

    def about_network(self):
        """The network, in a few words."""
        if self.network == "alexnet":
            return "AlexNet" + (f" of {self.width:g} of its widths" if self.width != 1 else "")
        return f"perceptron of {'×'.join(map(str, self.widths))}" + (f", dropout {self.dropout:g}" * bool(self.dropout))

    def part(self, name):
        """`(x, y)` of a part of the data as this network sees it outside training."""
        x, y = getattr(data.load(self.dataset), name)
        if name == "train":
            x, y = x[: self.examples], y[: self.examples]
        return x if self.crop is None else data.center_crop(x, self.crop), y

    def key(self, fingerprint):
        """Two hashes: of the training and its data, and of the sources and versions that make its weights of them."""
        made_by = {
            "sources": sources_hash(self.teacher is not None),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        }
        return f"{_hash({'training': dataclasses.asdict(self), 'data': fingerprint})}-{_hash(made_by)}"

    def run(self, cache=None, strategy=None, progress=None):
        """Trains and returns the network.

        Args:
            cache: a `TeacherCache` that `write_cache` has written, where `self.teacher` names a teacher.
            strategy: a `tf.distribute` strategy, or None.
            progress: called now and then with the share of the training that is done, or None.

        Returns:
            A `keras.Model`, not compiled.
        """
        step = _compiled(_without_seed(self), strategy or tf.distribute.get_strategy())
        keras.utils.set_random_seed(self.seed)
        network = self.build()
        step.student.set_weights(network.get_weights())
        for state, start in zip(_seed_states(step.student), _seed_states(network)):  # of dropout
            state.assign(start)
        if isinstance(step.trainer.loss, OnlineLabelSmoothing):
            step.trainer.loss.reset()
        for variable, value in zip(step.trainer.optimizer.variables, step.optimizer_start):
            variable.assign(value)
        # one long epoch: at this size Keras's own work between epochs takes longer than the epochs
        callbacks = [] if progress is None else [_Progress(progress, self.steps)]
        step.trainer.fit(self.batches(cache).prefetch(2), shuffle=False, verbose=0, callbacks=callbacks)
        network.set_weights(step.student.get_weights())
        return network

    def batches(self, cache=None):
        """Batches `(x, y)` of all epochs in the order of training, the same each time; joined with a `TeacherCache`."""
        batches = self._stream().batch(self.batch_size)
        if cache is None:
            return batches.map(lambda i, example: example)
        return cache.join(batches, self.seed if self.augmented else None)

    def write_cache(self, cache, teacher):
        """Asks a teacher about all that a student sees in this training, each thing once; returns the cache."""
        settings = {"batch_size": 1000, "shard_size": 100_000, "verbose": 0}
        if not self.augmented:
            return cache.write(teacher, self._examples().enumerate(), **settings)
        # a stream made anew each time, as a shuffled one goes on to another order when it is read again
        return cache.write(teacher, lambda seed: self._stream(), [self.seed], **settings)

    def _examples(self):
        x, y = data.load(self.dataset).train
        return tf.data.Dataset.from_tensor_slices((x[: self.examples], y[: self.examples]))

    def _stream(self):
        """`(id, (x, y))` of all epochs; ids number the images, or, where these are augmented, what becomes of them."""
        count = len(data.load(self.dataset).train[1][: self.examples])
        tf.random.set_seed(self.seed)  # of which the order depends, too
        if not self.augmented:
            return self._examples().enumerate().shuffle(count, seed=self.seed).repeat(self.epochs)
        stream = self._examples().shuffle(count, seed=self.seed).repeat(self.epochs).enumerate()
        for augment, size in ((data.random_crop_and_flip, self.crop), (data.random_shift, self.shift)):
            if size is not None:
                change = augment(size, self.seed)
                stream = stream.map(
                    lambda i, example, change=change: (i, change(i, example)), num_parallel_calls=tf.data.AUTOTUNE
                )
        return stream

    def cached(self):
        """What its `TeacherCache` depends on: a training with that, and all else at its default."""
        kept = ("dataset", "examples", "crop", "shift", "teacher")
        if self.augmented:
            kept += ("epochs", "seed")
        return Training(**{name: getattr(self, name) for name in kept})

    @property
    def augmented(self):
        """Whether training sees other images than those of the training split."""
        return self.crop is not None or self.shift is not None

    def build(self):
        """The network, untrained."""
        splits = data.load(self.dataset)
        shape = splits.train[0].shape[1:]
        if self.crop is not None:
            shape = (self.crop, self.crop, shape[-1])
        if self.network == "alexnet":
            return models.alexnet(shape, splits.num_classes, self.width)
        return models.mlp(shape, splits.num_classes, self.widths, self.dropout)

    @property
    def steps_per_epoch(self):
        """Batches in a pass over the training split."""
        return max(1, len(data.load(self.dataset).train[1][: self.examples]) // self.batch_size)

    @property
    def steps(self):
        """Batches in all."""
        return math.ceil(self.epochs * len(data.load(self.dataset).train[1][: self.examples]) / self.batch_size)


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


@functools.cache
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
        steps = 100 if strategy.num_replicas_in_sync == 1 else 1
        trainer.compile(optimizer, loss, steps_per_execution=steps, jit_compile=False)
    return _Step(trainer, student, tuple(variable.numpy() for variable in optimizer.variables))


def _seed_states(network):
    weights = {id(variable) for variable in network.weights}
    return [v for v in network.variables if id(v) not in weights and "seed_generator" in v.path]


def _without_seed(training):
    teacher = training.teacher and _without_seed(training.teacher)
    return dataclasses.replace(training, seed=0, teacher=teacher)


def _hash(facts):
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
