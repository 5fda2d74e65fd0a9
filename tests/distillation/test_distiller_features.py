"""`Distiller` with losses that compare layers, and with projectors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import Distiller, FeatureDistillation, LogitsDistillation
from tests.distillation.networks import CLASSES, WEIGHT, X, Y, assert_same_weights, crossentropy, kl

HARD = kls.losses.SmoothedCrossentropy(0.0)


@keras.saving.register_keras_serializable(package="tests")
class SubclassedWithNames(keras.Model):
    def __init__(self, units=6, **arguments):
        super().__init__(**arguments)
        self.hidden = keras.layers.Dense(units, activation="tanh", name="hidden")
        self.head = keras.layers.Dense(CLASSES, name="head")

    def call(self, x):
        return self.head(self.hidden(x))


def sequential(units=6):
    hidden = keras.layers.Dense(units, activation="tanh", name="hidden")
    return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(CLASSES, name="head")])


def functional(units=6):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(units, activation="tanh", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(CLASSES, name="head")(hidden))


def nested(units=6):
    inputs = keras.Input((4,))
    block = keras.Sequential([keras.layers.Dense(units, activation="tanh", name="hidden")], name="block")
    encoder_inputs = keras.Input((4,))
    encoder = keras.Model(encoder_inputs, block(encoder_inputs), name="encoder")
    return keras.Model(inputs, keras.layers.Dense(CLASSES, name="head")(encoder(inputs)))


def in_a_subclass(units=6):
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [keras.layers.Identity(name="before"), SubclassedWithNames(units, name="inner")]

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    return Outer()


KINDS = {
    sequential: "hidden",
    functional: "hidden",
    SubclassedWithNames: "hidden",
    nested: "encoder/block/hidden",
    in_a_subclass: "inner/hidden",
}


def made(make, seed, units=6):
    keras.utils.set_random_seed(seed)
    model = make(units)
    model(X[:1])
    return model


def hidden(model):
    kernel, bias = model.get_weights()[:2]
    return np.tanh(X.astype("float64") @ kernel + bias)


def evaluated(distiller, loss=HARD, **arguments):
    distiller.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
    return distiller.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True, **arguments)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_values(make):
    # .3 CE + .7 (mean over channels of (h_s - h_t)² + 2 · 4 KL), weighted by example
    t, s = made(sequential, 1), made(make, 0)
    losses = [FeatureDistillation("mse", "hidden", KINDS[make]), LogitsDistillation(2.0)]
    logs = evaluated(Distiller(t, s, losses, [1.0, 2.0], 0.3), sample_weight=WEIGHT)
    student_loss = (WEIGHT * crossentropy(Y, s(X))).mean()
    features = (WEIGHT * ((hidden(s) - hidden(t)) ** 2).mean(axis=1)).mean()
    logits = (WEIGHT * 4 * kl(t(X), s(X), 2.0)).mean()
    assert logs == pytest.approx(
        {
            "loss": 0.3 * student_loss + 0.7 * (features + 2 * logits),
            "student_loss": student_loss,
            "feature_distillation": features,
            "logits_distillation": logits,
        },
        rel=1e-5,
    )


def test_an_unbuilt_student_and_teacher():
    t, s = SubclassedWithNames(), SubclassedWithNames()
    logs = evaluated(Distiller(t, s, FeatureDistillation("mse", "hidden", "hidden"), student_loss_weight=0.5))
    assert logs["feature_distillation"] == pytest.approx(((hidden(s) - hidden(t)) ** 2).mean(), rel=1e-5)


def test_names_of_several_layers():
    t, s = made(nested, 1), made(sequential, 0)
    several = kls.distillation.RelationalDistillation(
        1.0, 0.0, teacher_layer_name=["encoder/block", None], student_layer_name=["hidden", "head"]
    )
    apart = [
        kls.distillation.RelationalDistillation(1.0, 0.0, teacher_layer_name=a, student_layer_name=b, name=b)
        for a, b in [("encoder/block", "hidden"), (None, "head")]
    ]
    logs = evaluated(Distiller(t, s, [several, *apart]))
    assert logs["relational_distillation"] == pytest.approx(logs["hidden"] + logs["head"], rel=1e-5)
    assert logs["hidden"] > 1e-3 and logs["head"] > 1e-3


class Counting(keras.layers.Layer):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.calls = []

    def call(self, x, training=None):
        if tf.executing_eagerly() and not isinstance(x, keras.KerasTensor):
            self.calls.append(training)
        return x


def test_one_pass_of_each_model_a_step():
    counters = Counting(name="features"), Counting(name="features")
    t, s = (keras.Sequential([keras.Input((4,)), one, keras.layers.Dense(CLASSES)]) for one in counters)
    losses = [FeatureDistillation(d, "features", "features", name=d) for d in ("mse", "mae")]
    distiller = Distiller(t, s, [*losses, LogitsDistillation()])
    distiller.compile("sgd", HARD, run_eagerly=True)
    distiller.fit(X, Y, batch_size=8, verbose=0)
    assert [counter.calls for counter in counters] == [[False] * 3, [True] * 3]
    distiller.evaluate(X, Y, batch_size=8, verbose=0)
    assert [counter.calls[3:] for counter in counters] == [[False] * 3, [False] * 3]
    distiller.predict(X, batch_size=8, verbose=0)
    assert [len(counter.calls) for counter in counters] == [6, 9]


def test_batch_norm_statistics_move_once_a_step():
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization(name="norm")
    s = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6), norm, keras.layers.Dense(CLASSES)])
    distiller = Distiller(made(sequential, 1), s, FeatureDistillation("mse", "hidden", "norm"))
    distiller.compile(keras.optimizers.SGD(0.0), HARD, jit_compile=False)
    distiller.fit(X, Y, batch_size=21, verbose=0)
    np.testing.assert_allclose(norm.moving_mean, 0.01 * s.layers[0](X).numpy().mean(axis=0), rtol=1e-4, atol=1e-7)


def test_layers_are_as_before():
    t, s = made(sequential, 1), made(sequential, 0)
    distiller = Distiller(t, s, FeatureDistillation("mse", "hidden", "hidden"))
    evaluated(distiller)
    with pytest.raises(ValueError):
        distiller.train_on_batch(X[:, :3], Y)
    for model in (t, s):
        assert "call" not in vars(model.get_layer("hidden"))


def test_features_functions():
    def with_square(model, inputs, training):
        h = model.get_layer("hidden")(inputs)
        return model.get_layer("head")(h), {"square": h**2}

    t, s = made(sequential, 1), made(sequential, 0)
    loss = FeatureDistillation("mse", "square", "square")
    logs = evaluated(Distiller(t, s, loss, teacher_features=with_square, student_features=with_square))
    assert logs["feature_distillation"] == pytest.approx(((hidden(s) ** 2 - hidden(t) ** 2) ** 2).mean(), rel=1e-5)
    assert logs["student_loss"] == pytest.approx(crossentropy(Y, s(X)).mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"to return 'cube', which a loss compares. Received: \['square'\]"):
        evaluated(Distiller(t, s, FeatureDistillation("mse", "hidden", "cube"), student_features=with_square))


def shared(units):
    layer = keras.layers.Dense(4, name="hidden")
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(layer(layer(inputs))))


def two_of_a_name(units):
    inputs = keras.Input((4,))
    a, b = (keras.Sequential([keras.layers.Dense(6, name="hidden")], name=name) for name in "ab")
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(b(a(inputs))))


@pytest.mark.parametrize(
    "make, name, message",
    [
        (sequential, "hiden", "name of a layer of .* Received: 'hiden'. Did you mean 'hidden'"),
        (nested, "encoder/blok/hidden", "Did you mean 'encoder/block/hidden'"),
        (nested, "zzz", "Its layers: 'encoder', 'encoder/block', 'encoder/block/hidden', 'head'"),
        (two_of_a_name, "hidden", "a path to one layer .*'a/hidden', 'b/hidden'. Give more of the path"),
    ],
)
def test_wrong_names(make, name, message):
    for loss in (FeatureDistillation("mse", None, name), FeatureDistillation("mse", name, None)):
        with pytest.raises(ValueError, match=f"Expected .*{message}"):
            Distiller(made(make, 1), made(make, 0), loss)


def test_a_layer_that_runs_twice():
    with pytest.raises(ValueError, match=r"runs once in a forward pass.*'hidden', which ran 2 times"):
        evaluated(Distiller(made(shared, 1), made(shared, 0), FeatureDistillation("mse", "hidden", "hidden")))


def with_projector(student=None, teacher=None):
    keras.utils.set_random_seed(0)
    t = made(sequential, 1, units=9) if teacher is None else teacher
    s = made(sequential, 0) if student is None else student
    keras.utils.set_random_seed(2)
    loss = FeatureDistillation("mse", "hidden", "hidden", projector="auto")
    distiller = Distiller(t, s, [loss, LogitsDistillation()], [3.0, 1.0])
    distiller.compile(keras.optimizers.Adam(0.01), HARD, jit_compile=False)
    return distiller


def fit(distiller, epochs=1):
    return distiller.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0).history


def test_a_trained_projector_is_not_handed_on_in_silence():
    loss = FeatureDistillation("mse", "hidden", "hidden", projector="auto")
    Distiller(made(sequential, 1, units=9), made(sequential, 0), [loss, LogitsDistillation()])
    with pytest.raises(ValueError, match=r"Expected a new loss for every Distiller\..*'feature_distillation'"):
        Distiller(made(sequential, 1, units=9), made(sequential, 0), loss)
    with pytest.raises(ValueError, match="Expected a new loss for every Distiller"):
        evaluated(Distiller(made(sequential, 1, units=9), SubclassedWithNames(), loss))
    own = keras.layers.Dense(9)  # on purpose
    for _ in range(2):
        loss = FeatureDistillation("mse", "hidden", "hidden", projector=own)
        distiller = Distiller(made(sequential, 1, units=9), made(sequential, 0), loss)
        assert [id(v) for v in own.trainable_variables] == [id(v) for v in distiller.trainable_variables[-2:]]


def test_one_step_trains_the_projector():
    # h_s W + b against h_t: d/dW = 2/(9 N) h_sᵀ (h_s W + b - h_t), times λ (1 - w)
    distiller = with_projector()
    distiller.compile(keras.optimizers.SGD(0.5), HARD, jit_compile=False)
    projector = distiller.distillation_losses[0].projector
    kernel, bias = (w.astype("float64") for w in projector.get_weights())
    h_t, h_s = hidden(distiller.teacher), hidden(distiller.student)
    gap = h_s @ kernel + bias - h_t
    distiller.fit(X, Y, batch_size=21, verbose=0)
    expected = kernel - 0.5 * 0.5 * 3.0 * 2 / (9 * 21) * h_s.T @ gap
    np.testing.assert_allclose(projector.get_weights()[0], expected, atol=1e-6)


def test_the_projector_is_no_part_of_the_student(tmp_path):
    distiller = with_projector()
    assert len(distiller.trainable_variables) == 6 and len(distiller.student.trainable_variables) == 4
    fit(distiller)
    distiller.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    assert sum(int(tf.size(v)) for v in served.variables) == distiller.student.count_params()


@pytest.mark.filterwarnings("error:.*build")  # Keras's, of layers that are not built
@pytest.mark.parametrize("make", [sequential, SubclassedWithNames], ids=["sequential", "unbuilt subclass"])
def test_training_with_a_projector_goes_on_where_it_stopped(make, tmp_path):
    teacher = made(sequential, 1, units=9)

    def student():
        keras.utils.set_random_seed(5)
        return make()

    uninterrupted = with_projector(student(), teacher)
    history = fit(uninterrupted, epochs=4)
    first = with_projector(student(), teacher)
    fit(first, epochs=2)
    first.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    for a, b in zip(loaded.trainable_variables, first.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.teacher = teacher
    rest = fit(loaded, epochs=2)
    for a, b in zip(loaded.optimizer.variables, uninterrupted.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_same_weights(loaded, uninterrupted)
    for key, values in history.items():
        assert rest[key] == values[2:], key


def test_weights_with_a_projector_load_into_a_fresh_distiller(tmp_path):
    saved, other = with_projector(), with_projector(made(sequential, 7))
    fit(saved)
    saved.save_weights(tmp_path / "saved.weights.h5")
    other.load_weights(tmp_path / "saved.weights.h5")
    for a, b in zip(other.trainable_variables, saved.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
