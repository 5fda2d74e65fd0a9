"""A training step of the Distiller against `keras.distillation`, and an epoch from a teacher's logits on disk."""

import contextlib
import tempfile

import numpy as np
import rich.box
from rich.table import Table

from benchmarks.interleaved import console
from benchmarks.processes import Candidate, clock_and_processors, peak_bytes

BATCH, TEMPERATURE = 128, 4.0
OURS, THEIRS, ALONE = "keras_ls", "keras.distillation", "student alone"
CACHED, LIVING = "from the cache", "with the teacher"
MODES = {"graph": False, "XLA": True}  # and whether to compile
MNIST, CIFAR = "2×1200 → 2×800", "ResNet-20 → ResNet-8"  # on images of these datasets' sizes
SHAPES = {MNIST: (784,), CIFAR: (32, 32, 3)}
STEPS = {MNIST: 25, CIFAR: 3}  # of a run
EPOCH_STEPS = {MNIST: 100, CIFAR: 5}  # more, as what an epoch costs once counts little in one of 60,000 examples
COMPILED = {MNIST: ["graph", "XLA"], CIFAR: ["graph"]}  # XLA takes minutes over convolutions on a CPU
# the student's layer is as wide as the teacher's, as keras.distillation has no projector
FEATURES = {MNIST: "logits", CIFAR: "stage_3"}


def networks(pair):
    """Teacher and student."""
    from keras_ls import models

    if pair == MNIST:
        return models.mlp((784,), 10, (1200, 1200)), models.mlp((784,), 10, (800, 800))
    return models.resnet((32, 32, 3), 10, depth=20), models.resnet((32, 32, 3), 10, depth=8)


def ours(pair, features):
    import keras_ls as kls

    losses = [kls.distillation.LogitsDistillation(TEMPERATURE)]
    if features:
        losses.append(kls.distillation.FeatureDistillation("mse", FEATURES[pair], FEATURES[pair]))
    return kls.Distiller(*networks(pair), losses)


def theirs(pair, features):
    """With their loss set to what its documentation says of it."""
    import keras

    losses = [keras.distillation.LogitsDistillation(TEMPERATURE, loss=keras.losses.KLDivergence())]
    if features:
        losses.append(keras.distillation.FeatureDistillation("mse", FEATURES[pair], FEATURES[pair]))
    return keras.distillation.Distiller(*networks(pair), losses)


def alone(pair, features):
    return networks(pair)[1]


def examples(pair, steps):
    """Inputs and labels."""
    rng = np.random.default_rng(0)
    count = BATCH * steps
    return rng.uniform(size=(count, *SHAPES[pair])).astype("float32"), rng.integers(0, 10, count)


def fit(model, data, jit_compile):
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=jit_compile)
    return lambda: model.fit(data, verbose=0).history["loss"]


def step(make, jit_compile):
    """`fit` over a few batches that are ready."""

    def prepare(pair, features):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices(examples(pair, STEPS[pair])).batch(BATCH).cache()
        return fit(make(pair, features), data, jit_compile)

    return prepare


def epoch(teacher):
    """`fit` over the same examples in another order each time: alone, with the teacher, or from its logits on disk."""

    def prepare(pair):
        import tensorflow as tf

        import keras_ls as kls

        network, student = networks(pair)
        data = tf.data.Dataset.from_tensor_slices(examples(pair, EPOCH_STEPS[pair]))
        loss = kls.distillation.LogitsDistillation(TEMPERATURE)
        if teacher != CACHED:
            model = student if teacher == ALONE else kls.Distiller(network, student, loss)
            return fit(model, shuffled(data), jit_compile=False)
        with tempfile.TemporaryDirectory() as directory:  # what is joined is in memory
            cache = kls.distillation.TeacherCache(directory).write(network, data.enumerate(), verbose=0)
            joined = cache.join(shuffled(data.enumerate()))
        return fit(kls.Distiller(kls.distillation.CachedTeacher(), student, loss), joined, jit_compile=False)

    return prepare


def shuffled(data):
    return data.shuffle(len(data), seed=0).batch(BATCH)


STEP = {
    f"{name}, {mode}": step(make, jit_compile)
    for mode, jit_compile in MODES.items()
    for name, make in ((OURS, ours), (THEIRS, theirs), (ALONE, alone))
}
EPOCH = {teacher: epoch(teacher) for teacher in (ALONE, CACHED, LIVING)}
CANDIDATES = {**STEP, **EPOCH}
CAPTION = "Clock: the least of the rounds. Cores: all of them together, the median; other work moves it less."
LOOK = {"title_justify": "left", "caption_justify": "left", "box": rich.box.SIMPLE}


def steps(repeats, pairs=tuple(SHAPES)):
    columns = "losses", "mode", "candidate", "clock", "ours / it", "cores", "ours / it", "memory"
    for pair in pairs:
        title = f"{pair}: a step of batch {BATCH}; ours / it, both graph or both XLA: below 1, keras_ls is faster"
        table = Table(
            *columns, title=title, caption=f"{CAPTION} Memory: the most above what the networks take.", **LOOK
        )
        for column in table.columns[:3]:
            column.no_wrap = True
        with contextlib.ExitStack() as stack:
            names = [name for name in STEP if name.split(", ")[1] in COMPILED[pair]]
            candidates = [stack.enter_context(Candidate(__name__, name)) for name in names]
            for features in (False, True):
                for candidate in candidates:
                    candidate.prepare(pair, features)
                seconds = clock_and_processors(candidates, repeats)
                losses = f"logits, {FEATURES[pair]}" if features else "logits"
                for name in names:
                    candidate, mode = name.split(", ")
                    peak = None if mode == "XLA" else peak_bytes(__name__, name, pair, features)
                    memory = "–" if peak is None else f"{peak / 2**20:.0f} MiB"
                    times = columns_of(seconds[name], seconds[f"{OURS}, {mode}"], STEPS[pair])
                    table.add_row(losses, mode, candidate, *times, memory)
                    losses = ""
        console.print(table)


def epochs(repeats):
    title = "A step of a shuffled epoch, graph mode; alone / it: below 1, learning from the teacher costs more"
    columns = "pair", "candidate", "clock", "alone / it", "cores", "alone / it"
    table = Table(*columns, title=title, caption=CAPTION, **LOOK)
    with contextlib.ExitStack() as stack:
        candidates = [stack.enter_context(Candidate(__name__, name)) for name in EPOCH]
        for pair in SHAPES:
            for candidate in candidates:
                candidate.prepare(pair)
            seconds = clock_and_processors(candidates, repeats)
            for i, name in enumerate(EPOCH):
                times = columns_of(seconds[name], seconds[ALONE], EPOCH_STEPS[pair])
                table.add_row("" if i else pair, name, *times)
    console.print(table)


def columns_of(seconds, reference, steps):
    """Milliseconds a step, then `reference` over them; of the clock, then of the processors."""
    for one, other in zip(seconds, reference):
        yield f"{1e3 * one / steps:.1f} ms"
        yield f"{other / one:.2f}"


def main(repeats=9):
    steps(repeats)
    epochs(repeats)
