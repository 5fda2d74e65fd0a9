"""`TemperatureScaling`: published values, every way to call `fit`, and the layer in models."""

import math
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.calibrators import TemperatureScaling
from tests.calibrators.test_temperature_solver import nll, random_problem, scipy_temperature

LENET = pathlib.Path(__file__).parents[2] / "../shared/data/predictions/lenet-5-cifar-10.npz"


@pytest.fixture
def problem():
    logits, labels = random_problem(0, examples=60, classes=4)
    return logits.astype("float32"), labels


def identity_model(classes=4):
    model = keras.Sequential([keras.Input((classes,)), keras.layers.Dense(classes, use_bias=False)])
    model.set_weights([np.eye(classes)])
    return model


def test_two_examples():
    # 1/T = .41777049; stored as float32, good for 7 digits
    scaling = TemperatureScaling().fit(np.log([[0.2, 0.8], [0.3, 0.7]]), [1, 0])
    assert 1 / scaling.temperature == pytest.approx(0.41777049, rel=2e-7)


@pytest.mark.skipif(not LENET.exists(), reason="the LeNet-5 predictions are not part of the repository")
def test_lenet_on_cifar10():
    # 10,000 published predictions: NLL 1.369868; the best T on them 1.396779, NLL 1.311497 and ECE .012963 there
    data = np.load(LENET)
    logits, labels = np.log(data["predictions"]), data["ground_truth"]
    scaling = TemperatureScaling().fit(logits, labels)
    assert scaling.temperature == pytest.approx(1.396779, abs=1e-6)
    assert scaling.fit_report.nll_before == pytest.approx(1.369868, abs=1e-6)
    assert scaling.fit_report.nll_after == pytest.approx(1.311497, abs=1e-6)
    assert float(kls.ops.calibration_error(labels, keras.ops.softmax(scaling(logits)))) == pytest.approx(
        0.012963, abs=2e-6
    )


def test_call_divides_by_the_temperature():
    outputs = TemperatureScaling(temperature=4.0)(np.array([[2.0, -6.0]], "float32"))
    np.testing.assert_array_equal(outputs, [[0.5, -1.5]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_any_input_dtype_gives_float32(dtype):
    # 3/2 and 5/2 are exact; 60000/0.5 would overflow in float16
    outputs = TemperatureScaling(temperature=2.0)(tf.constant([3, 5], dtype))
    assert outputs.dtype == tf.float32
    np.testing.assert_array_equal(outputs, [1.5, 2.5])
    np.testing.assert_array_equal(TemperatureScaling(temperature=0.5)(tf.constant([60000.0], tf.float16)), [120000.0])


def test_decisions_stay(problem):
    logits, labels = problem
    scaling = TemperatureScaling().fit(logits, labels)
    assert scaling.temperature > 1.5
    np.testing.assert_array_equal(np.argmax(scaling(logits), axis=1), logits.argmax(axis=1))


def test_float32_logits_move_the_temperature(problem):
    logits, labels = problem
    assert logits.dtype == np.float32
    expected = scipy_temperature(logits.astype("float64"), labels)
    assert expected > 1.5
    assert TemperatureScaling().fit(logits, labels).temperature == pytest.approx(expected, rel=1e-6)


def test_a_second_fit_starts_afresh(problem):
    logits, labels = problem
    scaling = TemperatureScaling(temperature=50.0).fit(logits, labels)
    first = scaling.temperature
    assert scaling.fit(logits, labels) is scaling
    assert scaling.temperature == first
    assert scaling.fit_report.nll_before == pytest.approx(nll(1.0, logits, labels), rel=1e-6)  # at 1, not at 50


def test_labels_in_other_shapes(problem):
    logits, labels = problem
    expected = TemperatureScaling().fit(logits, labels).temperature
    for given in (labels[:, None], labels.tolist(), labels.astype("float32"), np.eye(4)[labels], tf.constant(labels)):
        assert TemperatureScaling().fit(logits, given).temperature == pytest.approx(expected, rel=1e-7)


def test_soft_labels():
    # target (.8, .2) at a gap of 3: sigmoid(3/T) = .8
    fitted = TemperatureScaling().fit([[3.0, 0.0]], [[0.8, 0.2]])
    assert fitted.temperature == pytest.approx(3 / math.log(4), rel=1e-6)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2, 1)])
