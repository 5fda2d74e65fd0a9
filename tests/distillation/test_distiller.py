"""`Distiller`: its loss, its update and its logs against plain NumPy and a hand-written training step."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, LogitsDistillation
from tests.distillation.networks import (
    CLASSES,
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


def compiled(distiller, optimizer=None, loss=HARD, **arguments):
    # without XLA, which takes longer to compile than these to train; test_ways_to_execute has both
    distiller.compile(optimizer or keras.optimizers.SGD(0.5), loss, **{"jit_compile": False, **arguments})
    return distiller


def standing_still(distiller, **arguments):
    """Learning rate 0: the logs of an epoch are the values of one fixed student."""
    return compiled(distiller, keras.optimizers.SGD(0.0), **arguments)


def logged(distiller, *data, **arguments):
    history = distiller.fit(*data, batch_size=8, shuffle=False, verbose=0, **arguments).history
    return {key: values[0] for key, values in history.items()}


def test_total():
    # w · CE + (1 - w) · (λ_1 T² KL(T) + λ_2 KL(T=4, T_s=1)) + .01 · Σ W²
    t, s = teacher(), network(kernel_regularizer=keras.regularizers.L2(0.01))
    losses = [LogitsDistillation(2.0), LogitsDistillation(4.0, 1.0, scale_by_temperature=False, name="paper")]
    logs = logged(standing_still(Distiller(t, s, losses, [0.7, 2.0], student_loss_weight=0.3)), X, Y)
    z_t, z_s = t(X).numpy(), s(X).numpy()
    student_loss = crossentropy(Y, z_s).mean()
    first, second = 4 * kl(z_t, z_s, 2.0).mean(), kl(z_t, z_s, 4.0, 1.0).mean()
    decay = 0.01 * (s.layers[0].get_weights()[0].astype("float64") ** 2).sum()
    total = 0.3 * student_loss + 0.7 * (0.7 * first + 2.0 * second) + decay
    assert logs == pytest.approx(
        {"loss": total, "student_loss": student_loss, "logits_distillation": first, "paper": second}, rel=1e-5
    )


def test_one_step_of_sgd():
    # the same step written out: tape, softmax, T² KL, cross-entropy, W -= .5 g
    t, s = teacher(), network()
    weights = [tf.Variable(w) for w in s.get_weights()]
    with tf.GradientTape() as tape:
        z = tf.tanh(X @ weights[0] + weights[1]) @ weights[2] + weights[3]
        p_t = tf.nn.softmax(t(X) / 4.0)
        divergence = tf.reduce_sum(p_t * (tf.math.log(p_t) - tf.nn.log_softmax(z / 4.0)), axis=-1)
        student_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(Y, z)
        total = 0.2 * tf.reduce_mean(student_loss) + 0.8 * 16.0 * tf.reduce_mean(divergence)
    expected = [w - 0.5 * g for w, g in zip(weights, tape.gradient(total, weights))]
    compiled(Distiller(t, s, LogitsDistillation(4.0), student_loss_weight=0.2)).fit(X, Y, batch_size=21, verbose=0)
    for a, b in zip(s.get_weights(), expected):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_a_student_that_agrees_has_no_distillation_loss():
    t = teacher()
    same = teacher()
    same.set_weights(t.get_weights())
    before = same.get_weights()
    logs = logged(compiled(Distiller(t, same, LogitsDistillation(), student_loss_weight=0.0), loss=None), X, Y)
    assert logs["logits_distillation"] == pytest.approx(0, abs=1e-6)
    for a, b in zip(before, same.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_student_loss_weight(share):
    t, s = teacher(), network()
    logs = logged(standing_still(Distiller(t, s, LogitsDistillation(), student_loss_weight=share)), X, Y)
    expected = crossentropy(Y, s(X).numpy()) if share else 9 * kl(t(X).numpy(), s(X).numpy(), 3.0)
    assert logs["loss"] == pytest.approx(expected.mean(), rel=1e-5)


def test_w_of_1_is_plain_training():
    plain, student = network(), network()
    plain.compile(keras.optimizers.SGD(0.5), HARD)
    plain.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    logged(compiled(Distiller(teacher(), student, LogitsDistillation(), student_loss_weight=1.0)), X, Y)
    assert_same_weights(student, plain, atol=1e-7)


def test_without_loss_and_without_labels():
    # the paper's β = 1: labels unused
    t, s = teacher(), network()
    distiller = standing_still(Distiller(t, s, LogitsDistillation(), student_loss_weight=0.0), loss=None)
    expected = 9 * kl(t(X).numpy(), s(X).numpy(), 3.0).mean()
    assert logged(distiller, X)["loss"] == pytest.approx(expected, rel=1e-5)
    assert logged(distiller, X, Y)["loss"] == pytest.approx(expected, rel=1e-5)


def test_scalar_and_one_weight():
    for weights in (2.5, [2.5], (2.5,)):
        distiller = Distiller(teacher(), network(), LogitsDistillation(), weights)
        assert distiller.distillation_loss_weights == [2.5]
    assert Distiller(teacher(), network(), [LogitsDistillation()] * 2).distillation_loss_weights == [1.0, 1.0]


def test_any_keras_loss_distils():
    # the high-temperature limit of the MNIST experiment: squared logit differences
    t, s = teacher(), network()
    logs = logged(standing_still(Distiller(t, s, keras.losses.MeanSquaredError(name="squares"))), X, Y)
    assert logs["squares"] == pytest.approx(((t(X).numpy() - s(X).numpy()) ** 2).mean(), rel=1e-5)


def test_losses_of_one_name_get_numbers():
    distiller = standing_still(Distiller(teacher(), network(), [LogitsDistillation(1.0), LogitsDistillation(9.0)]))
    logs = logged(distiller, X, Y)
    z_t, z_s = distiller.teacher(X).numpy(), distiller.student(X).numpy()
    assert logs["logits_distillation_0"] == pytest.approx(kl(z_t, z_s).mean(), rel=1e-5)
    assert logs["logits_distillation_1"] == pytest.approx(81 * kl(z_t, z_s, 9.0).mean(), rel=1e-4)


def test_add_loss_of_the_student():
    class Penalised(keras.layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * keras.ops.mean(x**2))
            return x

    s = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, activity_regularizer=None), Penalised()])
    t = teacher()
    logs = standing_still(Distiller(t, s, LogitsDistillation(), student_loss_weight=0.0), loss=None).evaluate(
        X, batch_size=21, verbose=0, return_dict=True
    )
    z = s(X).numpy()
    expected = 9 * kl(t(X).numpy(), z, 3.0).mean() + 0.1 * (z**2).mean()
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_teacher_losses_and_regularizers_stay_out():
    t = network(1, kernel_regularizer=keras.regularizers.L2(100.0))
    s = network()
    logs = logged(standing_still(Distiller(t, s, LogitsDistillation(), student_loss_weight=0.0), loss=None), X)
    assert logs["loss"] == pytest.approx(9 * kl(t(X).numpy(), s(X).numpy(), 3.0).mean(), rel=1e-5)


def test_metrics_are_the_students():
    distiller = standing_still(Distiller(teacher(), network(), LogitsDistillation()), metrics=["accuracy"])
    logs = logged(distiller, X, Y)
    assert logs["accuracy"] == pytest.approx((distiller.student(X).numpy().argmax(axis=1) == Y).mean())
    np.testing.assert_array_equal(distiller.predict(X, verbose=0), distiller.student.predict(X, verbose=0))


def test_validation_logs():
    distiller = standing_still(Distiller(teacher(), network(), LogitsDistillation(), student_loss_weight=0.25))
    logs = logged(distiller, X, Y, validation_data=(X[:5], Y[:5]))
    z_t, z_s = distiller.teacher(X[:5]).numpy(), distiller.student(X[:5]).numpy()
    d, student_loss = 9 * kl(z_t, z_s, 3.0).mean(), crossentropy(Y[:5], z_s).mean()
    assert logs["val_logits_distillation"] == pytest.approx(d, rel=1e-5)
    assert logs["val_student_loss"] == pytest.approx(student_loss, rel=1e-5)
    assert logs["val_loss"] == pytest.approx(0.25 * student_loss + 0.75 * d, rel=1e-5)


class Counting(keras.layers.Layer):
    """Counts its eager calls, by the `training` flag."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def call(self, x, training=None):
        if tf.executing_eagerly() and not isinstance(x, keras.KerasTensor):
            self.calls.append(training)
        return x


