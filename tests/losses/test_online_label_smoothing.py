"""Values of the loss, and what it learns from batches; training with it is in test_online_label_smoothing_fit.py."""

import math

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.gradients import value_and_gradient
from tests.losses import ways
from tests.masking import masked
from tests.ops import plain_forms

approx = pytest.approx
Loss = kls.losses.OnlineLabelSmoothing
SOFT = np.random.default_rng(7).dirichlet(np.ones(4), 4).astype("float32")
learns_by_itself = pytest.mark.skipif(keras.backend.backend() == "jax", reason="on JAX it learns from observe() alone")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def with_soft_labels(*args, **options):
    loss = Loss(4, *args, **options)
    loss.soft_labels.assign(SOFT)
    return loss


def plain(label, logits, alpha=0.3):
    """-(1-α) log p_y - α Σ_k S_yk log p_k, of an integer label."""
    one_hot = plain_forms.crossentropy(label, logits)
    return (1 - alpha) * one_hot + alpha * plain_forms.crossentropy(SOFT[label].astype("float64"), logits)


def mean_right_predictions(labels, logits, weight, soft):
    """The rows of S, one class after the other; rows of classes that were never predicted rightly stay."""
    rows = []
    for k in range(len(soft)):
        total, mass = np.zeros(len(soft)), 0.0
        for y, z, w in zip(labels, logits, weight):
            if y == k and max(range(len(soft)), key=lambda j, z=z: z[j]) == k:
                p = [math.exp(plain_forms.log_probability(j, z)) for j in range(len(soft))]
                total, mass = total + float(w) * np.array(p), mass + float(w)
        rows.append(total / mass if mass > 0 else soft[k])
    return np.array(rows)


def learnt(loss, *batches):
    for batch in batches:
        loss.observe(*batch)
    loss.update()
    return numpy(loss.soft_labels)


# the loss ------------------------------------------------------------------------------------------------------------


@ways.each_way
def test_equals_the_plain_form(way):
    way(lambda **options: with_soft_labels(0.3, **options), plain)


def test_begins_as_uniform_label_smoothing():
    labels, logits = ways.batch((20,))
    expected = [plain_forms.smoothed_crossentropy(y, z, 0.5) for y, z in zip(labels, logits)]
    ways.assert_equal(Loss(4, reduction="none")(labels, logits), expected)
    np.testing.assert_allclose(numpy(Loss(4).soft_labels), np.full((4, 4), 0.25))


def test_gradient_is_softmax_minus_target():
    labels, logits = ways.batch((6,))
    gradient = value_and_gradient(lambda z: 3 * with_soft_labels(0.3, reduction="sum")(labels, z), logits)[1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, 3 * (p - 0.7 * np.eye(4)[labels] - 0.3 * SOFT[labels]), atol=3e-6)


def test_impossible_classes_of_no_share():
    # a class of logit -inf costs nothing where neither label nor soft label has it
    loss = Loss(3, 0.5)
    loss.soft_labels.assign([[0.5, 0.5, 0.0]] * 3)
    value, gradient = value_and_gradient(lambda z: loss([0], z), np.array([[0.0, math.log(3), -np.inf]], "float32"))
    assert value == approx(0.75 * math.log(4) + 0.25 * math.log(4 / 3), rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.25 - 0.75, 0.75 - 0.25, 0]], atol=1e-6)


# what it learns ------------------------------------------------------------------------------------------------------


def test_update_takes_the_weighted_mean_of_right_predictions():
    first, second = ways.batch((20,), 1), ways.batch((5,), 2)
    weights = np.random.default_rng(3).integers(0, 3, 25).astype("float32")
    loss = with_soft_labels()
    soft = learnt(loss, (*first, weights[:20]), (*second, weights[20:]))
    labels, logits = (np.concatenate(pair) for pair in zip(first, second))
    expected = mean_right_predictions(labels, logits, weights, SOFT)
    np.testing.assert_allclose(soft, expected, rtol=1e-5)
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)
    # the next move is made of what came after this one
    third = ways.batch((9,), 4)
    soft = learnt(loss, third)
    np.testing.assert_allclose(soft, mean_right_predictions(*third, np.ones(9), expected), rtol=1e-5)


def test_rows_without_right_predictions_stay():
    # class 0 rightly (1 : 3 : 0 against it), class 1 wrongly, class 2 not at all, class 3 with no weight
    logits = np.log([[[0.7, 0.1, 0.1, 0.1]], [[0.7, 0.1, 0.1, 0.1]], [[0.1, 0.1, 0.1, 0.7]]]).astype("float32")[:, 0]
    soft = learnt(with_soft_labels(), (np.array([0, 1, 3]), logits, np.array([2.0, 1.0, 0.0])))
    np.testing.assert_allclose(soft[0], [0.7, 0.1, 0.1, 0.1], rtol=1e-5)
    np.testing.assert_array_equal(soft[1:], SOFT[1:])