def test_binary_logits(shape):
    # 3 of 4 positive at logit 2: T = 2 / log 3
    logits, labels = np.full(shape, 2.0), np.reshape([1, 1, 1, 0], shape)
    assert TemperatureScaling().fit(logits, labels).temperature == pytest.approx(2 / math.log(3), rel=1e-6)


def test_binary_soft_labels():
    assert TemperatureScaling().fit([2.0], [0.75]).temperature == pytest.approx(2 / math.log(3), rel=1e-6)


def test_sequences(problem):
    # [batch, time, K]: as if flat; weights one an example count for each of its steps
    logits, labels = problem
    steps, step_labels = logits.reshape(20, 3, 4), labels.reshape(20, 3)
    expected = TemperatureScaling().fit(logits, labels)
    assert TemperatureScaling().fit(steps, step_labels).temperature == pytest.approx(expected.temperature, rel=1e-7)

    weight = np.arange(20) % 3
    by_step = TemperatureScaling().fit(steps, step_labels, sample_weight=np.repeat(weight, 3).reshape(20, 3))
    by_example = TemperatureScaling().fit(steps, step_labels, sample_weight=weight)
    peer = scipy_temperature(logits, labels, np.repeat(weight, 3))
    assert by_step.temperature == pytest.approx(peer, rel=1e-6)
    assert by_example.temperature == pytest.approx(peer, rel=1e-6)


def test_sample_weight(problem):
    logits, labels = problem
    weight = np.random.default_rng(1).exponential(size=60)
    scaling = TemperatureScaling().fit(logits, labels, sample_weight=weight)
    assert scaling.temperature == pytest.approx(scipy_temperature(logits, labels, weight), rel=1e-6)
    assert scaling.fit_report.weight == pytest.approx(weight.sum(), rel=1e-6)


def test_a_dropped_example_may_hold_anything(problem):
    logits, labels = problem
    kept = TemperatureScaling().fit(logits[:50], labels[:50]).temperature
    logits, labels = logits.copy(), labels.copy()
    logits[50:], labels[50:] = np.nan, -1
    weight = np.arange(60) < 50
    assert TemperatureScaling().fit(logits, labels, sample_weight=weight).temperature == pytest.approx(kept, rel=1e-7)


