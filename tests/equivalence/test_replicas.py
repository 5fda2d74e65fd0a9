"""One replica equals two and four, whatever the split: 7 examples become 4 and 3."""

import contextlib

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence import registry
from tests.equivalence.training import classifier, ragged

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

pytestmark = pytest.mark.tensorflow

REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight"]


def shares(strategy, *arrays, ends=(4,)):
    """4 examples and 3, or those up to each of the `ends` and the rest."""
    return [
        strategy.experimental_distribute_values_from_function(
            lambda c, a=a: tf.constant(np.split(a, ends)[c.replica_id_in_sync_group])
        )
        for a in arrays
    ]


def results(strategy, function, *arrays, ends=(4,), graph=True):
    """Runs `function` on shares of the arrays; returns lists of the results of each replica, for each result."""

    def run(*args):
        return strategy.run(function, args=args)

    # without AutoGraph, as `fit` traces: its translations take half the time
    run = tf.function(run, autograph=False) if graph else run
    return [strategy.experimental_local_results(x) for x in run(*shares(strategy, *arrays, ends=ends))]


def with_mask(y_pred, mask):
    y_pred._keras_mask = mask
    return y_pred


# one loss of each base class: as all of them reduce alike, the others are tried in the way that takes the most
EVERY_WAY = ["MarginSmoothing-dense", "LogitsDistillation", "SimilarityPreserving"]


@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_gradient(two_replicas, four_replicas, component):
    y_true, y_pred = component.batch((7, 3))
    weight = np.linspace(0.5, 2.0, 21, dtype="float32").reshape(7, 3)
    mask = np.arange(21).reshape(7, 3) % 4 != 1
    if component.whole:
        weight, mask = weight[:, 0], mask[:, 0]
    ways = [("mean_with_sample_weight", True)]
    if component.name in EVERY_WAY:
        ways = [(reduction, masked) for reduction in REDUCTIONS for masked in (False, True)]
    losses = [component.make(reduction=reduction) for reduction, _ in ways]

    def gradients(y, p, w, m, count=None):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(p)
            # in one traced function: tracing is what takes the time
            values = [
                loss(y, with_mask(tf.identity(p), m) if masked else p, w)
                for loss, (_, masked) in zip(losses[:count], ways)
            ]
        return [tape.gradient(value, p) for value in values]

    arrays = y_true, y_pred, weight, mask
    one = gradients(*map(tf.constant, arrays))
    # as tracing takes most of the time, the others run eagerly, through the same reductions
    many = results(two_replicas, gradients, *arrays, graph=component.name in EVERY_WAY)
    assert_same_gradients(ways, one, many)
    if component.name == "SimilarityPreserving":  # gathers, and takes its own examples back, of more than two
        four = results(four_replicas, lambda *a: gradients(*a, count=1), *arrays, ends=(2, 2, 5))  # 2, none, 3 and 2
        assert_same_gradients(ways[:1], one[:1], four)


def assert_same_gradients(ways, one, many):
    for (reduction, masked), expected, found in zip(ways, one, many, strict=True):
        np.testing.assert_allclose(np.concatenate(found), expected, atol=5e-7, err_msg=f"{reduction}, {masked=}")


@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric(two_replicas, component):
    y_true, y_pred = component.batch((7, 3))
    weight = np.linspace(0.5, 2.0, 21, dtype="float32").reshape(7, 3)
    if "binary" in component.name:
        y_true, y_pred = y_true[..., None], y_pred[..., None]
    one = component.make()
    with two_replicas.scope():
        two = component.make()

    def update(*args):
        return two_replicas.run(two.update_state, args=args)

    if "-" not in component.name:  # forms of one class share the graph's part: the sums over replicas
        update = tf.function(update, autograph=False)
    for name, w in {"plain": weight, "masked": weight * (np.arange(21).reshape(7, 3) % 4 != 1)}.items():
        one.reset_state()
        two.reset_state()
        one.update_state(y_true, y_pred, w)
        update(*shares(two_replicas, y_true, y_pred, w))
        assert float(two.result()) == pytest.approx(float(one.result()), rel=1e-6), name
        assert float(one.result()) > 0


def test_scalars_are_readable_within_a_scope(two_replicas, tmp_path):
    with two_replicas.scope():
        distiller = kls.Distiller(classifier(1), classifier(), kls.distillation.LogitsDistillation(), [2.0], 0.25)
        scaling = kls.calibrators.TemperatureScaling(1.5)
        assert (distiller.student_loss_weight, distiller.distillation_loss_weights) == (0.25, [2.0])
        assert scaling.temperature == 1.5
        assert distiller.get_config()["student_loss_weight"] == 0.25
        keras.Sequential([keras.Input((5,)), scaling]).save(tmp_path / "scaling.keras")
        keras.models.load_model(tmp_path / "scaling.keras")
        kls.Distiller(
            classifier(1), classifier(), kls.distillation.LogitsDistillation(), student_loss_weight=0.0
        ).compile()


