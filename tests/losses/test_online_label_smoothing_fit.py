"""Training with soft labels that the network learns."""

import warnings

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.losses.test_online_label_smoothing import learns_by_itself, mean_right_predictions

Loss = kls.losses.OnlineLabelSmoothing
SoftLabelUpdate = kls.callbacks.SoftLabelUpdate
K = 4
# XLA's compilations take seconds
QUICK = {"jit_compile": "auto" if keras.backend.backend() == "jax" else False}
EAGER = {"run_eagerly": True}  # nor does tracing, where no graph is the point, take its second
UNIFORM = np.full((K, K), 1 / K, "float32")
X = np.random.default_rng(0).normal(size=(18, 3)).astype("float32")
WEIGHT = np.random.default_rng(1).integers(0, 3, 18).astype("float32")


def compiled(loss, rate=0.5, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(K)])
    model.compile(keras.optimizers.SGD(rate), loss, **{**QUICK, **options})
    return model


# labels that the untrained network mostly meets
Y = np.where(np.arange(18) % 4, np.argmax(compiled("mse").predict(X, verbose=0), axis=-1), np.arange(18) % K)


def soft_labels(loss):
    return keras.ops.convert_to_numpy(loss.soft_labels)


def fit(model, epochs=1, **options):
    return model.fit(X, Y, 5, epochs, verbose=0, shuffle=False, **options)


@learns_by_itself
@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_learns_from_the_training_examples_alone(jit_compile):
    # a rate of 0: the predictions of the epoch are those of before. Validation data must not count
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("torch.compile takes a C++ compiler and a minute")
    loss = Loss(K)
    model = compiled(loss, rate=0.0, jit_compile=jit_compile)
    logits = model.predict(X, verbose=0)
    expected = mean_right_predictions(Y, logits, WEIGHT, UNIFORM)
    assert (expected != UNIFORM).any(axis=1).sum() > 1
    others = np.random.default_rng(2).normal(size=(9, 3)).astype("float32") * 5
    validation = (others, np.argmax(model.predict(others, verbose=0), axis=-1))
    fit(model, sample_weight=WEIGHT, validation_data=validation, callbacks=[SoftLabelUpdate()])
    np.testing.assert_allclose(soft_labels(loss), expected, rtol=1e-5)
    model.evaluate(*validation, verbose=0)
    loss.update()
    np.testing.assert_allclose(soft_labels(loss), expected, rtol=1e-5)


@learns_by_itself
def test_class_weights_weigh_what_is_learnt():
    share = {0: 0.5, 1: 2.0, 2: 1.0, 3: 0.0}
    by_class, by_sample = Loss(K), Loss(K)
    fit(compiled(by_class, **EAGER), 2, class_weight=share, callbacks=[SoftLabelUpdate()])
    weight = np.array([share[y] for y in Y], "float32")
    fit(compiled(by_sample, **EAGER), 2, sample_weight=weight, callbacks=[SoftLabelUpdate()])
    np.testing.assert_allclose(soft_labels(by_class), soft_labels(by_sample), rtol=1e-5)
    np.testing.assert_array_equal(soft_labels(by_class)[3], UNIFORM[3])


@learns_by_itself
def test_every_epoch_uses_the_soft_labels_of_the_one_before():
    # the same, batch after batch: the predictions are those before each step
    loss = Loss(K)
    model, other = compiled(loss), compiled(kls.losses.SmoothedCrossentropy(0.0), **EAGER)
    fit(model, 3, callbacks=[SoftLabelUpdate()])
    soft = UNIFORM
    for _ in range(3):
        seen = []
        for rows in (slice(0, 5), slice(5, 10), slice(10, 15), slice(15, 18)):
            seen.append(other.predict_on_batch(X[rows]))
            other.train_on_batch(X[rows], (0.5 * np.eye(K)[Y] + 0.5 * soft[Y])[rows].astype("float32"))
        soft = mean_right_predictions(Y, np.concatenate(seen), np.ones(18), soft)
    np.testing.assert_allclose(soft_labels(loss), soft, rtol=1e-4)
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)