def test_nothing_observed_changes_nothing():
    loss = with_soft_labels()
    np.testing.assert_array_equal(learnt(loss), SOFT)
    np.testing.assert_array_equal(learnt(loss, (np.zeros(0, int), np.zeros((0, 4), "float32"))), SOFT)


def test_masks_and_ignored_classes():
    labels, logits = ways.batch((4, 6))
    mask = np.arange(24).reshape(4, 6) % 5 != 1
    weight = np.linspace(0, 2, 24, dtype="float32").reshape(4, 6)
    kept = mask & (labels != 2)
    expected = mean_right_predictions(labels[kept], logits[kept], weight[kept], SOFT)
    logits[~mask] = np.nan
    for y in (np.where(mask, labels, 99), np.where(mask, labels, 99)[..., None]):
        soft = learnt(with_soft_labels(ignore_class=2), (y, masked(logits, mask), weight))
        np.testing.assert_allclose(soft, expected, rtol=1e-5)


@pytest.mark.parametrize("axis", [1, -2])
def test_class_axis(axis):
    labels, logits = ways.batch((3, 4))  # as many places as classes
    expected = mean_right_predictions(labels.ravel(), logits.reshape(-1, 4), np.ones(12), SOFT)
    for y in (labels, np.expand_dims(labels, axis)):
        soft = learnt(with_soft_labels(axis=axis), (y, np.moveaxis(logits, -1, axis)))
        np.testing.assert_allclose(soft, expected, rtol=1e-5)


def test_probabilities():
    labels, logits = ways.batch((12,))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    soft = learnt(with_soft_labels(from_logits=False), (labels, p))
    np.testing.assert_allclose(soft, mean_right_predictions(labels, logits, np.ones(12), SOFT), rtol=1e-4)


def test_half_precision_is_summed_in_float32():
    # 4096 times the same prediction: a float16 sum would stick at 2048
    half = np.log([[0.7, 0.1, 0.1, 0.1]] * 4096).astype("float16")
    soft = learnt(with_soft_labels(), (np.zeros(4096, int), half))
    np.testing.assert_allclose(soft[0], [0.7, 0.1, 0.1, 0.1], rtol=1e-3)


def test_a_prediction_that_overflowed_is_left_out():
    logits = np.array([[np.inf, 0, 0, 0], [np.nan] * 4, np.log([0.7, 0.1, 0.1, 0.1])], "float32")
    np.testing.assert_allclose(learnt(with_soft_labels(), ([0, 0, 0], logits))[0], [0.7, 0.1, 0.1, 0.1], rtol=1e-5)


@learns_by_itself
def test_learns_only_where_its_gradient_is_taken():
    labels, logits = ways.batch((12,))
    loss = with_soft_labels()
    loss.moved_by_callback = True  # no warning
    loss(labels, logits)
    np.testing.assert_array_equal(learnt(loss), SOFT)
    value_and_gradient(lambda z: loss(labels, z), logits)
    np.testing.assert_allclose(learnt(loss), mean_right_predictions(labels, logits, np.ones(12), SOFT), rtol=1e-5)


def test_reset():
    batch = ways.batch((12,))
    loss = Loss(4, steps_per_epoch=None)
    learnt(loss, batch)
    loss.observe(*batch)
    loss.reset()
    np.testing.assert_array_equal(learnt(loss), np.full((4, 4), 0.25, "float32"))
    np.testing.assert_allclose(
        learnt(loss, batch), mean_right_predictions(*batch, np.ones(12), np.full((4, 4), 0.25)), rtol=1e-5
    )


# settings and errors -------------------------------------------------------------------------------------------------


def test_config():
    ways.assert_config_round_trip(
        Loss(4, 0.3, 7, False, 3, 1, "sum", "mine", "float64"),
        num_classes=4, label_smoothing=0.3, steps_per_epoch=7, from_logits=False, ignore_class=3, axis=1,
        reduction="sum", name="mine", dtype="float64",
    )  # fmt: skip


