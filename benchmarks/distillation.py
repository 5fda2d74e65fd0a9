"""One training step of the Distiller, against `keras.distillation`; logits only, graph mode."""

import keras
import numpy as np
import tensorflow as tf

import keras_ls as kls
from benchmarks.interleaved import medians, show

OURS, BATCH, STEPS = "keras_ls Distiller", 128, 50


def epoch(distiller, data):
    distiller.compile(
        keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    return lambda: distiller.fit(data, verbose=0, shuffle=False)


def main(repeats=5):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, 784)).astype("float32")
    y = rng.integers(0, 10, len(x))
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).cache()

    def pair():
        return kls.models.mlp((784,), 10, (1200, 1200)), kls.models.mlp((784,), 10, (800, 800))

    kl = keras.losses.KLDivergence()
    candidates = {
        OURS: epoch(kls.Distiller(*pair(), kls.distillation.LogitsDistillation(4.0)), data),
        "keras.distillation, its loss set to KL": epoch(
            keras.distillation.Distiller(*pair(), keras.distillation.LogitsDistillation(4.0, loss=kl)), data
        ),
    }
    seconds = {name: value / STEPS for name, value in medians(candidates, repeats).items()}
    show(f"Distillation step, MNIST-sized pair, batch {BATCH}", {"": seconds}, OURS)