@learns_by_itself
@pytest.mark.parametrize("jit_compile", [False, True])
def test_moves_exactly_every_so_many_steps(jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("torch.compile takes a C++ compiler and a minute")
    loss = Loss(K, steps_per_epoch=3)
    model = compiled(loss, jit_compile=jit_compile)
    soft, seen = UNIFORM, []
    for step in range(1, 8):
        seen.append(model.predict_on_batch(X))
        model.train_on_batch(X, Y)
        if step % 3 == 0:
            soft = mean_right_predictions(np.tile(Y, 3), np.concatenate(seen), np.ones(54), soft)
            seen = []
        np.testing.assert_allclose(soft_labels(loss), soft, rtol=1e-4)
    loss.reset()  # the counter, too: 7 steps were made, the next move is three from here
    for moved in (False, False, True):
        model.train_on_batch(X, Y)
        assert (soft_labels(loss) != UNIFORM).any() == moved


@learns_by_itself
def test_both_ways_of_moving_are_one():
    with_callback, by_itself = Loss(K), Loss(K, steps_per_epoch=4)  # 18 examples in batches of 5
    a, b = compiled(with_callback), compiled(by_itself)
    fit(a, 3, callbacks=[SoftLabelUpdate()])
    fit(b, 3)
    np.testing.assert_allclose(soft_labels(with_callback), soft_labels(by_itself), rtol=1e-5)
    np.testing.assert_allclose(a.get_weights()[0], b.get_weights()[0], atol=1e-6)


@learns_by_itself
@pytest.mark.parametrize("steps_per_epoch", [None, 4])
def test_a_saved_model_trains_on_as_if_it_had_not_stopped(tmp_path, steps_per_epoch):
    def callbacks():
        return [SoftLabelUpdate()] if steps_per_epoch is None else []

    unbroken = Loss(K, steps_per_epoch=steps_per_epoch)
    expected = compiled(unbroken)
    fit(expected, 4, callbacks=callbacks())
    stopped = Loss(K, steps_per_epoch=steps_per_epoch)
    model = compiled(stopped)
    fit(model, 2, callbacks=callbacks())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(soft_labels(loaded.loss), soft_labels(stopped))
    assert (soft_labels(stopped) != UNIFORM).any()
    fit(loaded, 2, callbacks=callbacks())
    np.testing.assert_allclose(soft_labels(loaded.loss), soft_labels(unbroken), rtol=1e-5)
    for a, b in zip(loaded.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.tensorflow
# batches of 5 and 5, then 4 and 3; or at last 1 and none
@pytest.mark.parametrize("steps_per_epoch, examples", [(None, 17), (2, 11)])
def test_two_replicas_learn_what_one_does(two_replicas, tmp_path, steps_per_epoch, examples):
    import tensorflow as tf

    def trained():
        loss = Loss(K, steps_per_epoch=steps_per_epoch)
        model = compiled(loss)
        data = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT)).take(examples).batch(10)
        callbacks = [SoftLabelUpdate()] if steps_per_epoch is None else []
        model.fit(data, epochs=3, verbose=0, shuffle=False, callbacks=callbacks)
        return model, loss

    model, loss = trained()
    with two_replicas.scope():
        other, same = trained()
    np.testing.assert_allclose(soft_labels(same), soft_labels(loss), rtol=1e-5)
    before = soft_labels(same)
    assert (before != UNIFORM).any()
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with two_replicas.scope():
        other.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        same.reset()
    np.testing.assert_array_equal(soft_labels(loaded.loss), before)
    np.testing.assert_array_equal(soft_labels(same), UNIFORM)


@pytest.mark.tensorflow
def test_several_steps_an_execution():
    one, many = Loss(K, steps_per_epoch=2), Loss(K, steps_per_epoch=2)
    fit(compiled(one), 2)
    fit(compiled(many, steps_per_execution=3), 2)
    np.testing.assert_allclose(soft_labels(many), soft_labels(one), rtol=1e-5)


@learns_by_itself
def test_soft_labels_that_never_move_are_warned_of_once():
    loss = Loss(K)
    model = compiled(loss)
    with pytest.warns(UserWarning, match=r"nothing moves its soft labels yet\..*keras_ls\.callbacks\.SoftLabelUpdate"):
        fit(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="OnlineLabelSmoothing")
        fit(model)
        fit(compiled(Loss(K), **EAGER), callbacks=[SoftLabelUpdate()])
        fit(compiled(Loss(K, steps_per_epoch=4), **EAGER))


@pytest.mark.jax
def test_fit_on_jax_is_refused():
    with pytest.raises(ValueError, match=r"Expected the TensorFlow or PyTorch backend: in `fit` on JAX.*`observe` and"):
        fit(compiled(Loss(K)), callbacks=[SoftLabelUpdate()])
    with pytest.raises(
        ValueError, match=r"TensorFlow or PyTorch backend for `steps_per_epoch`.*steps_per_epoch=4\. Call"
    ):
        fit(compiled(Loss(K, steps_per_epoch=4)))
    # evaluation has nothing to learn: log p of the smoothed targets
    model = compiled(Loss(K, steps_per_epoch=4))
    expected = keras.losses.CategoricalCrossentropy(True, label_smoothing=0.5)(
        np.eye(K)[Y], model.predict(X, verbose=0)
    )
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(float(expected), rel=1e-5)


@learns_by_itself
def test_the_callback_starts_with_nothing_observed_and_leaves_the_loss_free():
    loss = Loss(K)
    model = compiled(loss)
    with pytest.warns(UserWarning, match="nothing moves"):
        fit(model)
    start = model.get_weights()
    fit(model, callbacks=[SoftLabelUpdate()])
    alone = Loss(K)
    again = compiled(alone, **EAGER)
    again.set_weights(start)
    fit(again, callbacks=[SoftLabelUpdate()])
    np.testing.assert_allclose(soft_labels(loss), soft_labels(alone), rtol=1e-5)
    assert not loss.moved_by_callback


def test_an_update_by_hand_needs_no_reminder():
    loss = Loss(K)
    loss.update()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="OnlineLabelSmoothing")
        fit(compiled(loss))


@pytest.mark.jax
def test_on_jax_soft_labels_that_stay_uniform_are_warned_of():
    with pytest.warns(UserWarning, match="On JAX call `observe`"):
        fit(compiled(Loss(K)))
