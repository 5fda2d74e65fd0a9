"""Ten defects of other distillers, of `keras.distillation` 3.15 where shown beside ours: each a test with its name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, LogitsDistillation
from tests.distillation.networks import (
    CLASSES,
    WEIGHT,
    X,
    Y,
    assert_same_weights,
    batch_norm_network,
    crossentropy,
    kl,
    network,
    teacher,
)

HARD = kls.losses.SmoothedCrossentropy(0.0)
PEER = keras.distillation


def evaluated(distiller, *data, **arguments):
    return distiller.evaluate(*data, batch_size=8, verbose=0, return_dict=True, **arguments)


def pair(t, s, **arguments):
    """Ours and Keras's, for the same models, with a right KL for both."""
    ours = Distiller(t, s, LogitsDistillation(2.0), **arguments)
    theirs = PEER.Distiller(t, s, PEER.LogitsDistillation(2.0, loss=keras.losses.KLDivergence()), **arguments)
    ours.compile(keras.optimizers.SGD(0.0), HARD)
    theirs.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return ours, theirs


def test_1_default_loss_is_not_distillation():
    t, s = teacher()(X), network()(X)
    expected = 9 * kl(t, s, 3.0).mean()
    assert float(LogitsDistillation().compute_loss(t, s)) == pytest.approx(expected, rel=1e-5)
    assert abs(float(PEER.LogitsDistillation().compute_loss(t, s)) - expected) > 0.1 * expected
    # a student that agrees up to a constant has nothing to learn; raw logits in a KL say otherwise
    assert float(LogitsDistillation().compute_loss(t, t + 5)) == pytest.approx(0, abs=1e-5)
    assert abs(float(PEER.LogitsDistillation().compute_loss(t, t + 5))) > 0.1


def test_1_a_student_of_the_default_loss_learns_its_teacher():
    t, s = teacher(), network(units=32)
    distiller = Distiller(t, s, LogitsDistillation(), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(0.03))
    distiller.fit(np.tile(X, (150, 1)), batch_size=21, shuffle=False, verbose=0)  # 150 steps of all examples
    assert (s(X).numpy().argmax(axis=1) == t(X).numpy().argmax(axis=1)).mean() == 1.0
    np.testing.assert_allclose(tf.nn.softmax(s(X)), tf.nn.softmax(t(X)), atol=0.1)


def test_2_kl_through_clipped_probabilities():
    # the teacher is sure of class 0, the student of class 1: 60 nats, and a gradient of p_s - p_t = ±1
    def constant(*logits):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="zeros")])
        model.layers[0].bias.assign(logits)
        return model

    student = constant(0.0, 60.0)
    distiller = Distiller(constant(200.0, 0.0), student, LogitsDistillation(1.0), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(1.0))
    assert distiller.fit(X, batch_size=21, verbose=0).history["loss"] == pytest.approx([60.0], rel=1e-6)
    np.testing.assert_allclose(student.layers[0].bias, [1.0, 59.0], rtol=1e-6)


def test_3_sample_weight_is_ignored():
    t, s = teacher(), network()
    ours, theirs = pair(t, s, student_loss_weight=0.3)
    student_loss, d = crossentropy(Y, s(X)), 4 * kl(t(X), s(X), 2.0)
    logs = evaluated(ours, X, Y, sample_weight=WEIGHT)
    assert logs["student_loss"] == pytest.approx((WEIGHT * student_loss).mean(), rel=1e-5)
    assert logs["logits_distillation"] == pytest.approx((WEIGHT * d).mean(), rel=1e-5)
    assert logs["loss"] == pytest.approx((WEIGHT * (0.3 * student_loss + 0.7 * d)).mean(), rel=1e-5)
    unweighted = (0.3 * student_loss + 0.7 * d).mean()
    assert evaluated(theirs, X, Y, sample_weight=WEIGHT)["loss"] == pytest.approx(unweighted, rel=1e-4)


def test_3_class_weight_is_ignored():
    t, s = teacher(), network()
    ours, _ = pair(t, s, student_loss_weight=0.3)
    history = ours.fit(X, Y, class_weight={0: 0.5, 1: 3.0, 2: 0.0}, batch_size=8, verbose=0).history
    weight = np.array([0.5, 3.0, 0.0])[Y]
    student_loss, d = crossentropy(Y, s(X)), 4 * kl(t(X), s(X), 2.0)
    assert history["student_loss"] == pytest.approx([(weight * student_loss).mean()], rel=1e-5)
    assert history["logits_distillation"] == pytest.approx([(weight * d).mean()], rel=1e-5)
    assert history["loss"] == pytest.approx([(weight * (0.3 * student_loss + 0.7 * d)).mean()], rel=1e-5)


