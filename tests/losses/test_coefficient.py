"""α and the weights of penalties: variables of their losses."""

import copy
import json
import math
import warnings

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.losses.coefficient import Coefficient, number
from tests.losses import ways

losses = kls.losses
COEFFICIENTS = {
    "SmoothedCrossentropy": (losses.SmoothedCrossentropy, "label_smoothing"),
    "SmoothedCrossentropy-prior": (
        lambda alpha, **k: losses.SmoothedCrossentropy(alpha, [0.1, 0.2, 0.3, 0.4], **k),
        "label_smoothing",
    ),
    "OnlineLabelSmoothing": (lambda alpha, **k: losses.OnlineLabelSmoothing(4, alpha, **k), "label_smoothing"),
    "BinarySmoothedCrossentropy": (losses.BinarySmoothedCrossentropy, "label_smoothing"),
    "MarginSmoothing": (lambda weight, **k: losses.MarginSmoothing(1.0, weight, **k), "weight"),
    "MaxSuppression": (losses.MaxSuppression, "weight"),
    "ConfidencePenalty": (losses.ConfidencePenalty, "weight"),
}
each = pytest.mark.parametrize("make, attribute", COEFFICIENTS.values(), ids=COEFFICIENTS)


def batch(loss):
    labels, logits = ways.batch((6,))
    return (np.eye(4)[labels] if isinstance(loss, losses.BinarySmoothedCrossentropy) else labels), logits


@each
def test_assigning_is_as_making_anew(make, attribute):
    loss = make(0.2)
    before = float(loss(*batch(loss)))
    for value in (0.6, 0, np.float32(0.3), 0.2):
        setattr(loss, attribute, value)
        assert isinstance(getattr(loss, attribute), keras.Variable)
        assert not getattr(loss, attribute).trainable
        assert float(loss(*batch(loss))) == float(make(value)(*batch(loss)))
        assert loss.get_config()[attribute] == (0.3 if isinstance(value, np.float32) else value)
    assert float(loss(*batch(loss))) == before


@each
def test_assigning_to_the_variable_itself(make, attribute):
    loss = make(0.2)
    getattr(loss, attribute).assign(0.7)
    assert float(loss(*batch(loss))) == float(make(0.7)(*batch(loss)))


@each
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None, True, [0.1]])
def test_bad_values_leave_it_as_it_was(make, attribute, value):
    loss = make(0.2)
    with pytest.raises(ValueError) as error:
        setattr(loss, attribute, value)
    expected = "in [0, 1)" if attribute == "label_smoothing" else ">= 0"
    assert str(error.value) == f"Expected `{attribute}` {expected}. Received: {value!r}."
    assert number(getattr(loss, attribute)) == 0.2
    with pytest.raises(ValueError, match=attribute):
        make(value)


@pytest.mark.float64
def test_a_number_that_float32_rounds_out_of_its_range():
    # 1 - 1e-8 is 1 in float32: a saved model with it could not be read again
    with pytest.raises(ValueError, match=r"Expected `label_smoothing` in \[0, 1\)\. Received: 1\.0"):
        losses.SmoothedCrossentropy(1 - 1e-8)
    assert losses.SmoothedCrossentropy(1 - 1e-8, dtype="float64").get_config()["label_smoothing"] == 1 - 1e-8


@each
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.float64)])
def test_configurations_hold_the_number_that_was_set(make, attribute, dtype):
    # .1 and not .10000000149; 1/3 as the shortest number of the same float32
    for value, kept in ((0.1, 0.1), (0.05, 0.05), (1e-7, 1e-7), (1 / 3, 1 / 3 if dtype == "float64" else 0.33333334)):
        loss = make(value, dtype=dtype)
        config = json.loads(json.dumps(loss.get_config()))
        assert config[attribute] == kept
        assert number(getattr(type(loss).from_config(config), attribute)) == kept


@each
def test_losses_do_not_share_it(make, attribute):
    one, other = make(0.2), make(0.2)
    copied = copy.deepcopy(one)
    setattr(one, attribute, 0.5)
    assert (number(getattr(other, attribute)), number(getattr(copied, attribute))) == (0.2, 0.2)
    assert isinstance(getattr(type(one), attribute), Coefficient)


