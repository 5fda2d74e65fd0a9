"""What it refuses and where it moves; what the soft labels become is in losses/test_online_label_smoothing_fit.py."""

import keras
import numpy as np
import pytest

import keras_ls as kls
from tests.losses.test_online_label_smoothing import learns_by_itself, mean_right_predictions

Loss = kls.losses.OnlineLabelSmoothing
Update = kls.callbacks.SoftLabelUpdate
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = [np.arange(12) % 3] * 2
UNIFORM = np.full((3, 3), 1 / 3, "float32")


def two_headed(loss):
    keras.utils.set_random_seed(0)
    x = keras.Input((3,))
    model = keras.Model(x, [keras.layers.Dense(3, name="a")(x), keras.layers.Dense(3, name="b")(x)])
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=False)
    return model


def soft_labels(loss):
    return keras.ops.convert_to_numpy(loss.soft_labels)


@learns_by_itself
@pytest.mark.parametrize("kind", [list, dict])
def test_moves_every_loss_of_its_kind(kind):
    first, second = Loss(3), Loss(3)
    losses = [first, second] if kind is list else {"a": first, "b": second}
    model = two_headed(losses)
    logits = model.predict(X, verbose=0)
    labels = [np.argmax(logits[0], axis=-1), np.arange(12) % 3]
    y = labels if kind is list else dict(zip("ab", labels))
    model.fit(X, y, 5, verbose=0, callbacks=[Update()])
    for loss, y, z in zip((first, second), labels, logits):
        np.testing.assert_allclose(soft_labels(loss), mean_right_predictions(y, z, np.ones(12), UNIFORM), rtol=1e-5)
        assert (soft_labels(loss) != UNIFORM).any()


@learns_by_itself
def test_leaves_losses_of_others_alone():
    ours = Loss(3)
    model = two_headed([kls.losses.SmoothedCrossentropy(0.1), ours])
    labels = np.argmax(model.predict(X, verbose=0)[1], axis=-1)
    model.fit(X, [labels, labels], verbose=0, callbacks=[Update()])
    expected = mean_right_predictions(labels, model.predict(X, verbose=0)[1], np.ones(12), UNIFORM)
    np.testing.assert_allclose(soft_labels(ours), expected, rtol=1e-5)


@learns_by_itself
def test_moves_at_the_end_of_every_epoch():
    loss, rows = Loss(3), []
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")])
    model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
    labels = np.argmax(X, axis=-1)
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: rows.append(soft_labels(loss)))
    model.fit(X, labels, 4, 3, verbose=0, callbacks=[look, Update()])
    # three batches an epoch: the soft labels stay within one, and the first epoch's are uniform
    assert len(rows) == 9
    for epoch in range(3):
        for row in rows[3 * epoch : 3 * epoch + 3]:
            np.testing.assert_array_equal(row, rows[3 * epoch])
    np.testing.assert_array_equal(rows[0], UNIFORM)
    assert all((a != b).any() for a, b in ((rows[0], rows[3]), (rows[3], rows[6]), (rows[6], soft_labels(loss))))


@learns_by_itself
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", kls.losses.SmoothedCrossentropy(0.1)])
def test_a_model_without_such_a_loss(loss):
    with pytest.raises(
        ValueError, match=r"Expected .*OnlineLabelSmoothing\(num_classes=K\) in compile\(\)\. Received: "
    ):
        two_headed(loss).fit(X, Y, verbose=0, callbacks=[Update()])


@learns_by_itself
def test_a_loss_that_moves_by_itself():
    message = r"one way of moving.*Received: SoftLabelUpdate together with steps_per_epoch=3\. Leave one of them out"
    with pytest.raises(ValueError, match=message):
        two_headed([Loss(3), Loss(3, steps_per_epoch=3)]).fit(X, Y, verbose=0, callbacks=[Update()])


@pytest.mark.jax
def test_jax_is_refused():
    message = (
        r"^Expected the TensorFlow or PyTorch backend: in `fit` on JAX OnlineLabelSmoothing cannot learn\. Call its"
    )
    with pytest.raises(ValueError, match=message):
        two_headed(Loss(3)).fit(X, Y, verbose=0, callbacks=[Update()])
