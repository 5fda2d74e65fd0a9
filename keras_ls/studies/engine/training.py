"""One network trained once: everything that its weights depend on, and nothing else."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_ls import data, models
from keras_ls.distillation import TeacherCache
from keras_ls.ops._checks import checked_choice, checked_count, checked_fraction, checked_positive
from keras_ls.ops._types import PathLike
from keras_ls.studies.engine.compared_losses import COMPARED_LOSSES
from keras_ls.studies.engine.sources import sources_hash
from keras_ls.studies.engine.trainer import MATCHING, train


@dataclasses.dataclass(frozen=True)
class Training:
    """A network, its data and its loss. Equal trainings give equal weights and are done once.

    Attributes:
        dataset: name of the dataset.
        widths: hidden layers of the network "mlp".
        dropout: rate after each of them.
        network: "mlp" or "alexnet".
        width: of the network "alexnet", as a multiple of the paper's.
        examples: how many of the training split, the first ones; None for all.
        with_calibration: whether it trains on the calibration split, too, on which nothing can be fitted then.
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
    with_calibration: bool = False
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
    def name(self) -> str:
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
        return f"{self.dataset.replace(':', '.')}-{network}-{loss}-seed{self.seed}"

    def about(self) -> str:
        """The data, the network and how much of both, in a sentence."""
        splits = data.load(self.dataset)
        crops = f", crops of {self.crop} pixels" if self.crop else ""
        return (
            f"{splits.source}: {self.about_network()}, {self.num_examples:,} training images{crops}, "
            f"{self.epochs} epochs, {len(splits.calibration[1]):,} for T, {len(splits.test[1]):,} to test."
        )

    def about_network(self) -> str:
        """The network, in a few words."""
        if self.network == "alexnet":
            return "AlexNet" + (f" of {self.width:g} of its widths" if self.width != 1 else "")
        return f"perceptron of {'×'.join(map(str, self.widths))}" + (f", dropout {self.dropout:g}" * bool(self.dropout))

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`(x, y)` of a part of the data as this network sees it outside training."""
        x, y = getattr(data.load(self.dataset), name)
        if name == "train":
            x, y = x[: self.examples], y[: self.examples]
        return x if self.crop is None else data.center_crop(x, self.crop), y

    def key(self, fingerprint: str) -> str:
        """Two hashes: of the training and its data, and of the sources and versions that make its weights of them."""
        made_by = {
            "sources": sources_hash(self.teacher is not None),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        }
        return f"{_hash({'training': dataclasses.asdict(self), 'data': fingerprint})}-{_hash(made_by)}"

    def run(
        self,
        cache: TeacherCache | None = None,
        strategy: tf.distribute.Strategy | None = None,
        progress: Callable[[float], None] | None = None,
        checkpoints: PathLike | None = None,
    ) -> keras.Model:
        """Trains and returns the network; see `trainer.train`."""
        return train(self, cache, strategy, progress, checkpoints)

    def cached(self) -> "Training":
        """What its `TeacherCache` depends on: a training with that, and all else at its default."""
        kept = ("dataset", "examples", "with_calibration", "crop", "shift", "teacher")
        if self.augmented:
            kept += ("epochs", "seed")
        return Training(**{name: getattr(self, name) for name in kept})

    @property
    def augmented(self) -> bool:
        """Whether training sees other images than those of the training split."""
        return self.crop is not None or self.shift is not None

    def build(self) -> keras.Model:
        """The network, untrained."""
        splits = data.load(self.dataset)
        shape = splits.train[0].shape[1:]
        if self.crop is not None:
            shape = (self.crop, self.crop, shape[-1])
        if self.network == "alexnet":
            return models.alexnet(shape, splits.num_classes, self.width)
        return models.mlp(shape, splits.num_classes, self.widths, self.dropout)

    @property
    def examples_seen(self) -> tuple[np.ndarray, np.ndarray]:
        """`(x, y)` of the images that it trains on, before any crop."""
        splits = data.load(self.dataset)
        x, y = (part[: self.examples] for part in splits.train)
        if not self.with_calibration:
            return x, y
        return tuple(np.concatenate(pair) for pair in zip((x, y), splits.calibration))

    @property
    def num_examples(self) -> int:
        """How many images it trains on."""
        splits = data.load(self.dataset)
        return len(splits.train[1][: self.examples]) + self.with_calibration * len(splits.calibration[1])

    @property
    def work(self) -> int:
        """FLOPs of the training, about: three forward passes of every image."""
        kept = ("dataset", "network", "widths", "width", "dropout", "crop")
        return 3 * self.epochs * self.num_examples * _flops(Training(**{name: getattr(self, name) for name in kept}))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the training images."""
        return max(1, self.num_examples // self.batch_size)

    @property
    def steps(self) -> int:
        """Batches in all."""
        return math.ceil(self.epochs * self.num_examples / self.batch_size)


@functools.lru_cache(maxsize=64)
def _flops(training):
    return models.flops(training.build())


def _hash(facts):
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