def tagger(seed=0):
    keras.utils.set_random_seed(seed)
    embedding = keras.layers.Embedding(
        6, 5, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(0, 2)
    )
    return keras.Sequential([keras.Input((5,), dtype="int32"), embedding, keras.layers.Dense(CLASSES)])


IDS = np.random.default_rng(1).integers(1, 6, (16, 5)) * (np.arange(5) < np.array([5, 1, 3, 2] * 4)[:, None])


def test_3_masks_do_not_reach_the_distillation_term():
    t, s = tagger(1), tagger(0)
    ours, theirs = pair(t, s, student_loss_weight=0.0)
    keep = IDS != 0
    z_t, z_s = t(IDS).numpy(), s(IDS).numpy()
    expected = [4 * kl(z_t[rows][keep[rows]], z_s[rows][keep[rows]], 2.0).mean() for rows in (slice(8), slice(8, 16))]
    logs = evaluated(ours, IDS, np.where(keep, IDS % CLASSES, 0))
    assert logs["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
    with_padding = 4 * kl(z_t, z_s, 2.0).mean()
    assert abs(with_padding - np.mean(expected)) > 0.01
    assert evaluated(theirs, IDS, IDS % CLASSES)["loss"] == pytest.approx(with_padding, rel=1e-3)


def test_4_weight_decay_and_add_loss_are_dropped():
    t, s = teacher(), network(kernel_regularizer=keras.regularizers.L2(0.1))
    s.layers[1].activity_regularizer = keras.regularizers.L2(0.2)
    ours, theirs = pair(t, s)
    z = s(X).numpy().astype("float64")
    terms = 0.5 * crossentropy(Y, z).mean() + 0.5 * 4 * kl(t(X), z, 2.0).mean()
    decay = 0.1 * (s.layers[0].kernel.numpy().astype("float64") ** 2).sum()
    alone = keras.Model(
        s.inputs, s.outputs
    )  # the activity term as Keras counts it: per batch before 3.13, a mean since
    alone.compile("sgd", HARD)
    activity = evaluated(alone, X, Y)["loss"] - crossentropy(Y, z).mean() - decay
    assert activity > 0.05
    assert evaluated(ours, X, Y)["loss"] == pytest.approx(terms + decay + activity, rel=1e-5)
    assert evaluated(theirs, X, Y)["loss"] == pytest.approx(terms, rel=1e-4)


def test_4_weight_decay_moves_the_weights():
    # with a student that already agrees, only the decay is left: W - .5 · 2 · .1 W = .9 W
    student = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(0.1))]
    )
    before = student.get_weights()[0]
    distiller = Distiller(keras.models.clone_model(student), student, LogitsDistillation(), student_loss_weight=0.0)
    distiller.teacher.set_weights(student.get_weights())
    distiller.compile(keras.optimizers.SGD(0.5))
    distiller.fit(X, batch_size=21, verbose=0)
    np.testing.assert_allclose(student.get_weights()[0], 0.9 * before, rtol=1e-4, atol=1e-6)


def test_5_evaluate_changes_the_model():
    student = batch_norm_network()
    distiller = Distiller(teacher(), student, LogitsDistillation())
    distiller.compile("adam", HARD)
    distiller.fit(X, Y, verbose=0)
    before = [v.numpy() for v in distiller.variables + distiller.optimizer.variables]
    evaluated(distiller, X, Y)
    distiller.predict(X, verbose=0)
    after = [v.numpy() for v in distiller.variables + distiller.optimizer.variables]
    trackers = {id(v) for metric in distiller.metrics for v in metric.variables}
    for variable, a, b in zip(distiller.variables + distiller.optimizer.variables, before, after):
        if id(variable) not in trackers:
            np.testing.assert_array_equal(a, b, err_msg=variable.path)

    other = batch_norm_network(1)
    features = PEER.FeatureDistillation(
        loss="mse", teacher_layer_name=other.layers[0].name, student_layer_name=student.layers[0].name
    )
    theirs = PEER.Distiller(other, student, features)
    theirs.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    mean = student.layers[1].moving_mean.numpy()
    theirs.evaluate(X, Y, verbose=0)
    assert np.abs(student.layers[1].moving_mean.numpy() - mean).max() > 1e-4


