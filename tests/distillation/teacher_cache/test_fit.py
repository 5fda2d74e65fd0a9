"""A student of cached logits is the student of the teacher itself: on one replica and two, shuffled, augmented."""

import keras
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import CachedTeacher, LogitsDistillation
from tests.distillation.networks import assert_same_weights, network, teacher
from tests.distillation.teacher_cache.caches import image_network, view, weighted, written

pytestmark = pytest.mark.tensorflow
SEEDS = [0, 1, 2]


def trained(strategy, speaker, student, stream, **arguments):
    """The student after SGD on `stream`; `speaker` and `student` are functions that make the models."""
    with strategy.scope():
        learner = student()
        distiller = kls.Distiller(speaker(), learner, LogitsDistillation(2.0), student_loss_weight=0.3)
        distiller.compile(keras.optimizers.SGD(0.2, momentum=0.9), kls.losses.SmoothedCrossentropy(0.0))
    logs = distiller.fit(stream, verbose=0, **arguments).history
    return learner, logs


def without_ids(_, example):
    return example


@pytest.fixture(params=["one", "two"])
def strategy(request):
    return tf.distribute.get_strategy() if request.param == "one" else request.getfixturevalue("two_replicas")


def test_with_shuffle_and_sample_weights(tmp_path, strategy):
    with strategy.scope():
        t = teacher()
    cache = written(tmp_path, model=t)
    shuffled = weighted().shuffle(21, seed=4, reshuffle_each_iteration=False).batch(8)  # the last of 5
    live, expected = trained(strategy, lambda: t, network, shuffled.map(without_ids), epochs=4)
    cached, logs = trained(strategy, CachedTeacher, network, cache.join(shuffled), epochs=4)
    assert_same_weights(live, cached, atol=1e-6)
    assert {name: pytest.approx(values, abs=1e-5) for name, values in expected.items()} == logs


def test_with_an_augmentation_of_its_own_for_every_epoch(tmp_path, strategy):
    with strategy.scope():
        t = image_network(0, 9)
    cache = written(tmp_path, view, t, augmentation_seeds=SEEDS)
    stream = cache.epochs(view, SEEDS, batch_size=8, shuffle_seed=5)
    # the same images in the same order, and the teacher itself
    live = [
        view(seed).shuffle(21, seed=5 + epoch, reshuffle_each_iteration=False).batch(8)
        for epoch, seed in enumerate(SEEDS)
    ]
    live = live[0].concatenate(live[1]).concatenate(live[2]).map(without_ids)
    fits = {"epochs": 3, "steps_per_epoch": 3}
    student = lambda: image_network(1, 4)  # noqa: E731
    taught, expected = trained(strategy, lambda: t, student, live, **fits)
    cached, logs = trained(strategy, CachedTeacher, student, stream, **fits)
    assert_same_weights(taught, cached, atol=1e-6)
    assert {name: pytest.approx(values, abs=1e-5) for name, values in expected.items()} == logs