def test_warnings_at_the_bounds():
    with pytest.warns(UserWarning, match="lower bound 0.01.*held-out data"):
        scaling = TemperatureScaling().fit([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    assert (scaling.temperature, scaling.fit_report.at_bound) == (pytest.approx(0.01), "lower")
    with pytest.warns(UserWarning, match="upper bound 20.*anti-informative"):
        scaling = TemperatureScaling(bounds=(0.5, 20)).fit([[1.0, 0.0], [0.0, 1.0]], [1, 0])
    assert (scaling.temperature, scaling.fit_report.at_bound) == (20.0, "upper")
    with pytest.warns(UserWarning, match="all equal"):
        assert TemperatureScaling(temperature=3.0).fit(np.zeros((2, 3)), [0, 1]).temperature == 1.0


def test_no_warning_for_a_good_fit(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert TemperatureScaling().fit(*problem).fit_report.at_bound is None


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 9

    def __getitem__(self, index):
        return tuple(array[7 * index : 7 * index + 7] for array in self.arrays)


DATA = {
    "tuple": lambda *arrays: arrays,
    "shuffled tf.data": lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays).shuffle(60, seed=0).batch(7),
    "PyDataset": Batches,
    "list of batches": lambda *arrays: [tuple(a[:30] for a in arrays), tuple(a[30:] for a in arrays)],
}


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_model_and_dataset(problem, make, weighted):
    logits, labels = problem
    weight = (np.arange(60) % 4).astype("float32")
    dataset = make(logits, labels, weight) if weighted else make(logits, labels)
    scaling = TemperatureScaling().fit(identity_model(), dataset)
    expected = scipy_temperature(logits, labels, weight if weighted else None)
    assert scaling.temperature == pytest.approx(expected, rel=1e-6)
    assert scaling.fit_report.weight == (weight.sum() if weighted else 60)


def test_labels_and_logits_stay_paired_when_every_reading_shuffles_anew(problem):
    logits, labels = problem
    dataset = tf.data.Dataset.from_tensor_slices((logits, labels)).shuffle(60).batch(8)  # another order each time
    assert next(iter(dataset))[1].numpy().tolist() != labels[:8].tolist()
    expected = scipy_temperature(logits, labels)
    for _ in range(3):
        assert TemperatureScaling().fit(identity_model(), dataset).temperature == pytest.approx(expected, rel=1e-6)


def test_padded_steps_of_a_model_do_not_count():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, (20, 5))
    for row, length in enumerate(rng.integers(1, 6, 20)):
        ids[row, length:] = 0
    keras.utils.set_random_seed(0)
    embedding = keras.layers.Embedding(
        9, 4, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(0, 4)
    )
    model = keras.Sequential([keras.Input((5,), dtype="int32"), embedding, keras.layers.Dense(3)])
    logits = model(ids).numpy()
    labels = (logits / 3 + rng.gumbel(size=logits.shape)).argmax(axis=-1)
    keep = ids != 0
    expected = scipy_temperature(logits[keep], labels[keep])
    labels[~keep] = -1  # what padding may hold
    scaling = TemperatureScaling().fit(model, tf.data.Dataset.from_tensor_slices((ids, labels)).batch(6))
    assert scaling.temperature == pytest.approx(expected, rel=1e-6)
    assert scaling.fit_report.weight == keep.sum()

    # weights of the dataset multiply the mask
    weight = rng.integers(0, 3, (20, 5)).astype("float32")
    scaling = TemperatureScaling().fit(model, (ids, labels, weight))
    labels[~keep] = 0
    expected = scipy_temperature(logits.reshape(-1, 3), labels.reshape(-1), (weight * keep).reshape(-1))
    assert scaling.temperature == pytest.approx(expected, rel=1e-6)


def test_a_mask_passes_through():
    layers = [keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.Dense(3), TemperatureScaling(2.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns of a layer that destroys masks
        outputs = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])(np.array([[3, 0, 4]]))
    assert np.array(outputs._keras_mask).tolist() == [[True, False, True]]


def test_fit_runs_the_model_in_inference_mode_and_changes_nothing(problem):
    logits, labels = problem
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.9), keras.layers.BatchNormalization()])
    before = [w.copy() for w in model.get_weights()]
    # fresh batch normalisation divides by sqrt(1 + .001)
    expected = scipy_temperature(logits / math.sqrt(1.001), labels)
    assert TemperatureScaling().fit(model, (logits, labels)).temperature == pytest.approx(expected, rel=1e-6)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_config_keeps_the_fitted_temperature(problem):
    scaling = TemperatureScaling(bounds=(0.5, 7.0), name="mine").fit(*problem)
    again = TemperatureScaling.from_config(scaling.get_config())
    assert (again.temperature, again.bounds, again.name) == (scaling.temperature, (0.5, 7.0), "mine")
    assert again.fit_report is None
    assert again.temperature != 1


def test_inside_a_saved_model(problem, tmp_path):
    logits, labels = problem
    model = identity_model()
    scaling = TemperatureScaling().fit(model, (logits, labels))
    calibrated = keras.Sequential([model, scaling, keras.layers.Softmax()])
    calibrated.save(tmp_path / "calibrated.keras")
    loaded = keras.models.load_model(tmp_path / "calibrated.keras")
    assert loaded.layers[1].temperature == scaling.temperature
    z = logits.astype("float64") / scaling.temperature
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.predict(logits, verbose=0), expected, rtol=2e-5)


def test_training_a_model_leaves_the_temperature(problem):
    logits, labels = problem
    scaling = TemperatureScaling(3.0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), scaling])
    assert len(model.trainable_weights) == 2
    model.compile("sgd", kls.losses.SmoothedCrossentropy(0.0))
    model.fit(logits, labels, verbose=0)
    assert scaling.temperature == 3.0


