"""`Distiller` with several outputs, as lists and as dicts."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.distillation import DecoupledDistillation, Distiller, FeatureDistillation, LogitsDistillation
from tests.distillation.networks import X, Y, crossentropy, kl
from tests.ops import plain_relations as plain

Y_B = (Y + np.arange(21)) % 2
HARD = kls.losses.SmoothedCrossentropy(0.0)


def two_heads(kind, seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(8, activation="tanh")(inputs)
    # "b" is made first: pairing must go by key, not by creation
    b, a = keras.layers.Dense(2, name="b")(hidden), keras.layers.Dense(3, name="a")(hidden)
    return keras.Model(inputs, {"b": b, "a": a} if kind == "dict" else [a, b])


def pack(kind, a, b):
    return {"a": a, "b": b} if kind == "dict" else [a, b]


def outputs(kind, model):
    predictions = model(X)
    return [np.array(predictions[key]) for key in (("a", "b") if kind == "dict" else (0, 1))]


@pytest.mark.parametrize("weighted", ["none", "one", "each"])
@pytest.mark.parametrize("kind", ["dict", "list"])
def test_values(kind, weighted):
    # student loss: 1 · CE_a + 3 · CE_b, the loss_weights of compile; distillation: D_a + D_b
    t, s = two_heads(kind, 1), two_heads(kind, 0)
    distiller = Distiller(t, s, LogitsDistillation(2.0), [1.5], student_loss_weight=0.4)
    distiller.compile("sgd", pack(kind, HARD, HARD), loss_weights=pack(kind, 1.0, 3.0))
    w_a = w_b = np.ones(21, "float32")
    arguments = {}
    if weighted != "none":
        w_a = w_b = np.linspace(0, 2, 21, dtype="float32")
        arguments = {"sample_weight": w_a}
    if weighted == "each":
        w_b = w_a[::-1] ** 2
        arguments = {"sample_weight": pack(kind, w_a, w_b)}
    logs = distiller.evaluate(X, pack(kind, Y, Y_B), batch_size=8, verbose=0, return_dict=True, **arguments)
    (t_a, t_b), (s_a, s_b) = outputs(kind, t), outputs(kind, s)
    student_loss = (w_a * crossentropy(Y, s_a)).mean() + 3 * (w_b * crossentropy(Y_B, s_b)).mean()
    d = 4 * ((w_a * kl(t_a, s_a, 2.0)).mean() + (w_b * kl(t_b, s_b, 2.0)).mean())
    assert logs["student_loss"] == pytest.approx(student_loss, rel=1e-5)
    assert logs["logits_distillation"] == pytest.approx(d, rel=1e-5)
    assert logs["loss"] == pytest.approx(0.4 * student_loss + 0.6 * 1.5 * d, rel=1e-5)


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_fit_reaches_both_heads_and_survives_saving(kind, tmp_path):
    s = two_heads(kind, 0)
    distiller = Distiller(two_heads(kind, 1), s, LogitsDistillation())
    distiller.compile("sgd", pack(kind, HARD, HARD), metrics=pack(kind, ["accuracy"], ["accuracy"]))
    before = outputs(kind, s)
    distiller.fit(X, pack(kind, Y, Y_B), verbose=0)
    after = outputs(kind, s)
    for old, new in zip(before, after):
        assert np.abs(old - new).max() > 1e-4
    distiller.save(tmp_path / "two.keras")
    for new, loaded in zip(after, outputs(kind, keras.models.load_model(tmp_path / "two.keras"))):
        np.testing.assert_array_equal(new, loaded)


def test_losses_and_metrics_by_the_names_of_listed_outputs():
    def two(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((4,))
        return keras.Model(inputs, [keras.layers.Dense(3, name="p")(inputs), keras.layers.Dense(2, name="q")(inputs)])

    distiller = Distiller(two(1), two(0), LogitsDistillation())
    distiller.compile("sgd", {"p": HARD, "q": HARD}, metrics={"p": ["accuracy"]})
    logs = distiller.evaluate(X, [Y, Y_B], batch_size=21, verbose=0, return_dict=True)
    p, q = (crossentropy(y, z).mean() for y, z in zip((Y, Y_B), distiller.student(X)))
    assert logs["p_loss"] == pytest.approx(p, rel=1e-5) and logs["q_loss"] == pytest.approx(q, rel=1e-5)
    assert logs["student_loss"] == pytest.approx(p + q, rel=1e-5)
    hits = distiller.student(X)[0].numpy().argmax(axis=1) == Y
    assert logs["p_accuracy"] == pytest.approx(hits.mean(), rel=1e-6)


def test_weights_of_other_outputs_are_refused():
    distiller = Distiller(two_heads("dict", 1), two_heads("dict", 0), LogitsDistillation(), student_loss_weight=0.0)
    distiller.compile("sgd")
    with pytest.raises(ValueError, match=r"Expected `sample_weight` by the names of outputs, \['a', 'b'\]. .*\['c'\]"):
        distiller.compute_loss(X, None, distiller(X), {"c": np.ones(21)}, training=False)


def made_list(seed):
    """Outputs whose names are not in the order of the alphabet."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    return keras.Model(inputs, [keras.layers.Dense(3, name=name)(inputs) for name in ("zeta", "alpha")])


