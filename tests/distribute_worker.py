"""Trains a small classifier under `strategy("auto")`; run once for each worker, and imported for the reference.

TF_CONFIG=... python distribute_worker.py SEED OUT.npz
"""

import sys

import keras
import numpy as np
import tensorflow as tf

import keras_ls as kls

# the last batch has 5 examples, 3 and 2; the only batch has 7, 4 and 3
SIZES = [21, 7]


def examples(count):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 4)).astype("float32"), rng.integers(0, 5, count)


def train(strategy, seed):
    """Weights, history, evaluation and predictions, as one flat dict of arrays."""
    results = {}
    kls.distribute.set_seeds(seed)
    for count in SIZES:
        with strategy.scope():
            normalize = keras.layers.BatchNormalization(synchronized=True)
            model = keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(6, "tanh"), normalize, keras.layers.Dense(5)]
            )
            model.compile(
                keras.optimizers.SGD(0.5),
                kls.losses.SmoothedCrossentropy(0.1),
                weighted_metrics=[kls.metrics.BrierScore()],
            )
        x, y = examples(count)
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        history = model.fit(dataset, epochs=2, verbose=0, shuffle=False).history
        results |= {f"{count}/history/{name}": values for name, values in history.items()}
        results |= {f"{count}/weight/{i}": weight for i, weight in enumerate(model.get_weights())}
        if count == SIZES[0]:
            logs = model.evaluate(dataset, verbose=0, return_dict=True)
            results |= {f"{count}/evaluate/{name}": value for name, value in logs.items()}
            results[f"{count}/predict"] = model.predict(x, batch_size=8, verbose=0)
    return results


def reductions(strategy):
    """What `reduce` makes of the values 1 and 2 (worker 0 and 1), alone and in structures."""
    index = strategy.cluster_resolver.task_id
    value = tf.constant(float(index + 1))
    ragged = tf.fill([index + 1, 2], value)
    return {
        "sum": strategy.reduce("SUM", value, axis=None),
        "scalar_with_axis": strategy.reduce("MEAN", value, axis=0),
        "rows": strategy.reduce("MEAN", ragged, axis=0),  # (1 + 2 + 2) / 3
        "structure": strategy.reduce("mean", {"a": (value, tf.stack([value, 3.0]))}, axis=None)["a"][1],
        "ragged_structure": strategy.reduce("MEAN", (value, ragged), axis=None)[1],
        "strings": strategy.reduce("MEAN", (tf.constant(["a", "b"][index]), value), axis=None)[0].numpy().decode(),
    }


if __name__ == "__main__":
    strategy = kls.distribute.strategy("auto")
    results = {"replicas": strategy.num_replicas_in_sync, "type": type(strategy).__name__}
    results |= {f"reduce/{name}": np.asarray(value) for name, value in reductions(strategy).items()}
    np.savez(sys.argv[2], **results, **train(strategy, seed=int(sys.argv[1])))