def test_5_batch_norm_statistics_move_once_a_step():
    # one batch, momentum .99: .01 of the batch's mean
    student = batch_norm_network()
    distiller = Distiller(teacher(), student, LogitsDistillation())
    distiller.compile(keras.optimizers.SGD(0.0), HARD)
    distiller.fit(X, Y, batch_size=21, verbose=0)
    expected = 0.01 * student.layers[0](X).numpy().mean(axis=0)
    np.testing.assert_allclose(student.layers[1].moving_mean, expected, rtol=1e-4, atol=1e-7)


def test_6_two_replicas_take_another_step(two_replicas):
    # sequences of uneven lengths: the replicas keep different numbers of tokens
    labels = IDS % CLASSES

    def trained():
        distiller = Distiller(tagger(1), tagger(0), LogitsDistillation(2.0), student_loss_weight=0.3)
        distiller.compile(keras.optimizers.SGD(0.5), HARD)
        history = distiller.fit(IDS, labels, batch_size=6, epochs=2, shuffle=False, verbose=0).history
        return distiller, history, evaluated(distiller, IDS, labels)

    one, history, logs = trained()
    with two_replicas.scope():
        two, history_of_two, logs_of_two = trained()
    assert_same_weights(two.student, one.student, atol=1e-6)
    for key in history:
        assert history_of_two[key] == pytest.approx(history[key], rel=1e-5), key
        assert logs_of_two[key] == pytest.approx(logs[key], rel=1e-5), key


def test_7_logs_are_not_batch_weighted():
    # 21 examples in batches of 8, 8 and 5: means over the 21, not over the three batches
    t, s = teacher(), network()
    ours, theirs = pair(t, s)
    student_loss, d = crossentropy(Y, s(X)), 4 * kl(t(X), s(X), 2.0)
    expected = {
        "student_loss": student_loss.mean(),
        "logits_distillation": d.mean(),
        "loss": (0.5 * student_loss + 0.5 * d).mean(),
    }
    assert evaluated(ours, X, Y) == pytest.approx(expected, rel=1e-5)
    history = ours.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history
    assert {key: values[0] for key, values in history.items()} == pytest.approx(expected, rel=1e-5)
    by_batch = np.mean([d[rows].mean() for rows in (slice(8), slice(8, 16), slice(16, 21))])
    assert abs(by_batch - d.mean()) > 1e-3
    assert evaluated(theirs, X, Y)["distillation_loss"] == pytest.approx(by_batch, rel=1e-4)


def test_8_dict_outputs_crash():
    # values of dict and list outputs: test_distiller_outputs.py
    inputs = keras.Input((4,))
    models = [
        keras.Model(inputs, {"a": keras.layers.Dense(3)(inputs), "b": keras.layers.Dense(2)(inputs)}) for _ in "ts"
    ]
    labels = {"a": Y, "b": Y % 2}
    ours = Distiller(*models, LogitsDistillation())
    ours.compile("sgd", {"a": HARD, "b": HARD})
    logs = evaluated(ours, X, labels)
    (z_t, z_s) = (model(X) for model in models)
    assert logs["logits_distillation"] == pytest.approx(
        9 * sum(kl(z_t[key], z_s[key], 3.0).mean() for key in "ab"), rel=1e-4
    )


def test_8_a_loaded_distiller_cannot_evaluate(tmp_path):
    # the rest of saving: test_distiller_saving.py
    ours, _ = pair(teacher(), network())
    ours.save(tmp_path / "ours.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    with pytest.warns(UserWarning, match="no teacher"):
        logs = evaluated(loaded, X, Y)
    assert logs["student_loss"] == pytest.approx(crossentropy(Y, ours.student(X)).mean(), rel=1e-5)


def test_9_loss_weights_are_constants_of_the_graph():
    traces = []

    class Traced(keras.layers.Layer):
        def call(self, x, training=None):
            if training:
                traces.append(x)
            return x

    def schedule(epoch, logs):
        distiller.student_loss_weight = [0.0, 1.0, 0.25][epoch]
        distiller.distillation_loss_weights = [[1.0], [7.0], [2.0]][epoch]
        counts.append(len(traces))

    counts = []
    t = teacher()
    s = keras.Sequential([keras.Input((4,)), Traced(), keras.layers.Dense(CLASSES)])
    distiller = Distiller(t, s, LogitsDistillation(2.0))
    distiller.compile(keras.optimizers.SGD(0.0), HARD)
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=schedule)
    history = distiller.fit(X, Y, batch_size=21, epochs=3, verbose=0, callbacks=[callback]).history
    student_loss, d = crossentropy(Y, s(X)).mean(), 4 * kl(t(X), s(X), 2.0).mean()
    assert history["loss"] == pytest.approx([d, student_loss, 0.25 * student_loss + 0.75 * 2 * d], rel=1e-5)
    assert counts[1] > 0 and counts[2] == counts[1] == len(traces)  # traced in the first epoch only


