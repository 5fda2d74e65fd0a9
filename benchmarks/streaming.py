"""The expected calibration error of a stream of batches, against torchmetrics and libraries that want one array."""

import contextlib
import importlib.util

import numpy as np
from rich.table import Table

from benchmarks.interleaved import console
from benchmarks.processes import Candidate, medians, peak_bytes

BINS = 15
BATCHES = (32, 256, 4096)
EXAMPLES = {0: 1_000_000, 10: 1_000_000, 1000: 100_000}  # by the number of classes; 0: confidences and hits
POOL = 40_000_000  # numbers: a stream of more repeats itself
OURS, FLOOR = "keras_ls, XLA", "NumPy multiply + bincount"


def stream(classes, batch):
    """Labels and predictions of a pool of batches, and how often to go through it: `[P, batch]`, `[P, batch(, K)]`."""
    rng = np.random.default_rng(0)
    steps = EXAMPLES[classes] // batch
    pool = min(steps, max(1, POOL // (batch * max(classes, 1))))
    if not classes:
        p = rng.uniform(size=(pool, batch)).astype("float32")
        return (rng.uniform(size=p.shape) < p).astype("float32"), p, steps
    return rng.integers(0, classes, (pool, batch)), rng.normal(size=(pool, batch, classes)).astype("float32") * 3, steps


def ours(jit_compile):
    """A loop in a TensorFlow function, as in `fit` with `steps_per_execution`."""

    def prepare(classes, batch):
        import tensorflow as tf

        import keras_ls as kls

        labels, predictions, steps = stream(classes, batch)
        pool = len(labels)
        labels, predictions = tf.constant(labels), tf.constant(predictions)
        metric = kls.metrics.ExpectedCalibrationError(BINS, from_logits=bool(classes))

        @tf.function(jit_compile=jit_compile)
        def loop(labels, predictions):
            for i in tf.range(steps):
                metric.update_state(labels[i % pool], predictions[i % pool])

        def run():
            metric.reset_state()
            loop(labels, predictions)
            return float(metric.result())

        return run

    return prepare


def ours_called(classes, batch):
    """A compiled function called from Python for every batch."""
    import tensorflow as tf

    import keras_ls as kls

    labels, predictions, steps = stream(classes, batch)
    pool = len(labels)
    labels, predictions = list(map(tf.constant, labels)), list(map(tf.constant, predictions))
    metric = kls.metrics.ExpectedCalibrationError(BINS, from_logits=bool(classes))
    update = tf.function(metric.update_state, jit_compile=True)

    def run():
        metric.reset_state()
        for i in range(steps):
            update(labels[i % pool], predictions[i % pool])
        return float(metric.result())

    return run


def torchmetrics(classes, batch):
    import torch
    from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

    labels, predictions, steps = stream(classes, batch)
    pool = len(labels)
    labels, predictions = torch.tensor(labels), torch.tensor(predictions)
    if classes:
        metric = MulticlassCalibrationError(classes, n_bins=BINS, validate_args=False)
    else:
        labels = labels.to(torch.int64)
        metric = BinaryCalibrationError(n_bins=BINS, validate_args=False)

    def run():
        metric.reset()
        for i in range(steps):
            metric.update(predictions[i % pool], labels[i % pool])
        return float(metric.compute())

    return run


def of_array(error):
    """A candidate that wants all confidences and hits at once."""

    def prepare(classes, batch):
        hits, confidence, _ = stream(0, EXAMPLES[0])
        return lambda: error(hits[0], confidence[0])

    return prepare


def floor(hits, confidence):
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    _, h, c = (np.bincount(index, w, BINS) for w in (None, hits, confidence))
    return float(np.abs(h - c).sum() / len(hits))


def netcal(hits, confidence):
    from netcal.metrics import ECE

    return float(ECE(BINS).measure(confidence, hits))


def scikit_learn(hits, confidence):
    from sklearn.calibration import calibration_curve

    return calibration_curve(hits, confidence, n_bins=BINS)[0].tolist()  # without the weights of the bins


def tensorflow_probability(classes, batch):
    """All logits at once."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    labels, predictions, _ = stream(classes, batch)
    labels = tf.constant(labels.reshape(-1).astype("int32"))
    logits = tf.constant(predictions.reshape(-1, classes))
    error = tf.function(lambda z, y: tfp.stats.expected_calibration_error(BINS, z, y))
    return lambda: float(error(logits, labels))


CANDIDATES = {
    OURS: ours(True),
    "keras_ls, graph": ours(False),
    "keras_ls, called from Python": ours_called,
    "torchmetrics": torchmetrics,
    "TensorFlow Probability": tensorflow_probability,
    FLOOR: of_array(floor),
    "netcal": of_array(netcal),
    "scikit-learn": of_array(scikit_learn),
}
# these want all examples at once
ONLY = {name: [(0, BATCHES[-1])] for name in (FLOOR, "netcal", "scikit-learn")}
ONLY["TensorFlow Probability"] = [(10, BATCHES[-1])]
NEEDS = {"torchmetrics": "torchmetrics", "netcal": "netcal"}


def main(repeats=2):
    missing = {name for name, module in NEEDS.items() if not importlib.util.find_spec(module)}
    if missing:
        console.print(f'Without {", ".join(sorted(missing))}: pip install -e ".[bench]" to compare with them.')
    columns = "predictions", "batch", "candidate", "median", "XLA / it", "graph / it", "peak memory"
    title = f"Streaming ECE with {BINS} bins; ours / theirs: below 1, keras_ls is faster"
    table = Table(*columns, title=title, title_justify="left", caption="Peak memory above the predictions.")
    with contextlib.ExitStack() as stack:
        every = {n: stack.enter_context(Candidate(__name__, n)) for n in CANDIDATES if n not in missing}
        for classes, examples in EXAMPLES.items():
            what = f"{examples:,} × {classes} logits" if classes else f"{examples:,} (confidence, correct)"
            for batch in BATCHES:
                candidates = [c for n, c in every.items() if (classes, batch) in ONLY.get(n, [(classes, batch)])]
                for candidate in candidates:
                    candidate.prepare(classes, batch)
                seconds = medians(candidates, repeats)
                for i, name in enumerate(seconds):
                    ratios = [f"{seconds[ours] / seconds[name]:.2f}" for ours in (OURS, "keras_ls, graph")]
                    peak = peak_bytes(__name__, name, classes, batch) if batch == BATCHES[-1] else None
                    memory = "" if peak is None else f"{peak / 2**20:.1f} MiB"
                    case = ("", "") if i else (what, str(batch))
                    shown = f"{name}, one array" if name in ONLY else name
                    table.add_row(*case, shown, f"{1e3 * seconds[name]:.1f} ms", *ratios, memory)
    console.print(table)
