"""Program: a `fit` of the Distiller and a study, killed at random moments until each is complete, and left alone.

Prints a JSON of how many kills there were, and whether all ended with the same numbers. Children are forked before
TensorFlow has run anything, which saves its import, and run eagerly, which saves a trace.
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
from keras_ls.studies.engine import trainer

STEPS, EPOCHS = 5, 8


def network(width):
    dense, dropout = keras.layers.Dense, keras.layers.Dropout
    return keras.Sequential([keras.Input((4,)), dense(width), dropout(0.3), dense(3)])


def distill(directory, started):
    """Trains a Distiller, and leaves what came of it in a file."""
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
    kls.files.write_beside(directory / "result.npz", lambda path: np.savez(path, *weights, history=json.dumps(history)))


def study(directory, started):
    """Runs teachers and students of the distillation study, with checkpoints within each training."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    trainer.LONG, trainer.CHECKPOINT_EVERY, trainer.STEPS_PER_EXECUTION = 1, "4 steps", 2
    chosen = kls.studies.DistillationStudy(
        seeds=(0,),
        settings={
            "smoothings": (0.0, 0.3),
            "temperatures": (1.0,),
            "grid_smoothings": (0.3,),
            "grid_temperatures": (1.0,),
            "teacher": {"widths": (8,), "epochs": 1},
            "student": {"widths": (4,), "epochs": 1},
        },
    )
    store = kls.studies.Store(directory)
    for _ in chosen.run(store, lambda share: os.write(started, b".")):
        pass
    values = json.dumps(chosen.summarise(store).values)
    kls.files.write_beside(directory / "result.npz", lambda path: np.savez(path, values=values))


def start(work, directory):
    """`(process, pipe)` of a child that works; the pipe has a byte for every step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(directory, writing)
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def killed_until_complete(work, directory, moments):
    """Number of kills."""
    kills = 0
    while not (directory / "result.npz").exists():
        child, reading = start(work, directory)
        os.read(reading, 1)  # the first step is done, or the child has ended
        time.sleep(moments.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        kills += 1
    return kills - 1  # the last one came too late


def result(directory):
    with np.load(directory / "result.npz") as file:
        return {name: file[name] for name in file}


def undisturbed(work, directory):
    child, reading = start(work, directory)
    while os.read(reading, 100):
        pass
    os.waitpid(child, 0)
    return result(directory)


def main(directory, kills):
    moments, found = random.Random(0), {}
    for work in (distill, study):
        counts, results = [], []
        while sum(counts) < kills:
            place = directory / f"{work.__name__}-{len(counts)}"
            place.mkdir()
            counts.append(killed_until_complete(work, place, moments))
            results.append(result(place))
        alone = directory / f"{work.__name__}-alone"
        alone.mkdir()
        expected = undisturbed(work, alone)
        equal = all(np.array_equal(one[name], expected[name]) for one in results for name in expected)
        found[work.__name__] = {"kills": sum(counts), "arrays": len(expected), "equal": equal}
    print(json.dumps(found))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