@pytest.mark.parametrize(
    "args, message",
    [
        ((1,), "Expected `num_classes` to be an integer of at least 2. Received: 1."),
        ((2.0,), "Expected `num_classes` to be an integer of at least 2. Received: 2.0."),
        ((4, 1.0), "Expected `label_smoothing` in [0, 1). Received: 1.0."),
        ((4, 0.5, 0), "Expected `steps_per_epoch` to be an integer of at least 1. Received: 0."),
        ((4, 0.5, "epoch"), "Expected `steps_per_epoch` to be an integer of at least 1. Received: 'epoch'."),
    ],
)
def test_bad_options(args, message):
    with pytest.raises(ValueError) as error:
        Loss(*args)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "labels, K, message",
    [
        (
            np.eye(4)[[0]],
            4,
            r"integer labels for OnlineLabelSmoothing.*dense labels of shape \(1, 4\)\. Take their argmax",
        ),
        ([0], 3, r"^Expected predictions over num_classes=4 classes\. Received: 3\.$"),
        ([4], 4, r"integer labels in \[0, 4\), as the predictions have 4 classes\. Received: 4"),
    ],
)
def test_bad_labels(labels, K, message):
    with pytest.raises(ValueError, match=message):
        Loss(4)(labels, np.zeros((1, K), "float32"))


@pytest.mark.tensorflow
@pytest.mark.parametrize("traced", [False, True])
def test_two_gradients_of_one_pass_count_once(traced):
    import tensorflow as tf

    loss = Loss(num_classes=2, steps_per_epoch=100)
    logits = tf.constant([[2.0, 0.0], [0.0, 1.0]])

    def step(z):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            value = loss(tf.constant([0, 1]), z)
        return tape.gradient(value, z), tape.gradient(2 * value, z)

    (tf.function(step) if traced else step)(logits)
    # both are right: softmax([2, 0]) and softmax([0, 1]), once
    np.testing.assert_allclose(loss._sums.numpy(), [[0.880797, 0.119203], [0.268941, 0.731059]], rtol=1e-5)
    (tf.function(step) if traced else step)(logits)
    np.testing.assert_allclose(
        loss._sums.numpy(), 2 * np.array([[0.880797, 0.119203], [0.268941, 0.731059]]), rtol=1e-5
    )


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_learns_where_the_gradient_of_a_traced_function_is_taken_outside_of_it(jit_compile):
    import tensorflow as tf

    loss = Loss(num_classes=2, steps_per_epoch=100)
    traced = tf.function(lambda z: loss(tf.constant([0, 1]), z), jit_compile=jit_compile)
    logits, factor = tf.Variable([[2.0, 0.0], [0.0, 1.0]]), tf.Variable(1.0)
    once = np.array([[0.880797, 0.119203], [0.268941, 0.731059]])  # softmax([2, 0]) and softmax([0, 1])
    for batches in (1, 2):
        with tf.GradientTape(persistent=True) as tape:
            value = traced(factor * logits)
        np.testing.assert_allclose(loss._sums.numpy(), (batches - 1) * once, rtol=1e-5)
        gradient, _ = tape.gradient(value, [logits, factor])
        np.testing.assert_allclose(loss._sums.numpy(), batches * once, rtol=1e-5)
        assert loss._step.numpy() == batches
    # the mean of softmax minus ½ one-hot minus ½ uniform: (.8808 - .75, .1192 - .25) / 2 and (.2689 - .25, …) / 2
    np.testing.assert_allclose(gradient, [[0.065399, -0.065399], [0.009471, -0.009471]], atol=1e-6)
    # a second one of the same call: as documented
    tape.gradient(value, factor)
    np.testing.assert_allclose(loss._sums.numpy(), 3 * once, rtol=1e-5)


@pytest.mark.tensorflow
def test_a_killed_training_keeps_what_it_observed(tmp_path):
    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(*callbacks):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")])
        model.compile(keras.optimizers.SGD(0.1), Loss(num_classes=3))
        # the backup comes first, and is written before the soft labels move
        model.fit(
            np.eye(3, dtype="float32").repeat(4, 0),
            np.arange(3).repeat(4),
            epochs=4,
            verbose=0,
            shuffle=False,
            callbacks=[*callbacks, kls.callbacks.SoftLabelUpdate()],
        )
        return model

    backup = lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup")  # noqa: E731
    undisturbed = run()
    with pytest.raises(KeyboardInterrupt):
        run(backup(), Killed())
    resumed = run(backup())
    np.testing.assert_array_equal(resumed.loss.soft_labels.numpy(), undisturbed.loss.soft_labels.numpy())
    for a, b in zip(undisturbed.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.tensorflow
def test_made_in_traced_code_it_says_where_to_make_it():
    import tensorflow as tf

    @tf.function
    def step(z):
        return Loss(num_classes=2)(tf.constant([0, 1]), z)

    with pytest.raises(ValueError, match=r"OnlineLabelSmoothing to be made outside traced code.*Make it once"):
        step(tf.zeros((2, 2)))
