"""`CalibrationCallback`: every value against plain NumPy and SciPy, and who sees it."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.callbacks import CalibrationCallback
from tests.calibrators.test_temperature_solver import nll, scipy_temperature

HARD = kls.losses.SmoothedCrossentropy(0.0)
KEYS = ["val_accuracy", "val_nll", "val_brier", "val_ece", "val_temperature", "val_calibrated_nll"]
RNG = np.random.default_rng(0)
CLASSES = 4
X = RNG.normal(size=(90, 5)).astype("float32")
Y = (2 * X[:, :CLASSES] + RNG.gumbel(size=(90, CLASSES))).argmax(axis=1)
X_VAL = RNG.normal(size=(50, 5)).astype("float32")
Y_VAL = (X_VAL[:, :CLASSES] + RNG.gumbel(size=(50, CLASSES))).argmax(axis=1)


def network(*last, units=CLASSES, seed=0):
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(8, activation="tanh"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    return keras.Sequential([keras.Input((5,)), *hidden, keras.layers.Dense(units), *last])


def compiled(model=None, graph=False):
    """Without a graph, which takes a second to trace, but where the graph is what could go wrong."""
    model = model or network()
    model.compile(keras.optimizers.Adam(0.05), HARD, metrics=["accuracy"], jit_compile=False, run_eagerly=not graph)
    return model


def trained(model, callback, batch_size=90, **arguments):
    return model.fit(X, Y, batch_size, epochs=2, verbose=0, callbacks=[callback], **arguments).history


def softmax(z):
    e = np.exp(z.astype("float64") - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def ece(confidence, hit, weight, num_bins=15):
    """One bin after another, closed on the left, the last one on both sides."""
    total = 0.0
    for m in range(num_bins):
        upper = confidence < (m + 1) / num_bins if m < num_bins - 1 else confidence <= 1
        inside = (confidence >= m / num_bins) & upper
        if weight[inside].sum() > 0:
            gap = np.average(hit[inside], weights=weight[inside]) - np.average(
                confidence[inside], weights=weight[inside]
            )
            total += weight[inside].sum() / weight.sum() * abs(gap)
    return total


def expected_values(logits, labels, weight=None, num_bins=15):
    """What the callback should log, from logits [N, K] and integer labels."""
    weight = np.ones(len(labels)) if weight is None else weight
    p = softmax(logits)
    hit = p.argmax(axis=1) == labels
    temperature = scipy_temperature(logits, labels, weight)
    return {
        "val_accuracy": np.average(hit, weights=weight),
        "val_nll": np.average(-np.log(p[np.arange(len(labels)), labels]), weights=weight),
        "val_brier": np.average(((p - np.eye(p.shape[1])[labels]) ** 2).sum(axis=1), weights=weight),
        "val_ece": ece(p.max(axis=1), hit, weight, num_bins),
        "val_temperature": temperature,
        "val_calibrated_nll": nll(temperature, logits, labels, weight),
    }


def assert_logged(history, expected, epoch=-1):
    for key in KEYS:
        assert history[key][epoch] == pytest.approx(expected[key], rel=1e-5, abs=1e-6), key


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_every_value(graph):
    model = compiled(graph=graph)
    history = trained(model, CalibrationCallback((X_VAL, Y_VAL)), batch_size=32)
    assert set(history) == {"loss", "accuracy", *KEYS}
    assert len(history["val_ece"]) == 2
    assert_logged(history, expected_values(model.predict(X_VAL, verbose=0), Y_VAL))
    assert history["val_nll"][0] != history["val_nll"][1]


def test_each_epoch_has_its_own_values():
    # epoch 0 of a training of two equals the only epoch of a training of one
    history = trained(compiled(), CalibrationCallback((X_VAL, Y_VAL)))
    once = compiled()
    once.fit(X, Y, len(X), epochs=1, verbose=0)
    assert_logged(history, expected_values(once.predict(X_VAL, verbose=0), Y_VAL), epoch=0)


def test_num_bins():
    num_bins = 7
    model = compiled()
    history = trained(model, CalibrationCallback((X_VAL, Y_VAL), num_bins=num_bins))
    assert_logged(history, expected_values(model.predict(X_VAL, verbose=0), Y_VAL, num_bins=num_bins))


@pytest.mark.parametrize("as_dataset", [False, True], ids=["tuple", "dataset"])
def test_weights(as_dataset):
    weight = RNG.integers(0, 4, 50).astype("float32")
    data = (X_VAL, Y_VAL, weight)
    model = compiled()
    history = trained(
        model,
        CalibrationCallback(tf.data.Dataset.from_tensor_slices(data).shuffle(50).batch(8) if as_dataset else data),
    )
    assert_logged(history, expected_values(model.predict(X_VAL, verbose=0), Y_VAL, weight))


def test_probabilities():
    model = network(keras.layers.Softmax())
    loss = kls.losses.SmoothedCrossentropy(0.0, from_logits=False)
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    history = trained(model, CalibrationCallback((X_VAL, Y_VAL), from_logits=False, batch_size=7))
    assert_logged(history, expected_values(np.log(model.predict(X_VAL, verbose=0)), Y_VAL))


def test_one_hot_labels():
    model = compiled()
    history = trained(model, CalibrationCallback((X_VAL, np.eye(CLASSES)[Y_VAL])))
    assert_logged(history, expected_values(model.predict(X_VAL, verbose=0), Y_VAL))


def expected_binary(logit, labels):
    """Calibration and Brier score are those of P(y=1), not of the top label."""
    z = np.stack([0 * logit, logit], axis=1)
    p = softmax(z)[:, 1]
    expected = expected_values(z, labels)
    expected["val_brier"] = np.mean((p - labels) ** 2)
    expected["val_ece"] = ece(p, labels.astype(float), np.ones(len(labels)))
    return expected


@pytest.mark.parametrize("from_logits", [True, False])
def test_binary(from_logits):
    labels, labels_val = (Y > 1).astype("float32"), (Y_VAL > 1).astype(int)
    model = network(*([] if from_logits else [keras.layers.Activation("sigmoid")]), units=1)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=from_logits), run_eagerly=True)
    callback = CalibrationCallback((X_VAL, labels_val), from_logits=from_logits)
    history = model.fit(X, labels, len(X), epochs=2, verbose=0, callbacks=[callback]).history
    outputs = model.predict(X_VAL, verbose=0)[:, 0].astype("float64")
    logit = outputs if from_logits else np.log(outputs / (1 - outputs))
    assert_logged(history, expected_binary(logit, labels_val))


def test_binary_probabilities_of_exactly_0_and_1():
    # a saturated float32 sigmoid, clipped at Keras's ε = 1e-7 as by the NegativeLogLikelihood metric: a wrong one costs
    # -log 1e-7 = 16.118, a right one nothing. 1 of 4 is wrong; at the best T the NLL is the entropy of (3/4, 1/4)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    x, y = np.array([[200.0], [-200.0], [200.0], [200.0]]), np.array([1, 0, 1, 0])
    callback = CalibrationCallback((x, y), from_logits=False)
    callback.set_model(model)
    values = callback.evaluate()
    assert values["val_accuracy"] == 0.75
    assert values["val_nll"] == pytest.approx(-np.log(1e-7) / 4, rel=1e-5)
    assert values["val_calibrated_nll"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-6)
    # e^{b · 16.118} = 3
    assert values["val_temperature"] == pytest.approx(-np.log(1e-7) / np.log(3), rel=1e-5)
    metric = kls.metrics.NegativeLogLikelihood(from_logits=False)
    metric.update_state(y, model.predict(x, verbose=0))
    assert values["val_nll"] == pytest.approx(float(metric.result()), rel=1e-5)


def test_binary_accuracy_at_one_half_is_kerass():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    callback = CalibrationCallback((np.ones((4, 1)), np.array([1, 1, 1, 0])))
    callback.set_model(model)
    peer = keras.metrics.BinaryAccuracy()
    peer.update_state([1, 1, 1, 0], [0.5] * 4)
    assert callback.evaluate()["val_accuracy"] == float(peer.result()) == 0.25


def test_a_metric_of_fit_keeps_its_name():
    # of one validation example, which is right with confidence softmax([2, 0])_0 or wrong: not what the callback has
    x, y = np.eye(2, dtype="float32") * 2, np.array([0, 0])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
    model.compile(
        keras.optimizers.SGD(0.0), kls.losses.SmoothedCrossentropy(), metrics=[kls.metrics.BrierScore(name="brier")]
    )
    callback = kls.callbacks.CalibrationCallback((x, y))
    history = model.fit(x, y, validation_data=(x[:1], y[:1]), verbose=0, callbacks=[callback]).history
    wrong = 1 / (1 + np.exp(2))
    assert history["val_brier"] == [pytest.approx(2 * wrong**2, rel=1e-5)]
    assert callback.evaluate()["val_brier"] == pytest.approx(wrong**2 + (1 - wrong) ** 2, rel=1e-5)


def test_accuracy_is_left_to_fit_where_fit_has_it():
    # fit's val_accuracy is of other data: of the first validation example alone, so 0 or 1
    model = compiled()
    history = trained(model, CalibrationCallback((X_VAL, Y_VAL)), validation_data=(X_VAL[:1], Y_VAL[:1]))
    assert set(history["val_accuracy"]) <= {0.0, 1.0}
    assert history["val_nll"][-1] == pytest.approx(
        expected_values(model.predict(X_VAL, verbose=0), Y_VAL)["val_nll"], rel=1e-5
    )


def test_padded_steps_do_not_count():
    keras.utils.set_random_seed(0)
    ids = np.array([[1, 2, 0, 0], [3, 4, 1, 0], [2, 2, 2, 2]] * 6)
    labels = RNG.integers(0, 3, ids.shape)
    embedding = keras.layers.Embedding(5, 6, mask_zero=True)
    model = keras.Sequential([keras.Input((4,), dtype="int32"), embedding, keras.layers.Dense(3)])
    model.compile("adam", kls.losses.SmoothedCrossentropy(0.0), run_eagerly=True)
    spoilt = np.where(ids == 0, 77, labels)
    history = model.fit(ids, labels, verbose=0, callbacks=[CalibrationCallback((ids, spoilt))]).history
    logits = model.predict(ids, verbose=0)
    assert_logged(history, expected_values(logits[ids != 0], labels[ids != 0]))


def test_early_stopping_sees_the_values():
    # a learning rate of 0 never improves: patience 1 stops after the second epoch
    model = network()
    model.compile(keras.optimizers.SGD(0.0), kls.losses.SmoothedCrossentropy(0.0))
    callbacks = [
        CalibrationCallback((X_VAL, Y_VAL)),
        keras.callbacks.EarlyStopping(monitor="val_calibrated_nll", patience=1, mode="min", min_delta=10),
    ]
    history = model.fit(X, Y, epochs=6, verbose=0, callbacks=callbacks).history
    assert len(history["val_calibrated_nll"]) == 2


def test_best_weights_are_those_of_the_least_calibrated_nll():
    model = compiled()
    stop = keras.callbacks.EarlyStopping("val_calibrated_nll", patience=9, mode="min", restore_best_weights=True)
    callbacks = [CalibrationCallback((X_VAL, Y_VAL)), stop]
    history = model.fit(X, Y, len(X), epochs=5, verbose=0, callbacks=callbacks).history
    found = expected_values(model.predict(X_VAL, verbose=0), Y_VAL)["val_calibrated_nll"]
    assert found == pytest.approx(min(history["val_calibrated_nll"]), rel=1e-5)


class Scripted(keras.callbacks.Callback):
    """Sets the kernel of the only layer after each epoch: the training is then known."""

    def __init__(self, kernels):
        super().__init__()
        self.kernels = kernels

    def on_epoch_end(self, epoch, logs=None):
        self.model.layers[-1].kernel.assign(self.kernels[epoch])


# the signal of Y_VAL and a disturbance; the third epoch has the most signal, and by far too much confidence
SIGNAL, NOISE = np.eye(5, CLASSES), np.random.default_rng(3).normal(size=(5, CLASSES))
KERNELS = [scale * (a * SIGNAL + (1 - a) * NOISE) for a, scale in ((0.4, 1), (0.6, 1), (1, 9), (0.5, 1), (0.3, 1))]


@pytest.mark.parametrize("replicas", [1, 2])
def test_early_stopping_and_checkpoint_take_the_epoch_of_the_least_calibrated_nll(replicas, tmp_path, request):
    expected = [expected_values(X_VAL @ kernel, Y_VAL) for kernel in KERNELS]
    assert np.argmin([values["val_calibrated_nll"] for values in expected]) == 2
    assert np.argmax([values["val_nll"] for values in expected]) == 2  # which the plain NLL takes for the worst
    with request.getfixturevalue("two_replicas").scope() if replicas == 2 else contextlib.nullcontext():
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(CLASSES, use_bias=False)])
        model.compile(keras.optimizers.SGD(0.0), HARD)
    stop = keras.callbacks.EarlyStopping("val_calibrated_nll", mode="min", patience=2, restore_best_weights=True)
    path = str(tmp_path / "{epoch}.weights.h5")
    best = keras.callbacks.ModelCheckpoint(path, "val_calibrated_nll", 0, True, True, mode="min")
    callbacks = [Scripted([*KERNELS, None]), CalibrationCallback((X_VAL, Y_VAL)), stop, best]
    history = model.fit(X, Y, batch_size=16, epochs=6, verbose=0, callbacks=callbacks).history
    for epoch, values in enumerate(expected):
        assert_logged(history, values, epoch)
    assert len(history["val_nll"]) == 5 and stop.best_epoch == 2  # two epochs of patience after the third
    np.testing.assert_allclose(model.layers[-1].kernel, KERNELS[2], rtol=1e-6)
    assert sorted(p.name[0] for p in tmp_path.iterdir()) == ["1", "2", "3"]
    model.load_weights(tmp_path / "3.weights.h5")
    np.testing.assert_allclose(model.layers[-1].kernel, KERNELS[2], rtol=1e-6)


@pytest.mark.parametrize("shared, reads", [(False, 1), (True, 2)], ids=["alone", "with fit's own pass"])
def test_one_pass_over_the_data_an_epoch(shared, reads, tmp_path):
    # with the log too; where fit validates on the same dataset, its pass is the other one
    passes = []

    def generate():
        passes.append(1)
        yield from zip(X_VAL.reshape(5, 10, 5), Y_VAL.reshape(5, 10))

    signature = tf.TensorSpec((10, 5), "float32"), tf.TensorSpec((10,), "int64")
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    data = data.apply(tf.data.experimental.assert_cardinality(5))
    model = compiled()
    model.fit(
        X,
        Y,
        len(X),
        epochs=3,
        verbose=0,
        validation_data=data if shared else None,
        callbacks=[CalibrationCallback(data, tmp_path)],
    )
    assert len(passes) == 3 * reads


def test_ignored_class():
    labels = np.where(np.arange(50) % 3 == 0, -1, Y_VAL)
    x = np.where(labels[:, None] == -1, np.nan, X_VAL)  # of a dropped example nothing counts
    model = compiled()
    history = trained(model, CalibrationCallback((x, labels), ignore_class=-1))
    kept = labels != -1
    assert_logged(history, expected_values(model.predict(X_VAL[kept], verbose=0), Y_VAL[kept]))


def test_fit_twice_with_one_callback():
    model, callback = compiled(), CalibrationCallback((X_VAL, Y_VAL))
    trained(model, callback)
    history = trained(model, callback)
    assert_logged(history, expected_values(model.predict(X_VAL, verbose=0), Y_VAL))


def test_one_callback_for_two_models():
    callback = CalibrationCallback((X_VAL, Y_VAL))
    trained(compiled(), callback)
    other = compiled(network(seed=1))
    history = trained(other, callback)
    assert_logged(history, expected_values(other.predict(X_VAL, verbose=0), Y_VAL))


def test_evaluate_without_fit():
    model, callback = network(), CalibrationCallback((X_VAL, Y_VAL))
    callback.set_model(model)
    assert_logged(
        {k: [v] for k, v in callback.evaluate().items()}, expected_values(model(X_VAL, training=False).numpy(), Y_VAL)
    )


def test_the_callback_changes_nothing():
    # weights, batch-norm statistics, optimizer and random numbers (dropout): the same training with and without
    with_it, without = compiled(graph=True), compiled(graph=True)
    keras.utils.set_random_seed(5)
    history = trained(with_it, CalibrationCallback((X_VAL, Y_VAL)))
    keras.utils.set_random_seed(5)
    plain = without.fit(X, Y, len(X), epochs=2, verbose=0).history
    for a, b in zip(with_it.get_weights(), without.get_weights()):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(with_it.optimizer.variables, without.optimizer.variables):
        np.testing.assert_array_equal(a, b)
    assert {key: history[key] for key in plain} == plain


@pytest.mark.parametrize("as_dataset", [False, True], ids=["tuple", "dataset"])
def test_under_a_strategy(two_replicas, as_dataset):
    data = (X_VAL, Y_VAL)
    with two_replicas.scope():
        model = compiled(graph=True)
    callback = CalibrationCallback(tf.data.Dataset.from_tensor_slices(data).batch(7) if as_dataset else data)
    history = trained(model, callback, batch_size=16)
    assert_logged(history, expected_values(model(X_VAL, training=False).numpy(), Y_VAL))


def test_with_a_distiller():
    distiller = kls.Distiller(network(seed=1), network(), kls.distillation.LogitsDistillation())
    distiller.compile("adam", kls.losses.SmoothedCrossentropy(0.0), run_eagerly=True)
    history = trained(distiller, CalibrationCallback((X_VAL, Y_VAL)))
    assert_logged(history, expected_values(distiller.student.predict(X_VAL, verbose=0), Y_VAL))


def test_half_precision_predictions():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(CLASSES, dtype="mixed_float16")])
    model.compile("adam", kls.losses.SmoothedCrossentropy(0.0))
    history = trained(model, CalibrationCallback((X_VAL, Y_VAL)))
    logits = model.predict(X_VAL, verbose=0)  # in a graph, as an operation at a time may round otherwise
    assert logits.dtype == np.float16
    assert_logged(history, expected_values(logits.astype("float64"), Y_VAL))


def test_a_bound_is_logged_without_a_warning(recwarn):
    # untrained and always wrong: T at its upper bound, no advice for each of many epochs
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
    model.compile(keras.optimizers.SGD(0.0), kls.losses.SmoothedCrossentropy(0.0))
    x = np.eye(2, dtype="float32")
    history = model.fit(x, np.array([1, 0]), verbose=0, callbacks=[CalibrationCallback((x, np.array([1, 0])))]).history
    assert history["val_temperature"] == [100.0]
    assert history["val_nll"] == pytest.approx([np.log1p(np.e)], rel=1e-6)
    assert not [w for w in recwarn if "temperature" in str(w.message)]


@pytest.mark.parametrize(
    "data, message",
    [
        (tf.data.Dataset.from_tensor_slices(X_VAL).batch(9), r"batches of \(x, y\).*Received"),
        (
            tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(9).take(0),
            "one example. Received: an empty dataset",
        ),
        ((X_VAL, np.full(50, CLASSES)), r"labels in \[0, 4\).*Received: 4"),
        ((X_VAL, Y_VAL, np.zeros(50)), "weight above 0. Received: none"),
        ((np.full_like(X_VAL, np.nan), Y_VAL), "without NaN"),
    ],
    ids=["no labels", "empty", "label out of range", "no weight", "NaN"],
)
def test_errors(data, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        trained(compiled(), CalibrationCallback(data))


def test_data_that_can_be_read_only_once_is_refused_at_the_second_epoch():
    once = iter([(X_VAL, Y_VAL)])
    with pytest.raises(ValueError, match="Received: an empty dataset"):
        trained(compiled(), CalibrationCallback(once))


@pytest.mark.parametrize(
    "data, message",
    [
        (
            lambda: tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(9).repeat(),
            "`validation_data` to come to an end",
        ),
        (lambda: tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)), "single examples, without a batch axis"),
        (lambda: tf.data.Dataset.from_tensor_slices({"x": X_VAL, "y": Y_VAL}).batch(9), "dictionaries of x, y"),
        (lambda: X_VAL, r"ndarray of shape \(50, 5\). Put arrays into one tuple, \(x, y\)"),
        (lambda: (X_VAL, Y_VAL[:49]), r"x of shape \(50, 5\) with y of shape \(49,\)"),
        (lambda: None, "`validation_data` as batches.*None"),
        (lambda: compiled(), "`validation_data` as batches.*Received: Sequential"),
    ],
    ids=["endless", "not batched", "dictionaries", "x alone", "lengths", "None", "model"],
)
def test_data_that_are_refused_when_it_is_made(data, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        CalibrationCallback(data())


def test_labels_in_place_of_the_log_directory():
    batches = tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(9)
    with pytest.raises(
        ValueError, match=r"`log_dir` to be a path or None.*of shape \(50,\).*CalibrationCallback\(\(x, y\)\)"
    ):
        CalibrationCallback(batches, Y_VAL)


def test_steps_of_data_that_repeat():
    # the first two batches of 9, every epoch
    data = tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(9)
    model = compiled()
    history = trained(model, CalibrationCallback(data.repeat(), steps=2))
    callback = CalibrationCallback((X_VAL[:18], Y_VAL[:18]))
    callback.set_model(model)
    assert history["val_nll"][-1] == pytest.approx(callback.evaluate()["val_nll"], rel=1e-6)


def test_examples_without_a_batch_axis_and_one_hot_labels():
    # rank 1 for a label, so that only the model can tell
    data = tf.data.Dataset.from_tensor_slices((np.eye(5, dtype="float32"), np.eye(5)))
    with pytest.raises(ValueError, match=r"x of shape \(None, 5\). Received: x of shape \(5,\), without a batch axis"):
        trained(compiled(), CalibrationCallback(data))