def test_labels_by_name_of_outputs_in_a_list():
    y, other = Y, (Y + 1) % 3
    distiller = Distiller(made_list(1), made_list(0), DecoupledDistillation(1.0, 2.0, 1.0), student_loss_weight=0.5)
    distiller.compile("sgd", {"zeta": HARD, "alpha": HARD})
    logs = distiller.evaluate(X, {"zeta": y, "alpha": other}, verbose=0, return_dict=True)
    (t_zeta, t_alpha), (s_zeta, s_alpha) = (
        [np.array(z) for z in model(X)] for model in (distiller.teacher, distiller.student)
    )
    rows = [*zip(y, t_zeta, s_zeta), *zip(other, t_alpha, s_alpha)]
    parts = np.array([plain.decoupled(*row, 1.0) for row in rows]).reshape(2, 21, 2)
    assert logs["decoupled_distillation"] == pytest.approx((parts @ [1.0, 2.0]).mean(axis=1).sum(), rel=1e-5)
    same = distiller.evaluate(X, [y, other], verbose=0, return_dict=True)
    assert same == pytest.approx(logs, rel=1e-6)


def test_no_names_for_outputs_of_a_subclass():
    class Unnamed(keras.Model):
        def __init__(self):
            super().__init__()
            self.both = made_list(0)

        def call(self, x):
            return self.both(x)

    distiller = Distiller(made_list(1), Unnamed(), LogitsDistillation(1.0), student_loss_weight=0.0)
    distiller.compile("sgd")
    weights = {"zeta": np.ones(21), "alpha": np.zeros(21)}
    with pytest.raises(ValueError, match=r"`sample_weight` as a list.*Received: a dictionary of \['alpha', 'zeta'\]"):
        distiller.compute_loss(X, None, distiller(X), weights, training=False)


