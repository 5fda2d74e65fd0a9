"""Calibration errors and temperatures, against NumPy's floor, uncertainty-calibration and scikit-learn."""

import numpy as np
import tensorflow as tf

import keras_ls as kls
from benchmarks.interleaved import console, medians, show
from keras_ls.calibrators.temperature_solver import solve_temperature

EXAMPLES, BATCH, BINS = 1_000_000, 4096, 15
OURS = "keras_ls"


def streamed(confidence, hits):
    metric = kls.metrics.ExpectedCalibrationError(BINS, from_logits=False)
    batches = tf.data.Dataset.from_tensor_slices((hits, confidence)).batch(BATCH).cache()

    @tf.function
    def run():
        for y, p in batches:
            metric.update_state(y, p)

    return run


def numpy_floor(confidence, hits):
    def run():
        index = np.minimum((confidence * BINS).astype(int), BINS - 1)
        n, h, c = (np.bincount(index, w, BINS) for w in (None, hits, confidence))
        return np.abs(h - c).sum() / n.sum()

    return run


def main(repeats=5):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=EXAMPLES).astype("float32")
    hits = (rng.uniform(size=EXAMPLES) < confidence).astype("float32")
    candidates = {
        f"{OURS}, streamed in batches of {BATCH}": streamed(confidence, hits),
        "keras_ls.ops, one array": lambda: kls.ops.calibration_error(hits, confidence),
        "NumPy multiply + bincount, one array": numpy_floor(confidence, hits),
    }
    try:
        import calibration as verified

        candidates["uncertainty-calibration, one array"] = lambda: verified.get_ece(confidence, hits.astype(int))
    except ImportError:
        console.print('Without uncertainty-calibration: pip install -e ".[bench]" to compare with it.')
    show(f"ECE of {EXAMPLES:,} binary predictions", {"": medians(candidates, repeats)}, next(iter(candidates)))

    rows = {}
    for n, k in [(10_000, 10), (10_000, 100), (50_000, 100)]:
        logits = rng.normal(size=(n, k)).astype("float32") * 5
        labels = (logits / 2.5 + rng.gumbel(size=(n, k))).argmax(axis=1)
        weight = np.ones(n)
        candidates = {OURS: lambda z=logits, y=labels, w=weight: solve_temperature(z, y, w, (0.01, 100.0))}
        peer = scikit_learn(logits, labels)
        if peer:
            candidates["scikit-learn temperature"] = peer
        rows[f"{n:,}×{k}"] = medians(candidates, repeats)
    show("Temperature scaling", rows, OURS)


def scikit_learn(logits, labels):
    try:
        from sklearn.calibration import _TemperatureScaling
    except ImportError:  # before scikit-learn 1.8
        return None
    return lambda: _TemperatureScaling().fit(logits, labels)
