"""Data and teachers for the tests of the teacher cache."""

import keras
import numpy as np
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import TeacherCache
from tests.distillation.networks import WEIGHT, X, Y, teacher

RNG = np.random.default_rng(1)
IMAGES = RNG.normal(size=(21, 6, 6, 1)).astype("float32")


def data():
    """The examples of `networks`, with ids."""
    return tf.data.Dataset.from_tensor_slices((X, Y)).enumerate()


def weighted():
    return tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT)).enumerate()


def view(seed):
    """Shifted images with ids: other ones for every seed."""
    images = tf.data.Dataset.from_tensor_slices((IMAGES, Y)).enumerate()
    shift = kls.data.random_shift(1, seed)
    return images.map(lambda index, example: (index, shift(index, example)))


def image_network(seed, width):
    keras.utils.set_random_seed(seed)
    return kls.models.mlp((6, 6, 1), 3, widths=(width,))


def written(path, dataset=None, model=None, **arguments):
    cache = TeacherCache(path)
    model = model or teacher()
    return cache.write(model, data() if dataset is None else dataset, verbose=0, **{"batch_size": 4, **arguments})


def spoken(joined):
    """Every teacher output of a joined dataset, batched or not."""
    parts = [np.atleast_2d(element[0]["teacher_outputs"]) for element in joined.as_numpy_iterator()]
    return np.concatenate(parts)


def files_of(path):
    """Name → bytes of a directory."""
    return {file.name: file.read_bytes() for file in path.iterdir()}