def with_maps(seed=0):
    """A classifier with a layer of features with positions."""
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(15, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01))
    maps = [hidden, keras.layers.Reshape((3, 5), name="maps"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((4,)), *maps, keras.layers.Dense(registry.CLASSES)])


def run(strategy, make, start=None):
    """Weights before and after a training, its history, and an evaluation."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = make()
    if start:
        model.set_weights(start)
    start = model.get_weights()
    history = model.fit(ragged(), epochs=2, verbose=0, shuffle=False).history
    return start, model.get_weights(), [history, model.evaluate(ragged(), verbose=0, return_dict=True)]


def assert_same_runs(make, *strategies):
    start, weights, logs = run(None, make)
    assert max(np.abs(a - b).max() for a, b in zip(start, weights)) > 2e-3  # far beyond the tolerance
    for strategy in strategies:
        _, others, other_logs = run(strategy, make, start)
        for a, b in zip(weights, others, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-6)
        for one, many in zip(logs, other_logs, strict=True):
            assert one.keys() == many.keys()
            for key, values in one.items():
                np.testing.assert_allclose(many[key], values, rtol=1e-6, atol=1e-6, err_msg=key)


def test_fit(two_replicas, four_replicas):
    def make():
        model = classifier()
        model.compile(
            keras.optimizers.SGD(0.5),
            kls.losses.SmoothedCrossentropy(0.1),
            weighted_metrics=[kls.metrics.ExpectedCalibrationError(3), kls.metrics.BrierScore()],
            jit_compile=False,
        )
        return model

    assert_same_runs(make, two_replicas, four_replicas)


def test_distiller_fit_with_a_loss_of_keras(two_replicas):
    # on its own such a loss averages over each replica's examples first
    teacher = classifier(1)

    def make():
        distiller = kls.Distiller(teacher, classifier(), kls.distillation.LogitsDistillation(), student_loss_weight=0.7)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
        return distiller

    assert_same_runs(make, two_replicas)


# on the logits, and between layers with a projector; tests/distillation/losses/test_relation_loss.py trains on
# the relations in a batch. Every other loss is of one of these kinds, and `test_loss_gradient` has them all
def test_distiller_fit(two_replicas):
    teacher = with_maps(1)

    def make():
        logits = kls.distillation.LogitsDistillation(2.0)
        features = kls.distillation.FeatureDistillation("mse", "maps", "maps", projector="auto")
        distiller = kls.Distiller(teacher, with_maps(), [logits, features], [2.0, 2.0], student_loss_weight=0.3)
        metrics = [kls.metrics.NegativeLogLikelihood()]
        hard = kls.losses.SmoothedCrossentropy(0.1)
        distiller.compile(keras.optimizers.SGD(0.02), hard, weighted_metrics=metrics, jit_compile=False)
        return distiller

    assert_same_runs(make, two_replicas)


def test_distiller_fit_of_sums_and_several_kinds_of_losses(two_replicas):
    # sums are counted in the logs as on one replica; losses of Keras join in
    teachers = [with_maps(1), with_maps(2)]
    labels_alone = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")

    def make():
        losses = [
            kls.distillation.LogitsDistillation(2.0, reduction="sum"),
            keras.losses.MeanAbsoluteError(name="mae"),
            kls.distillation.FeatureDistillation("mse", "maps", "maps", projector="auto"),
        ]
        distiller = kls.Distiller(teachers, with_maps(), losses, [0.02, 1.0, 1.0], 0.05)
        distiller.compile(keras.optimizers.SGD(0.1), labels_alone, jit_compile=False)
        return distiller

    assert_same_runs(make, two_replicas)


@pytest.mark.filterwarnings("ignore:Weights of examples do not reach")
def test_distiller_fit_with_losses_of_keras_distillation(two_replicas):
    teacher = with_maps(1)

    def make():
        function, an_object = (
            keras.distillation.FeatureDistillation(loss, "maps", "maps")
            for loss in ("mse", keras.losses.MeanAbsoluteError())
        )
        distiller = kls.Distiller(teacher, with_maps(), [function, an_object], [2.0, 1.0], student_loss_weight=0.0)
        distiller.compile(keras.optimizers.SGD(0.5), jit_compile=False)
        return distiller

    assert_same_runs(make, two_replicas)