@pytest.mark.tensorflow
@each
def test_takes_effect_in_a_traced_function(make, attribute):
    import tensorflow as tf

    loss, traces = make(0.2), []

    @tf.function
    def value(labels, logits):
        traces.append(1)
        return loss(labels, logits)

    labels, logits = map(tf.constant, batch(loss))
    for coefficient in (0.2, 0.7, 0.0):
        setattr(loss, attribute, coefficient)
        assert float(value(labels, logits)) == pytest.approx(float(make(coefficient)(labels, logits)), rel=1e-6)
    assert len(traces) == 1


@pytest.mark.tensorflow
@each
def test_under_a_strategy(two_replicas, make, attribute):
    import tensorflow as tf

    with two_replicas.scope():
        loss = make(0.2)
        setattr(loss, attribute, 0.4)
        assert loss.get_config()[attribute] == 0.4
    setattr(loss, attribute, 0.6)
    assert number(getattr(loss, attribute)) == 0.6
    labels, logits = map(tf.constant, batch(loss))
    results = tf.function(lambda: two_replicas.run(lambda: loss(labels, logits)))()
    # replicas with equal batches share the loss of both
    for result in two_replicas.experimental_local_results(results):
        assert float(result) == pytest.approx(float(make(0.6)(*batch(loss))) / 2, rel=1e-5)


def test_a_saved_model_keeps_the_last_number(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", losses.SmoothedCrossentropy(0.2))
    model.loss.label_smoothing = 0.35
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert number(loaded.loss.label_smoothing) == 0.35


# weights of a model whose loss was made with another number ----------------------------------------------------------


def with_loss(*args, **options):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", losses.SmoothedCrossentropy(*args, **options))
    return model


def test_weights_of_a_loss_made_with_another_number_say_so(tmp_path):
    saved, path = with_loss(0.3), tmp_path / "saved.weights.h5"
    saved.loss.label_smoothing = 0.05  # as a schedule left it
    saved.save_weights(path)
    fresh = with_loss(0.1)
    with pytest.warns(UserWarning) as warned:
        fresh.load_weights(path)
    assert [str(w.message) for w in warned if w.category is UserWarning] == [
        "Expected weights saved with a SmoothedCrossentropy that was made with the same `label_smoothing`. Received: "
        "label_smoothing=0.05 in the file, 0.1 in the model. The file's counts from now on, as it is saved like the "
        "weights. To keep the model's, set `loss.label_smoothing = 0.1` after `load_weights`."
    ]
    assert number(fresh.loss.label_smoothing) == 0.05


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.float64)])
def test_weights_of_a_loss_made_with_the_same_number_say_nothing(dtype, tmp_path):
    path = tmp_path / "saved.weights.h5"
    saved = with_loss(np.float32(0.3), dtype=dtype)
    saved.loss.label_smoothing = 0.05
    saved.save_weights(path)
    saved.save(tmp_path / "saved.keras")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Expected")
        fresh = with_loss(np.float32(0.3), dtype=dtype)
        fresh.load_weights(path)
        assert number(fresh.loss.label_smoothing) == 0.05
        with_loss(0.05, dtype=dtype).load_weights(path)  # nothing changes
        assert number(keras.models.load_model(tmp_path / "saved.keras").loss.label_smoothing) == 0.05


def test_weights_of_a_loss_made_without_a_number(tmp_path):
    Distillation = kls.distillation.LogitsDistillation

    def distiller(*temperatures):
        student = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        return kls.Distiller(None, student, [Distillation(*temperatures)])

    made_without, path = distiller(4.0), tmp_path / "saved.weights.h5"
    made_without.distillation_losses[0].student_temperature = 2.0
    made_without.save_weights(path)
    same = distiller(4.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Expected")
        same.load_weights(path)
    assert number(same.distillation_losses[0].student_temperature) == 2.0
    with pytest.warns(UserWarning, match=r"student_temperature=2 in the file, 1 in the model"):
        distiller(4.0, 1.0).load_weights(path)