def test_9_the_callers_teacher_is_frozen_in_place():
    t = batch_norm_network(1)
    t.layers[0].trainable = False
    t.compile(keras.optimizers.Adam(0.01), HARD, metrics=["accuracy"])
    t.fit(X, Y, verbose=0)
    before = [w.copy() for w in t.get_weights()]
    flags = [layer.trainable for layer in t.layers]
    optimizer, steps = t.optimizer, int(t.optimizer.iterations)
    distiller = Distiller(t, network(), LogitsDistillation())
    distiller.compile("sgd", HARD)
    distiller.fit(X, Y, epochs=2, verbose=0)
    evaluated(distiller, X, Y)
    assert t.trainable and [layer.trainable for layer in t.layers] == flags
    for a, b in zip(before, t.get_weights()):  # batch-norm statistics among them
        np.testing.assert_array_equal(a, b)
    assert t.optimizer is optimizer and int(t.optimizer.iterations) == steps
    assert set(t.evaluate(X, Y, verbose=0, return_dict=True)) == {"loss", "accuracy"}
    t.fit(X, Y, verbose=0)  # and it trains on
    assert int(t.optimizer.iterations) == steps + 1

    frozen = network(1)
    PEER.Distiller(frozen, network(), PEER.LogitsDistillation())
    assert not frozen.trainable


def test_9_the_teachers_dropout_is_off():
    t, s = batch_norm_network(1), network()
    ours, _ = pair(t, s, student_loss_weight=0.0)
    expected = 4 * kl(t(X, training=False), s(X), 2.0).mean()
    history = ours.fit(X, Y, batch_size=21, verbose=0).history
    assert history["logits_distillation"] == pytest.approx([expected], rel=1e-5)
    assert 4 * kl(t(X, training=True), s(X), 2.0).mean() != pytest.approx(expected, rel=1e-2)


def test_9_only_the_student_is_trained():
    distiller = Distiller(teacher(), network(), LogitsDistillation())
    assert [id(v) for v in distiller.trainable_variables] == [id(v) for v in distiller.student.trainable_variables]
    assert distiller.layers == [distiller.student]


def test_10_teacher_and_student_must_share_a_dtype():
    t = teacher()
    keras.utils.set_random_seed(0)
    s = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, dtype="mixed_float16"),
            keras.layers.Dense(CLASSES, dtype="mixed_float16"),
        ]
    )
    with pytest.raises(ValueError, match="dtypes must match"):
        PEER.Distiller(t, s, PEER.LogitsDistillation())
    distiller = Distiller(t, s, LogitsDistillation(2.0), student_loss_weight=0.3)
    distiller.compile(keras.optimizers.SGD(0.0), HARD)
    z = s(X).numpy()
    assert z.dtype == np.float16
    student_loss, d = crossentropy(Y, z).mean(), 4 * kl(t(X), z, 2.0).mean()
    history = distiller.fit(X, Y, batch_size=21, verbose=0).history
    assert history["student_loss"] == pytest.approx([student_loss], rel=2e-3)
    assert history["logits_distillation"] == pytest.approx([d], rel=2e-3)
    assert history["loss"] == pytest.approx([0.3 * student_loss + 0.7 * d], rel=2e-3)


def test_10_a_mixed_precision_student_learns():
    keras.utils.set_random_seed(0)
    s = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, dtype="mixed_float16")])
    distiller = Distiller(teacher(), s, LogitsDistillation(2.0))
    # scaled by 2^15 and unscaled again: nothing is lost, and a step is a step of plain SGD to half precision
    distiller.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**5), HARD)
    full = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])
    full.set_weights(s.get_weights())
    start = s.get_weights()[0]
    distiller.fit(X, Y, batch_size=21, verbose=0)
    same = Distiller(teacher(), full, LogitsDistillation(2.0))
    same.compile(keras.optimizers.SGD(0.1), HARD)
    same.fit(X, Y, batch_size=21, verbose=0)
    moved = np.abs(full.get_weights()[0] - start).max()
    assert moved > 1e-2
    assert_same_weights(s, full, atol=0.01 * moved)