def test_weights_by_name_of_outputs_in_a_list():
    distiller = Distiller(made_list(1), made_list(0), LogitsDistillation(1.0), student_loss_weight=0.0)
    distiller.compile("sgd")
    weight = np.arange(21, dtype="float32")
    distiller.compute_loss(X, None, distiller(X), {"zeta": weight}, training=False)
    (t_zeta, t_alpha), (s_zeta, s_alpha) = (
        [np.array(z) for z in model(X)] for model in (distiller.teacher, distiller.student)
    )
    expected = (weight * kl(t_zeta, s_zeta)).mean() + kl(t_alpha, s_alpha).mean()
    assert float(distiller.get_metrics_result()["logits_distillation"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("as_list", [True, False])
def test_a_loss_of_one_output_in_a_list(as_list):
    losses = [{"alpha": LogitsDistillation(1.0), "zeta": DecoupledDistillation(1.0, 2.0, 1.0)}]
    distiller = Distiller(made_list(1), made_list(0), losses)
    distiller.compile("sgd", {"zeta": HARD, "alpha": HARD})
    y, other, weight = Y, (Y + 1) % 3, np.arange(21, dtype="float32")
    labels = [y, other] if as_list else {"zeta": y, "alpha": other}
    weights = [np.ones(21), weight] if as_list else None
    logs = distiller.evaluate(X, labels, sample_weight=weights, verbose=0, return_dict=True)
    (t_zeta, t_alpha), (s_zeta, s_alpha) = (
        [np.array(z) for z in model(X)] for model in (distiller.teacher, distiller.student)
    )
    weight = weight if as_list else 1
    assert logs["alpha_logits_distillation"] == pytest.approx((weight * kl(t_alpha, s_alpha)).mean(), rel=1e-5)
    parts = np.array([plain.decoupled(*row, 1.0) for row in zip(y, t_zeta, s_zeta)])
    assert logs["zeta_decoupled_distillation"] == pytest.approx((parts @ [1.0, 2.0]).mean(), rel=1e-5)


def test_a_projector_for_one_output_in_a_list():
    def wide():
        inputs = keras.Input((4,))
        return keras.Model(
            inputs, [keras.layers.Dense(n, name=name)(inputs) for n, name in ((2, "zeta"), (9, "alpha"))]
        )

    loss = FeatureDistillation("mse", projector="auto")
    distiller = Distiller(wide(), made_list(0), [{"alpha": loss}], student_loss_weight=0.0)
    distiller.compile("sgd")
    logs = distiller.evaluate(X, batch_size=21, verbose=0, return_dict=True)
    kernel, bias = loss.projector.get_weights()
    gap = np.array(distiller.student(X)[1]) @ kernel + bias - distiller.teacher(X)[1]
    assert logs["alpha_feature_distillation"] == pytest.approx(np.square(gap).mean(), rel=1e-5)


def test_a_teacher_with_names_and_a_student_with_a_list():
    def named(seed):
        model = made_list(seed)
        return keras.Model(model.inputs, dict(zip(["zeta", "alpha"], model.outputs)))

    logs = []
    for teacher in (made_list(1), named(1)):
        distiller = Distiller(teacher, made_list(0), LogitsDistillation(1.0), student_loss_weight=0.0)
        distiller.compile("sgd")
        logs.append(distiller.evaluate(X, verbose=0, return_dict=True))
    assert logs[1] == pytest.approx(logs[0], rel=1e-6)
    distiller = Distiller(made_list(1), named(0), LogitsDistillation(1.0), student_loss_weight=0.0)
    distiller.compile("sgd")
    with pytest.raises(
        ValueError, match=r"both return dictionaries, or both lists\. .*teacher with a list, student with a dict"
    ):
        distiller.evaluate(X, verbose=0)


def test_weights_and_labels_of_some_outputs_only():
    # as in Keras: an output without weights counts fully, one without labels has no student loss
    distiller = Distiller(two_heads("dict", 1), two_heads("dict", 0), LogitsDistillation(1.0))
    distiller.compile("sgd", {"a": HARD})
    weight = np.arange(21, dtype="float32")
    logs = distiller.evaluate(X, {"a": Y}, sample_weight={"a": weight}, batch_size=21, verbose=0, return_dict=True)
    (t_a, t_b), (s_a, s_b) = (outputs("dict", model) for model in (distiller.teacher, distiller.student))
    assert logs["student_loss"] == pytest.approx((weight * crossentropy(Y, s_a)).mean(), rel=1e-5)
    expected = (weight * kl(t_a, s_a)).mean() + kl(t_b, s_b).mean()
    assert logs["logits_distillation"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_needs_labels_of_every_output():
    distiller = Distiller(two_heads("dict", 1), two_heads("dict", 0), DecoupledDistillation())
    distiller.compile("sgd", {"a": HARD})
    with pytest.raises(ValueError, match=r"Expected labels of every output .* none for 'b'\. .*\{output: loss\}"):
        distiller.evaluate(X, {"a": Y}, verbose=0)
