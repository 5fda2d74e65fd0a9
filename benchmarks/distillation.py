"""A training step of the Distiller against `keras.distillation`, and an epoch without a living teacher."""

import contextlib

import numpy as np
from rich.table import Table

from benchmarks.interleaved import console
from benchmarks.processes import Candidate, medians, peak_bytes

BATCH, TEMPERATURE = 128, 4.0
OURS, THEIRS, ALONE = "keras_ls", "keras.distillation", "student alone"
MODES = {"graph": False, "XLA": True}  # and whether to compile
MNIST, CIFAR = "2×1200 → 2×800, MNIST", "ResNet-20 → ResNet-8, CIFAR"
SHAPES = {MNIST: (784,), CIFAR: (32, 32, 3)}
STEPS = {MNIST: 25, CIFAR: 3}  # of a run
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


def fitted(make, jit_compile):
    """`fit` over a few batches that are ready."""

    def prepare(pair, features):
        import keras
        import tensorflow as tf

        rng = np.random.default_rng(0)
        count = BATCH * STEPS[pair]
        x, y = rng.uniform(size=(count, *SHAPES[pair])).astype("float32"), rng.integers(0, 10, count)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).cache()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model = make(pair, features)
        model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=jit_compile)
        return lambda: model.fit(data, verbose=0).history["loss"]

    return prepare


CANDIDATES = {
    f"{name}, {mode}": fitted(make, jit_compile)
    for mode, jit_compile in MODES.items()
    for name, make in ((OURS, ours), (THEIRS, theirs), (ALONE, alone))
}


def steps(repeats):
    title = f"A step of batch {BATCH}; ours / theirs, both graph or both XLA: below 1, keras_ls is faster"
    columns = "pair", "losses", "candidate", "median", "ours / it", "peak memory"
    table = Table(*columns, title=title, title_justify="left", caption="Peak memory of a run, above the networks.")
    with contextlib.ExitStack() as stack:
        candidates = [stack.enter_context(Candidate(__name__, name)) for name in CANDIDATES]
        for pair in SHAPES:
            for features in (False, True):
                for candidate in candidates:
                    candidate.prepare(pair, features)
                seconds = medians(candidates, repeats)
                case = (pair, f"logits, {FEATURES[pair]}" if features else "logits")
                for name, value in seconds.items():
                    mode = name.split(", ")[1]
                    peak = peak_bytes(__name__, name, pair, features)
                    table.add_row(
                        *case,
                        name,
                        f"{1e3 * value / STEPS[pair]:.1f} ms",
                        f"{seconds[f'{OURS}, {mode}'] / value:.2f}",
                        "–" if peak is None else f"{peak / 2**20:.0f} MiB",
                    )
                    case = ("", "")
    console.print(table)


def main(repeats=5):
    steps(repeats)
