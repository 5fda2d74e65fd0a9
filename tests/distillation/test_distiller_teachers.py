"""`Distiller` with several teachers, none, itself, or one that sees other inputs; and with labels in its losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import CachedTeacher, DecoupledDistillation, Distiller, LogitsDistillation
from tests.distillation.networks import (
    CLASSES,
    WEIGHT,
    X,
    Y,
    assert_same_weights,
    batch_norm_network,
    crossentropy,
    kl,
    log_softmax,
    network,
    teacher,
)

HARD = kls.losses.SmoothedCrossentropy(0.0)


def compiled(distiller, loss=HARD, **arguments):
    distiller.compile(keras.optimizers.SGD(0.5), loss, **{"jit_compile": False, **arguments})
    return distiller


def evaluated(distiller, x=X, y=Y, **arguments):
    return compiled(distiller).evaluate(x, y, batch_size=8, verbose=0, return_dict=True, **arguments)


@pytest.mark.parametrize("weights, shares", [(None, [0.5, 0.5]), ([3.0, 1.0], [0.75, 0.25])], ids=["equal", "3:1"])
def test_several_teachers(weights, shares):
    first, second, s = teacher(1), teacher(2), network()
    distiller = Distiller([first, second], s, LogitsDistillation(2.0), teacher_weights=weights)
    logs = evaluated(distiller, sample_weight=WEIGHT)
    each = [(WEIGHT * 4 * kl(t(X), s(X), 2.0)).mean() for t in (first, second)]
    assert logs["logits_distillation"] == pytest.approx(np.dot(shares, each), rel=1e-5)


def test_several_teachers_have_the_gradient_of_their_averaged_predictions():
    # d/dz_s of the mean of KL(p_k ‖ q) is q - mean p_k, as of KL(mean p_k ‖ q)
    first, second = teacher(1), teacher(2)
    averaged = keras.layers.Lambda(lambda z: tf.math.log((tf.nn.softmax(z[0]) + tf.nn.softmax(z[1])) / 2))
    inputs = keras.Input((4,))
    one = keras.Model(inputs, averaged([first(inputs), second(inputs)]))
    students = []
    for teachers in ([first, second], one):
        s = network()
        compiled(Distiller(teachers, s, LogitsDistillation(1.0), student_loss_weight=0.0), None).fit(X, verbose=0)
        students.append(s)
    assert_same_weights(*students, atol=1e-6)


def test_several_teachers_of_features():
    first, second, s = teacher(1), teacher(2), network(units=9)
    names = [model.layers[0].name for model in (first, second)]
    second.layers[0].name = names[0]
    loss = kls.distillation.FeatureDistillation("mse", names[0], s.layers[0].name)
    logs = evaluated(Distiller((first, second), s, loss))
    expected = [((s.layers[0](X) - t.layers[0](X)).numpy() ** 2).mean() for t in (first, second)]
    assert logs["feature_distillation"] == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"teacher": []}, "at least one teacher in the list. Received: an empty list"),
        ({"teacher": [teacher(), None]}, "a list of models. Received: NoneType"),
        ({"teacher_weights": [1.0]}, r"one `teacher_weights` entry a teacher, 2, .* Received: \[1.0\]"),
        ({"teacher_weights": [0.0, 0.0]}, "with a sum above 0. Received"),
        ({"teacher_weights": [2.0, -1.0]}, "`teacher_weights` of at least 0. Received: -1.0"),
        ({"teacher_inputs": 3}, "`teacher_inputs` to be a key of the dictionary x, a function.*Received: 3"),
        ({"student_features": "hidden"}, "`student_features` to be a function of .*Received: 'hidden'"),
    ],
)
def test_errors(arguments, message):
    given = {"teacher": [teacher(1), teacher(2)], "student": network(), "distillation_losses": LogitsDistillation()}
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        Distiller(**{**given, **arguments})


def test_the_student_teaches_itself():
    # its own inference-mode logits are constants: at T_s = T nothing is to learn, at T = 1, T_s = 2 there is, which is
    # (p(z/2) - p(z)) / 2 / N as the gradient of the mean at the logits
    def trained(run_eagerly):
        s = network()
        kernel, bias = (w.astype("float64") for w in s.layers[1].get_weights())
        h = s.layers[0](X).numpy().astype("float64")
        z = h @ kernel + bias
        loss = LogitsDistillation(1.0, student_temperature=2.0, scale_by_temperature=False)
        distiller = compiled(Distiller(s, s, loss, student_loss_weight=0.0), None, run_eagerly=run_eagerly)
        distiller.fit(X, batch_size=21, verbose=0)
        gradient = h.T @ (np.exp(log_softmax(z / 2)) - np.exp(log_softmax(z))) / 2 / 21
        np.testing.assert_allclose(s.layers[1].get_weights()[0], kernel - 0.5 * gradient, atol=1e-6)

    trained(False)
    trained(True)


def test_features_of_a_student_that_teaches_itself():
    # of its pass in inference mode, while the same layers run in training: dropout of rate ½ doubles what it keeps
    keras.utils.set_random_seed(0)
    s = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, name="drop"), keras.layers.Dense(CLASSES)])
    distiller = compiled(Distiller(s, s, kls.distillation.FeatureDistillation("mae", "drop", "drop")))
    # |2x - x| or |0 - x|: |x| either way
    history = distiller.fit(X, Y, batch_size=21, verbose=0).history
    assert history["feature_distillation"] == pytest.approx([np.abs(X).mean()], rel=1e-5)
    assert evaluated(distiller)["feature_distillation"] == 0


@pytest.mark.parametrize("losses", [None, []])
def test_labels_alone(losses):
    plain, s = network(), network()
    compiled(plain).fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    distiller = compiled(Distiller(None, s, losses))
    assert distiller.student_loss_weight == 1
    history = distiller.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history
    assert_same_weights(s, plain)
    assert history["loss"] == history["student_loss"] and len(history) == 2


def test_labels_reach_losses_that_need_them():
    t, s = teacher(), network()
    loss = DecoupledDistillation()
    distiller = compiled(Distiller(t, s, loss, student_loss_weight=0.0), None)
    logs = distiller.evaluate(X, Y, batch_size=21, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(float(loss(t(X), s(X), labels=Y)), rel=1e-6)
    with pytest.raises(ValueError, match=r"Expected `labels` for 'decoupled_distillation'. Received: None"):
        distiller.fit(X, verbose=0)


def test_eager_training_keeps_nothing_of_the_teacher():
    # a variable that is read while a gradient is recorded is watched
    watched = []

    class Watching(keras.layers.Layer):
        def call(self, x):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
            watched.append(tf.executing_eagerly() and recording())
            return x

    def recording():
        from tensorflow.python.eager import record

        return record.could_possibly_record()

    t = keras.Sequential([keras.Input((4,)), Watching(), keras.layers.Dense(CLASSES)])
    s = keras.Sequential([keras.Input((4,)), Watching(), keras.layers.Dense(CLASSES)])
    watched.clear()
    compiled(Distiller(t, s, LogitsDistillation()), run_eagerly=True).fit(X, Y, batch_size=21, verbose=0)
    assert watched == [False, True]  # the teacher's pass, then the student's


def dataset(x):
    return tf.data.Dataset.from_tensor_slices((x, Y)).batch(8)


@keras.saving.register_keras_serializable(package="tests")
def large_only(x):
    return x["large"]


def test_inputs_of_their_own(tmp_path):
    keras.utils.set_random_seed(3)
    t = keras.Sequential([keras.Input((6,)), keras.layers.Dense(CLASSES)])
    s = network()
    x = {"large": np.concatenate([X, X[:, :2]], axis=1), "small": X}
    distiller = compiled(
        Distiller(t, s, LogitsDistillation(2.0), teacher_inputs=large_only, student_inputs="small"),
        steps_per_execution=2,
    )
    logs = distiller.evaluate(dataset(x), verbose=0, return_dict=True)
    expected = 4 * kl(t(x["large"]), s(X), 2.0).mean()
    assert logs["logits_distillation"] == pytest.approx(expected, rel=1e-5)
    # the whole of x, or what the student alone takes
    for given in (x, X):
        np.testing.assert_array_equal(distiller.predict(given, verbose=0), s.predict(X, verbose=0))
    with pytest.raises(ValueError, match=r"batches with x\['small'\]. Received: a dictionary with \['large'\]"):
        distiller.predict({"large": x["large"]}, verbose=0)
    distiller.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    loaded.teacher = t
    again = loaded.evaluate(dataset(x), verbose=0, return_dict=True)
    assert again == pytest.approx(logs, rel=1e-6)


def test_a_cached_teacher_beside_another():
    t, s = teacher(1), network()
    said = teacher(2)(X).numpy()
    x = {"inputs": X, "teacher_outputs": said}
    logs = evaluated(Distiller([CachedTeacher(), t], s, LogitsDistillation(2.0)), x)
    expected = 4 * (kl(said, s(X), 2.0).mean() + kl(t(X), s(X), 2.0).mean()) / 2
    assert logs["logits_distillation"] == pytest.approx(expected, rel=1e-5)


def test_a_half_precision_teacher_of_a_float32_student():
    keras.utils.set_random_seed(1)
    t = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, dtype="float16")])
    s = network()
    logs = evaluated(Distiller(t, s, LogitsDistillation(2.0)))
    z = t(X).numpy()
    assert z.dtype == np.float16
    assert logs["logits_distillation"] == pytest.approx(4 * kl(z, s(X), 2.0).mean(), rel=1e-5)


def test_a_policy_of_half_precision_does_not_round_what_a_float32_student_gets():
    s = network()
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        distiller = Distiller(teacher(), s, LogitsDistillation())
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    np.testing.assert_array_equal(distiller(X), s(X))


def test_evaluate_after_fit_with_a_teacher_of_batch_norm_changes_nothing():
    t = batch_norm_network(1)
    before = t.get_weights()
    distiller = compiled(Distiller(t, network(), LogitsDistillation()))
    distiller.fit(X, Y, verbose=0)
    evaluated(distiller)
    for a, b in zip(t.get_weights(), before):
        np.testing.assert_array_equal(a, b)


def test_two_outputs_with_losses_of_their_own():
    def two_heads(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((4,))
        return keras.Model(inputs, {"a": keras.layers.Dense(3)(inputs), "b": keras.layers.Dense(2)(inputs)})

    t, s = two_heads(1), two_heads(0)
    both = {"a": LogitsDistillation(2.0), "b": LogitsDistillation(1.0)}
    distiller = Distiller(t, s, [both, {"b": keras.losses.MeanSquaredError(name="squares")}], [2.0, 0.5], 0.0)
    distiller.compile("sgd", jit_compile=False)
    logs = distiller.evaluate(X, batch_size=8, verbose=0, return_dict=True)
    z_t, z_s = ({key: z.numpy() for key, z in model(X).items()} for model in (t, s))
    a, b = 4 * kl(z_t["a"], z_s["a"], 2.0).mean(), kl(z_t["b"], z_s["b"]).mean()
    squares = ((z_t["b"] - z_s["b"]) ** 2).mean()
    expected = {"student_loss": 0, "a_logits_distillation": a, "b_logits_distillation": b, "b_squares": squares}
    assert logs == pytest.approx({"loss": 2 * (a + b) + 0.5 * squares, **expected}, rel=1e-5)
    again = Distiller.from_config(distiller.get_config())
    assert [sorted(entry) for entry in again.distillation_losses] == [["a", "b"], ["b"]]
    with pytest.raises(ValueError, match=r"a teacher with an output 'c'. Received: \['a', 'b'\]"):
        compiled(Distiller(t, s, {"c": LogitsDistillation()}, student_loss_weight=0.0), None).evaluate(X, verbose=0)


def test_student_loss_and_distillation_of_a_snapshot():
    # born again: the earlier student teaches the later one
    s = network()
    snapshot = keras.models.clone_model(s)
    snapshot.set_weights(s.get_weights())
    compiled(s).fit(X, Y, verbose=0)
    logs = evaluated(Distiller(snapshot, s, LogitsDistillation(1.0), student_loss_weight=0.25))
    d, student_loss = kl(snapshot(X), s(X)).mean(), crossentropy(Y, s(X)).mean()
    assert logs["loss"] == pytest.approx(0.25 * student_loss + 0.75 * d, rel=1e-5) and d > 1e-4
