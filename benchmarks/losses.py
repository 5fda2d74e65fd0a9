"""Value and gradient of the smoothed cross-entropy, against Keras and PyTorch: time and peak memory."""

import contextlib
import importlib.util

import numpy as np
from rich.table import Table

from benchmarks.interleaved import console
from benchmarks.processes import Candidate, medians, peak_bytes

SHAPES = [(2048, 32_000), (8192, 1000), (65_536, 10)]
ALPHA = 0.1
OURS, ONE_HOT, SPARSE, PYTORCH = "keras_ls", "Keras one-hot", "Keras sparse, α=0", "PyTorch"
MODES = {"graph": False, "XLA": True}  # and whether to compile


def batch(n, k):
    """Labels and logits."""
    rng = np.random.default_rng(0)
    return rng.integers(0, k, n), rng.normal(size=(n, k)).astype("float32")


def ours():
    import keras_ls as kls

    return kls.losses.SmoothedCrossentropy(ALPHA)


def keras_one_hot():
    import keras

    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=ALPHA)
    return lambda labels, logits: loss(keras.ops.one_hot(labels, logits.shape[-1]), logits)


def keras_sparse():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def tensorflow(make_loss, jit_compile):
    def prepare(n, k):
        import tensorflow as tf

        loss = make_loss()
        labels, logits = map(tf.constant, batch(n, k))

        @tf.function(jit_compile=jit_compile)
        def value_and_gradient(labels, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(labels, logits)
            return value, tape.gradient(value, logits)

        return lambda: float(value_and_gradient(labels, logits)[0])

    return prepare


def pytorch(n, k):
    import torch

    labels, logits = map(torch.from_numpy, batch(n, k))
    logits.requires_grad_()

    def run():
        value = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=ALPHA)
        value.backward()
        logits.grad = None
        return float(value.detach())

    return run


LOSSES = {OURS: ours, ONE_HOT: keras_one_hot, SPARSE: keras_sparse}
CANDIDATES = {
    f"{name}, {mode}": tensorflow(make, jit_compile)
    for mode, jit_compile in MODES.items()
    for name, make in LOSSES.items()
}
CANDIDATES[PYTORCH] = pytorch


def main(repeats=15):
    names = [name for name in CANDIDATES if name != PYTORCH or importlib.util.find_spec("torch")]
    if PYTORCH not in names:
        console.print('Without PyTorch: pip install -e ".[bench]" to compare with it.')
    title = "Loss and gradient, float32; ours / theirs: below 1, keras_ls is faster"
    columns = "logits", "candidate", "median", "graph / it", "XLA / it", "peak memory"
    table = Table(*columns, title=title, title_justify="left", caption="Peak memory above the logits, in their size.")
    with contextlib.ExitStack() as stack:
        candidates = [stack.enter_context(Candidate(__name__, name)) for name in names]
        for n, k in SHAPES:
            for candidate in candidates:
                candidate.prepare(n, k)
            seconds = medians(candidates, repeats)
            for i, name in enumerate(names):
                peak = peak_bytes(__name__, name, n, k)
                ratios = [f"{seconds[f'{OURS}, {mode}'] / seconds[name]:.2f}" for mode in MODES]
                memory = "–" if peak is None else f"{peak / (4 * n * k):.2f}"
                table.add_row("" if i else f"{n}×{k}", name, f"{1e3 * seconds[name]:.2f} ms", *ratios, memory)
    console.print(table)
