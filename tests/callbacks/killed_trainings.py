"""Program: trainings that are killed at random moments until each is complete, and one that is left alone.

Prints a JSON of how many kills there were, and whether every training ended with the weights and history of the last.
Children are forked before TensorFlow has run anything, which saves its import, and run eagerly, which saves a trace.
"""

import json
import os
import pathlib
import random
import signal
import sys
import time

import keras
import numpy as np

import keras_ls as kls

STEPS, EPOCHS = 5, 12


def network(width):
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    )


def train(directory, started):
    """Trains to the end, and leaves what came of it in a file."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4 * STEPS, 4)).astype("float32"), rng.integers(0, 3, 4 * STEPS)
    distiller = kls.Distiller(network(8), network(4), kls.distillation.LogitsDistillation(2.0))
    distiller.compile("adam", kls.losses.OnlineLabelSmoothing(3, steps_per_epoch=STEPS), run_eagerly=True)
    callbacks = [
        kls.callbacks.ExactResume(directory, "1 step"),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: os.write(started, b".")),
    ]
    batches = kls.data.ShuffledBatches(x, y, batch_size=4)
    history = distiller.fit(batches, epochs=EPOCHS, verbose=0, callbacks=callbacks).history
    weights = [keras.ops.convert_to_numpy(variable) for variable in distiller.variables]
    np.savez(directory / "result.npz", *weights, history=np.array(json.dumps(history)))


def start(directory):
    """`(process, pipe)` of a child that trains; the pipe has a byte for every step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            train(directory, writing)
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def killed_until_complete(directory, moments):
    """Number of kills."""
    kills = 0
    while not (directory / "result.npz").exists():
        child, reading = start(directory)
        os.read(reading, 1)  # the first step is done, or the child has ended
        time.sleep(moments.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        kills += 1
    return kills - 1  # the last one came too late


def result(directory):
    with np.load(directory / "result.npz") as file:
        return {name: file[name] for name in file}


def main(directory, kills):
    moments, counts, results = random.Random(0), [], []
    while sum(counts) < kills:
        killed = directory / f"killed-{len(counts)}"
        killed.mkdir()
        counts.append(killed_until_complete(killed, moments))
        results.append(result(killed))
    alone = directory / "alone"
    alone.mkdir()
    child, reading = start(alone)
    while os.read(reading, 100):
        pass
    os.waitpid(child, 0)
    expected = result(alone)
    equal = all(np.array_equal(one[name], expected[name]) for one in results for name in expected)
    print(json.dumps({"kills": sum(counts), "trainings": len(counts), "arrays": len(expected), "equal": equal}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