def test_output_shape():
    scaling = TemperatureScaling()
    assert scaling.compute_output_shape((None, 7, 3)) == (None, 7, 3)
    assert scaling(keras.Input((7, 3))).shape == (None, 7, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"temperature": 0}, "`temperature` > 0. Received: 0"),
        ({"temperature": -1.0}, "`temperature` > 0. Received: -1.0"),
        ({"temperature": float("nan")}, "`temperature` > 0. Received: nan"),
        ({"temperature": "hot"}, "`temperature` > 0. Received: 'hot'"),
        ({"bounds": (2.0, 1.0)}, r"0 < lower < upper. Received: \(2.0, 1.0\)"),
        ({"bounds": (0.0, 1.0)}, r"`bounds\[0\]` > 0. Received: 0.0"),
        ({"bounds": (1.0, float("inf"))}, r"`bounds\[1\]` > 0. Received: inf"),
        ({"bounds": 3.0}, r"\(lower, upper\). Received: 3.0"),
        ({"bounds": None}, r"\(lower, upper\). Received: None"),
    ],
)
def test_constructor_errors(arguments, message):
    with pytest.raises(ValueError, match=f"Expected {message}" if message.startswith("`") else message):
        TemperatureScaling(**arguments)


def test_unknown_argument():
    with pytest.raises(TypeError, match="Received: temprature"):
        TemperatureScaling(temprature=2.0)


Z = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.5]])


@pytest.mark.parametrize(
    "logits, labels, weight, message",
    [
        (Z, None, None, r"`fit\(logits, labels\)`.*Received: no labels"),
        (Z, [0, 3], None, r"labels in \[0, 3\).*Received: 3"),
        (Z, [-1, 0], None, r"labels in \[0, 3\).*Received: -1"),
        (Z, [0.5, 1.0], None, r"labels in \[0, 3\).*Received: 0.5"),
        (Z, [0, 1, 2], None, r"Received: labels of shape \(3,\), predictions of shape \(2, 3\)"),
        (Z, np.eye(4)[:2], None, r"Received: labels of shape \(2, 4\), predictions of shape \(2, 3\)"),
        (Z[:0], np.zeros(0, int), None, r"at least one example. Received: predictions of shape \(0, 3\)"),
        (Z, [0, 1], [0.0, 0.0], "weight above 0. Received: none"),
        (Z, [0, 1], [1.0, -2.0], "without negative numbers.* Received: -2.0"),
        (Z, [0, 1], [1.0, np.nan], "without negative numbers.* Received: nan"),
        (Z, [0, 1], [1.0, 1.0, 1.0], r"broadcastable to \(2,\).*Received: shape \(3,\)"),
        (np.where(Z == 2, np.nan, Z), [0, 1], None, "without NaN or .inf. Received: 1 such"),
        (np.where(Z == 2, np.inf, Z), [0, 1], None, "without NaN or .inf. Received: 1 such"),
        ([0.3, -0.2], [0, 2], None, r"binary labels in \[0, 1\]\. Received: 2"),
        ([0.3, -0.2], [0, 1, 1], None, r"one label a prediction.*Received: labels of shape \(3,\)"),
    ],
)
def test_fit_errors(logits, labels, weight, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        TemperatureScaling().fit(logits, labels, weight)


def test_a_failed_fit_leaves_the_layer(problem):
    scaling = TemperatureScaling().fit(*problem)
    temperature, report = scaling.temperature, scaling.fit_report
    with pytest.raises(ValueError):
        scaling.fit(Z, [0, 9])
    assert (scaling.temperature, scaling.fit_report) == (temperature, report)


def test_fit_of_a_model_without_dataset_or_with_a_third_argument():
    with pytest.raises(ValueError, match=r"`fit\(model, dataset\)`.*Received: no dataset"):
        TemperatureScaling().fit(identity_model())
    with pytest.raises(ValueError, match=r"weights in the dataset.*Received: a third argument"):
        TemperatureScaling().fit(identity_model(), (np.eye(4), np.arange(4)), np.ones(4))
