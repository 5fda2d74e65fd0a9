"""One replica equals two and four, whatever the split: 7 examples become 4 and 3."""

import contextlib
import inspect

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence import registry
from tests.equivalence.training import batches, classifier

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

pytestmark = pytest.mark.tensorflow

REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight"]


def on_two(strategy, function, *arrays):
    """Runs `function` on shares of 4 and 3 examples; returns the per-replica results."""
    shares = [
        strategy.experimental_distribute_values_from_function(
            lambda c, a=a: tf.constant(a[:4] if c.replica_id_in_sync_group == 0 else a[4:])
        )
        for a in arrays
    ]
    return tf.function(lambda *args: strategy.run(function, args=args))(*shares)


def with_mask(y_pred, mask):
    y_pred._keras_mask = mask
    return y_pred


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("component", registry.LOSSES, ids=str)
def test_loss_gradient(two_replicas, component, masked, reduction):
    y_true, y_pred = component.batch((7, 3))
    weight = np.linspace(0.5, 2.0, 21, dtype="float32").reshape(7, 3)
    mask = np.arange(21).reshape(7, 3) % 4 != 1 if masked else np.ones((7, 3), bool)
    if component.whole:
        weight, mask = weight[:, 0], mask[:, 0]
    loss = component.make(reduction=reduction)

    def gradient(y, p, w, m):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(y, with_mask(tf.identity(p), m) if masked else p, w)
        return tape.gradient(value, p)

    one = gradient(*map(tf.constant, (y_true, y_pred, weight, mask)))
    two = two_replicas.experimental_local_results(on_two(two_replicas, gradient, y_true, y_pred, weight, mask))
    np.testing.assert_allclose(np.concatenate(two), one, atol=5e-7)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("component", registry.METRICS, ids=str)
def test_metric(two_replicas, component, masked):
    y_true, y_pred = component.batch((7, 3))
    weight = np.linspace(0.5, 2.0, 21, dtype="float32").reshape(7, 3)
    if masked:
        weight = weight * (np.arange(21).reshape(7, 3) % 4 != 1)
    if "binary" in component.name:
        y_true, y_pred = y_true[..., None], y_pred[..., None]
    one = component.make()
    one.update_state(y_true, y_pred, weight)
    with two_replicas.scope():
        two = component.make()
    on_two(two_replicas, two.update_state, y_true, y_pred, weight)
    assert float(two.result()) == pytest.approx(float(one.result()), rel=1e-6)
    assert float(one.result()) > 0


def fitted(make, examples):
    model = make()
    history = model.fit(batches(examples), epochs=2, verbose=0, shuffle=False).history
    logs = model.evaluate(batches(examples), verbose=0, return_dict=True)
    return model, history, logs


def assert_same_training(strategy, make, examples):
    one, history_one, logs_one = fitted(make, examples)
    with strategy.scope():
        two, history_two, logs_two = fitted(make, examples)
    for a, b in zip(one.get_weights(), two.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert history_one.keys() == history_two.keys()
    for key in history_one:
        np.testing.assert_allclose(history_two[key], history_one[key], atol=1e-6, err_msg=key)
    for key in logs_one:
        np.testing.assert_allclose(logs_two[key], logs_one[key], atol=1e-6, err_msg=key)


# the last batch has 8 examples (4 and 4), 5 (3 and 2), or 1 (1 and none); or the only batch has 7 (4 and 3)
SIZES = [24, 21, 17, 7]


@pytest.mark.parametrize("examples", SIZES)
def test_fit(two_replicas, examples):
    def make():
        model = classifier()
        model.compile(
            keras.optimizers.SGD(0.5),
            kls.losses.SmoothedCrossentropy(0.1),
            weighted_metrics=[kls.metrics.ExpectedCalibrationError(3), kls.metrics.BrierScore()],
            jit_compile=False,
        )
        return model

    assert_same_training(two_replicas, make, examples)


@pytest.mark.parametrize("examples", SIZES)
def test_distiller_fit_with_a_loss_of_keras(two_replicas, examples):
    # on its own such a loss averages over each replica's examples first
    teacher = classifier(1)

    def make():
        distiller = kls.Distiller(teacher, classifier(), kls.distillation.LogitsDistillation(), student_loss_weight=0.7)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
        return distiller

    assert_same_training(two_replicas, make, examples)


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


def distiller_runs(strategy, make, start=None):
    """Weights, histories and an evaluation of one distiller, trained anew from `start` on each number of examples."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        distiller = make()
    start = start or distiller.get_weights()
    weights, histories = [], []
    for examples in SIZES:
        distiller.set_weights(start)
        histories.append(distiller.fit(batches(examples), epochs=2, verbose=0, shuffle=False).history)
        weights.append(distiller.get_weights())
    logs = distiller.evaluate(batches(17), verbose=0, return_dict=True)
    return start, weights, [*histories, logs]


def assert_same_runs(make, *strategies):
    start, weights, logs = distiller_runs(None, make)
    assert max(np.abs(a - b).max() for a, b in zip(start, weights[0])) > 2e-3  # far beyond the tolerance
    for strategy in strategies:
        _, others, other_logs = distiller_runs(strategy, make, start)
        for run, other in zip(weights, others):
            for a, b in zip(run, other, strict=True):
                np.testing.assert_allclose(b, a, atol=1e-6)
        for one, many in zip(logs, other_logs, strict=True):
            assert one.keys() == many.keys()
            for key, values in one.items():
                np.testing.assert_allclose(many[key], values, rtol=1e-6, atol=1e-6, err_msg=key)


def comparing_layers(component, **arguments):
    """The loss, between layers where it can name them."""
    if "teacher_layer_name" in inspect.signature(type(component.make())).parameters:
        arguments |= {"teacher_layer_name": "maps", "student_layer_name": "maps"}
    return component.make(**arguments)


@pytest.mark.parametrize(
    "component", [c for c in registry.LOSSES if c.batch in (registry.teacher, registry.feature_maps)], ids=str
)
def test_distiller_fit(two_replicas, four_replicas, component):
    teacher = with_maps(1)

    def make():
        loss = comparing_layers(component)
        distiller = kls.Distiller(teacher, with_maps(), [loss], [2.0], student_loss_weight=0.3)
        metrics = [kls.metrics.NegativeLogLikelihood()]
        hard = kls.losses.SmoothedCrossentropy(0.1)
        # a small rate: steps as long as those of the losses with weights of 25 or T² = 16 would amplify the rounding
        distiller.compile(keras.optimizers.SGD(0.02), hard, weighted_metrics=metrics, jit_compile=False)
        return distiller

    assert_same_runs(make, two_replicas, four_replicas)


def test_distiller_fit_of_sums_and_several_kinds_of_losses(two_replicas, four_replicas):
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

    assert_same_runs(make, two_replicas, four_replicas)


@pytest.mark.filterwarnings("ignore:Weights of examples do not reach")
@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError()], ids=["function", "object"])
def test_distiller_fit_with_a_loss_of_keras_distillation(two_replicas, four_replicas, loss):
    teacher = with_maps(1)

    def make():
        theirs = keras.distillation.FeatureDistillation(loss, "maps", "maps")
        distiller = kls.Distiller(teacher, with_maps(), theirs, [2.0], student_loss_weight=0.0)
        distiller.compile(keras.optimizers.SGD(0.5), jit_compile=False)
        return distiller

    assert_same_runs(make, two_replicas, four_replicas)