def test_one_forward_pass_of_each_model_a_step():
    student_counter, teacher_counter = Counting(), Counting()
    student = keras.Sequential([keras.Input((4,)), student_counter, keras.layers.Dense(CLASSES)])
    its_teacher = keras.Sequential([keras.Input((4,)), teacher_counter, keras.layers.Dense(CLASSES)])
    losses = [LogitsDistillation(), LogitsDistillation(1.0)]
    distiller = compiled(Distiller(its_teacher, student, losses), run_eagerly=True)
    distiller.fit(X, Y, batch_size=8, verbose=0)
    assert student_counter.calls == [True] * 3
    assert teacher_counter.calls == [False] * 3
    distiller.evaluate(X, Y, batch_size=8, verbose=0)
    assert student_counter.calls[3:] == [False] * 3
    distiller.predict(X, batch_size=8, verbose=0)
    assert len(teacher_counter.calls) == 6


def test_assigned_weights_are_checked_before_any_is_set():
    distiller = Distiller(teacher(), network(), [LogitsDistillation()] * 2, [1.0, 2.0])
    for values, message in [([5.0], "one .* 2. Received: 1"), (5.0, "2. Received: 1"), ([5.0, -1.0], "Received: -1.0")]:
        with pytest.raises(ValueError, match=f"Expected.*{message}"):
            distiller.distillation_loss_weights = values
        assert distiller.distillation_loss_weights == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"`student_loss_weight` in \[0, 1\]. Received: 1.5"):
        distiller.student_loss_weight = 1.5
    distiller.student_loss_weight = np.float32(0.25)  # as a NumPy schedule gives it
    distiller.distillation_loss_weights = np.array([0.5, 0.0], "float32")
    assert (distiller.student_loss_weight, distiller.distillation_loss_weights) == (0.25, [0.5, 0.0])


