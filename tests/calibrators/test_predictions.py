"""`PredictionReader`: labels, predictions, weights and masks of a dataset, kept together."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ls.calibrators.predictions import PredictionReader

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10) % 2


def doubling(**arguments):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)], **arguments)
    model.set_weights([2 * np.eye(2)])
    return model


def test_reads_in_order():
    labels, predictions, weight = PredictionReader(doubling()).read((X, Y))
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_array_equal(predictions, 2 * X)
    np.testing.assert_array_equal(weight, np.ones(10))


@pytest.mark.parametrize("batch_size, sizes", [(4, [4, 4, 2]), (5, [5, 5]), (100, [10])])
def test_batches_of_arrays(batch_size, sizes):
    batches = list(PredictionReader(doubling(), batch_size).batches((X, Y)))
    assert [len(labels) for labels, _, _ in batches] == sizes


def test_one_forward_pass_a_batch_and_one_reading_of_the_dataset():
    calls, read = [], []

    class Counting(keras.layers.Layer):
        def call(self, x):
            tf.py_function(lambda v: calls.append(len(v)), [x], [])
            return x

    def batches():
        for start in (0, 4, 8):
            read.append(start)
            yield X[start : start + 4], Y[start : start + 4]

    signature = (tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    PredictionReader(keras.Sequential([keras.Input((2,)), Counting()])).read(dataset)
    assert calls == [4, 4, 2]
    assert read == [0, 4, 8]


def test_weights_broadcast_and_none_means_ones():
    reader = PredictionReader(doubling(), 4)
    np.testing.assert_array_equal(reader.read((X, Y, Y + 1))[2], Y + 1)
    np.testing.assert_array_equal(reader.read((X, Y, None))[2], np.ones(10))
    np.testing.assert_array_equal(reader.read([(X, Y, None)])[2], np.ones(10))


def test_labels_as_a_python_list():
    np.testing.assert_array_equal(PredictionReader(doubling(), 3).read((X, Y.tolist()))[0], Y)


def test_several_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"a": a, "b": b}, keras.layers.Subtract()([a, b]))
    _, predictions, _ = PredictionReader(model, 4).read(({"a": 3 * X, "b": X}, Y))
    np.testing.assert_array_equal(predictions, 2 * X)


def test_later_weights_of_the_model_are_used():
    # one reader serves every epoch of a training
    model = doubling()
    reader = PredictionReader(model)
    reader.read((X, Y))
    model.set_weights([5 * np.eye(2)])
    np.testing.assert_array_equal(reader.read((X, Y))[1], 5 * X)


def test_a_mask_becomes_weight_zero():
    embedding = keras.layers.Embedding(4, 3, mask_zero=True)
    model = keras.Sequential([keras.Input((3,), dtype="int32"), embedding])
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    labels, predictions, weight = PredictionReader(model).read((ids, np.array([[0, 1, -1], [2, -1, -1]])))
    np.testing.assert_array_equal(weight, [1, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(labels, [0, 1, 0, 2, 0, 0])
    np.testing.assert_array_equal(predictions, embedding.get_weights()[0][ids.reshape(-1)])


@pytest.mark.parametrize(
    "data, message",
    [
        (tf.data.Dataset.from_tensor_slices(X).batch(4), r"batches of \(x, y\).*Received: Tensor"),
        ((X,), r"batches of \(x, y\).*Received: tuple of 1"),
        ([(X, Y, Y, Y)], r"batches of \(x, y\).*Received: tuple of 4"),
        (
            tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).take(0),
            "at least one example. Received: an empty dataset",
        ),
        ((X[:0], Y[:0]), "at least one example. Received: an empty dataset"),
    ],
    ids=["no labels", "tuple without labels", "too many", "empty dataset", "empty arrays"],
)
def test_errors(data, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        PredictionReader(doubling()).read(data)


def test_a_model_with_several_outputs():
    inputs = keras.Input((2,))
    with pytest.raises(ValueError, match=r"one output. Received: several"):
        PredictionReader(keras.Model(inputs, [inputs + 1, inputs + 2])).read((X, Y))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("dense", [False, True], ids=["integer", "dense"])
def test_a_folder_takes_what_exceeds_the_budget(policy, dense, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_ls.calibrators.predictions.BUDGET", 12)
    labels = np.eye(2, dtype="float32")[Y] if dense else Y
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False, dtype=policy)])
    reader = PredictionReader(model, 4)
    in_memory = reader.read((X, labels, Y + 1))
    on_disk = reader.read((X, labels, Y + 1), tmp_path)
    for a, b in zip(in_memory, on_disk):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.array(b, "float32"), a.astype("float32"))
    # 10 labels and weights are few enough, 20 logits are not
    files = {"labels", "predictions"} if dense else {"predictions"}
    assert {path.name for path in tmp_path.iterdir()} == files
    assert isinstance(on_disk[1], np.memmap) and not on_disk[1].flags.writeable
