"""A student of cached logits is the student of the teacher itself, and its epochs do without the teacher.

Run: python examples/distil_from_cache.py --epochs 30   (about 40 s of CPU)
Result: on noisy digits, each shifted anew by up to a pixel in every epoch, the students of the live teacher and of the
cache have the same test accuracy, 0.719, and the student alone 0.613 (one seed, 697 test digits: ± 0.04). An epoch of
700 digits took 132 ms of CPU with the teacher, 110 from the cache and 105 without either; the network is so small that
calls cost more than arithmetic. Writing the 30 passes took 5 s, once for however many students.
"""

import argparse
import functools
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import CachedTeacher, LogitsDistillation, TeacherCache

BATCH = 64


def network(seed, *widths):
    keras.utils.set_random_seed(seed)
    return kls.models.mlp((8, 8, 1), 10, widths=widths)


def compiled(model):
    model.compile(keras.optimizers.Adam(1e-3), kls.losses.SmoothedCrossentropy(0.0), metrics=["accuracy"])
    return model


def main(epochs=30, directory=None):
    """Prints CPU time an epoch and test accuracy; returns {name: student}."""
    digits = kls.data.load("digits-noise")
    (x, y), (x_test, y_test) = ((x.reshape(-1, 8, 8, 1), y) for x, y in (digits.train, digits.test))
    examples = tf.data.Dataset.from_tensor_slices((x, y)).enumerate()

    def view(seed):  # every epoch moves each digit by up to a pixel, as its seed says
        shift = kls.data.random_shift(1, seed)
        return examples.map(lambda index, example: (index, shift(index, example)))

    teacher = compiled(network(0, 1200, 1200))
    teacher.fit(x, y, epochs=20, verbose=0)
    cache = TeacherCache(directory or tempfile.mkdtemp())
    began = time.process_time()
    cache.write(teacher, view, augmentation_seeds=range(epochs))
    print(f"{epochs} passes of the teacher: {time.process_time() - began:.1f} s of CPU")

    joined = cache.epochs(view, range(epochs), BATCH)
    plain = joined.map(lambda x, y: (x["inputs"], y))  # the same images in the same order
    distiller = functools.partial(kls.Distiller, distillation_losses=LogitsDistillation(4.0), student_loss_weight=0.3)
    students, steps = {}, -(-len(x) // BATCH)
    for name, teaches, data in (
        ("student alone", None, plain),
        ("from the teacher", teacher, plain),
        ("from the cache", CachedTeacher(), joined),
    ):
        students[name] = student = network(1, 128)
        model = compiled(distiller(teaches, student) if teaches else student)
        ends = []
        clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_, ends=ends: ends.append(time.process_time()))
        model.fit(data, epochs=epochs, steps_per_epoch=steps, verbose=0, callbacks=[clock])
        seconds = np.median(np.diff(ends))  # without the first, in which it is compiled
        accuracy = (student.predict(x_test, verbose=0).argmax(axis=1) == y_test).mean()
        print(f"{name:16}  {1000 * seconds:5.0f} ms of CPU an epoch  accuracy {accuracy:.3f}")
    return students


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=30)
    main(parser.parse_args().epochs)