def test_another_teacher_takes_effect_after_a_step_was_traced():
    s = network()
    distiller = standing_still(Distiller(teacher(1), s, LogitsDistillation()))
    for t in (teacher(1), teacher(2)):
        distiller.teacher = t
        expected = 9 * kl(t(X).numpy(), s(X).numpy(), 3.0).mean()
        assert logged(distiller, X, Y)["logits_distillation"] == pytest.approx(expected, rel=1e-5)
        found = distiller.evaluate(X, Y, verbose=0, return_dict=True)["logits_distillation"]
        assert found == pytest.approx(expected, rel=1e-5)


def test_without_teacher():
    s = network()
    distiller = standing_still(Distiller(None, s, LogitsDistillation(), student_loss_weight=0.3))
    with pytest.warns(UserWarning, match="no teacher"):
        logs = distiller.evaluate(X, Y, verbose=0, return_dict=True)
    student_loss = crossentropy(Y, s(X).numpy()).mean()
    assert logs["student_loss"] == pytest.approx(student_loss, rel=1e-5)
    assert logs["loss"] == pytest.approx(0.3 * student_loss, rel=1e-5)
    with pytest.raises(ValueError, match=r"Expected a teacher to train with. Received: None"):
        distiller.fit(X, Y, verbose=0)
    distiller.teacher = t = teacher()
    expected = 0.3 * student_loss + 0.7 * 9 * kl(t(X).numpy(), s(X).numpy(), 3.0).mean()
    assert distiller.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)


class Subclassed(keras.Model):
    def __init__(self, units=6, **arguments):
        super().__init__(**arguments)
        self.units = units
        self.hidden = keras.layers.Dense(units, activation="tanh")
        self.head = keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.head(self.hidden(x))


@pytest.mark.parametrize("make", [Subclassed, lambda: keras.Sequential([Subclassed()])], ids=["subclass", "sequential"])
def test_unbuilt_students(make):
    # built by the first call; then it trains as a built one with the same weights
    student = make()
    distiller = compiled(Distiller(teacher(), student, LogitsDistillation()))
    assert not student.built
    distiller(X[:1])
    built = network()
    student.set_weights(built.get_weights())
    logged(distiller, X, Y)
    logged(compiled(Distiller(teacher(), built, LogitsDistillation())), X, Y)
    assert_same_weights(student, built, atol=1e-6)


