"""What `ExactResume` costs an epoch of `fit`, and what the data pipelines give against what training takes."""

import dataclasses
import pathlib
import tempfile
import time

import numpy as np
from rich.table import Table

from benchmarks.interleaved import console, medians

EXAMPLES, BATCH, EPOCHS, REPEATS = 60_000, 128, 2, 3
WIDTHS = (1200, 1200)  # MNIST's teacher: 2.4 million weights, with Adam 29 MB a checkpoint
ALONE, RESUME, BACKUP = "fit alone", "ExactResume(every=1)", "BackupAndRestore"


def images(count, shape=(28, 28, 1)):
    rng = np.random.default_rng(0)
    return rng.uniform(size=(count, *shape)).astype("float32"), rng.integers(0, 10, count)


def network():
    import keras

    import keras_ls as kls

    model = kls.models.mlp((28, 28, 1), 10, WIDTHS, 0.5)
    model.compile(keras.optimizers.Adam(), kls.losses.SmoothedCrossentropy(0.1), jit_compile=False)
    return model


def fits(x, y, folder):
    """Name → function that trains for `EPOCHS` epochs."""
    import itertools

    import keras

    import keras_ls as kls

    model, places = network(), itertools.count()
    callbacks = {
        ALONE: lambda: [],
        RESUME: lambda: [kls.callbacks.ExactResume(folder / f"exact-{next(places)}", every=1)],
        BACKUP: lambda: [keras.callbacks.BackupAndRestore(str(folder / "backup"))],
    }

    def fit(make):
        return lambda: model.fit(x, y, BATCH, epochs=EPOCHS, verbose=0, callbacks=make())

    return {name: fit(make) for name, make in callbacks.items()}


def resume_seconds(x, y, folder):
    """Seconds from `fit` to its end where one step of the training is left, in a new epoch and at its very end."""
    import keras

    import keras_ls as kls

    class Die(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == self.at:
                raise KeyboardInterrupt

    batches, last = kls.data.ShuffledBatches(x, y, batch_size=BATCH), -(-EXAMPLES // BATCH) - 1
    found = {}
    for name, data in (("ShuffledBatches", {"x": batches}), ("arrays", {"x": x, "y": y, "batch_size": BATCH})):
        place = folder / f"resume-{name}"
        for die in (last, None):
            keras.utils.set_random_seed(0)
            model, killer = network(), Die()
            killer.at = die
            started = time.perf_counter()
            try:
                model.fit(**data, verbose=0, callbacks=[kls.callbacks.ExactResume(place, f"{last} steps"), killer])
            except KeyboardInterrupt:
                continue
            found[name] = time.perf_counter() - started
    return found, max(sum(p.stat().st_size for p in place.glob(f"{path.stem}*")) for path in place.glob("*.npz"))


def images_a_second(training):
    """Of reading its batches, and of training on ten of them."""
    from keras_ls.studies.engine.pipeline import training_batches

    model = training.build()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    ready = list(training_batches(training).take(10))
    candidates = {
        "read": lambda: [None for _ in training_batches(training)],
        "train": lambda: [model.train_on_batch(*batch) for batch in ready],
    }
    seconds = medians(candidates, REPEATS)
    return training.num_examples / seconds["read"], 10 * BATCH / seconds["train"]


def pipelines():
    """Name → images a second of the engine's pipeline, and of training on what it gives."""
    from keras_ls import data
    from keras_ls.studies.engine.training import Training

    sizes = {"MNIST, shifts": (28, 28, 1), "CIFAR-10, crops and flips": (32, 32, 3)}
    trainings = {
        "MNIST, shifts": Training("digits", WIDTHS, 0.5, shift=2, epochs=1, batch_size=BATCH),
        "CIFAR-10, crops and flips": Training("digits", network="alexnet", crop=24, epochs=1, batch_size=BATCH),
    }
    found = {}
    for name, training in trainings.items():
        x, y = images(10_000, sizes[name])
        parts = {part: (x, y) for part in data.splits.PARTS}
        splits = data.Splits("random", **parts, class_names=tuple("0123456789"), source="random numbers")
        data.DATASETS["random"] = lambda splits=splits: splits
        data.load.cache_clear()
        training = dataclasses.replace(training, dataset="random")
        found[name] = images_a_second(training)
    del data.DATASETS["random"]
    return found


def main():
    x, y = images(EXAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        seconds = medians(fits(x, y, folder), REPEATS, min)
        table = Table(
            "candidate", "an epoch", "of fit alone", title="fit of 2×1200 on 60,000 images", title_justify="left"
        )
        for name, value in seconds.items():
            table.add_row(name, f"{value / EPOCHS:.2f} s", f"{value / seconds[ALONE]:.3f}")
        console.print(table)
        left, size = resume_seconds(x, y, folder)
    for name, value in left.items():
        console.print(f"To resume in the last step of an epoch of {EXAMPLES:,}, {name}: {value:.1f} s, with the trace.")
    console.print(f"A checkpoint: {size / 1e6:.1f} MB.")
    table = Table("pipeline", "read", "trained", "read / trained", title="Images a second", title_justify="left")
    for name, (read, trained) in pipelines().items():
        table.add_row(name, f"{read:,.0f}", f"{trained:,.0f}", f"{read / trained:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