def test_an_unbuilt_student_is_built_by_fit():
    student = Subclassed()
    distiller = standing_still(Distiller(teacher(), student, LogitsDistillation()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras warns of a model said to be built that has no weights
        logs = logged(distiller, X, Y)
    assert len(student.weights) == 4
    assert logs["student_loss"] == pytest.approx(crossentropy(Y, student(X).numpy()).mean(), rel=1e-5)


def test_dropout_of_the_student_is_on_in_training_and_off_in_evaluation():
    distiller = standing_still(Distiller(teacher(), batch_norm_network(), LogitsDistillation()))
    found = distiller.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["student_loss"] == pytest.approx(crossentropy(Y, distiller.student(X).numpy()).mean(), rel=1e-5)
    assert logged(distiller, X, Y)["student_loss"] != pytest.approx(found["student_loss"], rel=1e-3)


def test_a_masked_sequence_with_sample_weights_by_token():
    ids = np.array([[1, 2, 0, 0], [3, 4, 1, 0], [2, 2, 2, 2], [5, 0, 0, 0]])
    keep = ids != 0
    labels = np.where(keep, ids % CLASSES, 77)
    weight = np.random.default_rng(1).uniform(size=ids.shape)

    def tagger(seed):
        keras.utils.set_random_seed(seed)
        embedding = keras.layers.Embedding(6, 5, mask_zero=True, embeddings_initializer="normal")
        return keras.Sequential([keras.Input((4,), dtype="int32"), embedding, keras.layers.Dense(CLASSES)])

    t, s = tagger(1), tagger(0)
    t.layers[-1].set_weights([50 * w for w in t.layers[-1].get_weights()])
    distiller = standing_still(Distiller(t, s, LogitsDistillation(2.0), student_loss_weight=0.4))
    logs = distiller.evaluate(ids, labels, sample_weight=weight, verbose=0, return_dict=True)
    z_t, z_s = t(ids).numpy()[keep], s(ids).numpy()[keep]
    d = (weight[keep] * 4 * kl(z_t, z_s, 2.0)).mean()
    student_loss = (weight[keep] * crossentropy(labels[keep], z_s)).mean()
    expected = {"logits_distillation": d, "student_loss": student_loss, "loss": 0.4 * student_loss + 0.6 * d}
    assert logs == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"student": "small"}, "`student` to be a keras.Model. Received: str"),
        ({"teacher": "large"}, "`teacher` to be a keras.Model or None, or a list of models. Received: str"),
        ({"distillation_losses": "kl_divergence"}, "`distillation_losses` to be a loss.*Received: 'kl_divergence'"),
        ({"distillation_losses": None}, "`distillation_losses` to be a loss.*Received: None"),
        ({"distillation_losses": []}, "at least one distillation loss. Received: an empty list"),
        (
            {"distillation_losses": [LogitsDistillation(name="loss")]},
            r"distillation losses with names of their own.*Received: \['loss'\]",
        ),
        (
            {"distillation_losses": LogitsDistillation(name="student_loss")},
            "distillation losses with names of their own.*Received",
        ),
        ({"distillation_loss_weights": [1.0, 2.0]}, "one `distillation_loss_weights`.*loss: 1. Received: 2"),
        ({"distillation_loss_weights": [-1.0]}, "`distillation_loss_weights` of at least 0. Received: -1.0"),
        ({"distillation_loss_weights": ["much"]}, "`distillation_loss_weights` of at least 0. Received: 'much'"),
        ({"student_loss_weight": 1.1}, r"`student_loss_weight` in \[0, 1\]. Received: 1.1"),
        ({"student_loss_weight": float("nan")}, r"`student_loss_weight` in \[0, 1\]. Received: nan"),
        ({"student_loss_weight": None}, r"`student_loss_weight` in \[0, 1\]. Received: None"),
    ],
)
def test_constructor_errors(arguments, message):
    given = {"teacher": teacher(), "student": network(), "distillation_losses": LogitsDistillation(), **arguments}
    with pytest.raises(ValueError, match=f"Expected {message}"):
        Distiller(**given)


def test_errors_of_compile_and_fit():
    with pytest.raises(ValueError, match=r"Expected `loss` in compile.*student_loss_weight=0.5. Received: None"):
        Distiller(teacher(), network(), LogitsDistillation()).compile("sgd")
    wide = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)])
    with pytest.raises(ValueError, match=r"logits of one shape.*teacher .*7.*student .*3"):
        compiled(Distiller(wide, network(), LogitsDistillation())).fit(X, Y, verbose=0)
    inputs = keras.Input((4,))
    two = keras.Model(inputs, [keras.layers.Dense(CLASSES)(inputs) for _ in range(2)])
    with pytest.raises(ValueError, match=r"as many outputs. Received: teacher with 2, student with 1"):
        compiled(Distiller(two, network(), LogitsDistillation())).fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match=r"return a scalar. Received: shape .*'logits_distillation'"):
        compiled(Distiller(teacher(), network(), LogitsDistillation(reduction="none"))).fit(X, Y, verbose=0)
