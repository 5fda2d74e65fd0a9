import keras
import numpy as np
import pytest

from keras_ls.losses import SmoothedCrossentropy, unigram_prior


def test_counts_by_hand():
    # 3 : 1 : 0 : 2 of 6
    labels = [0, 3, 0, 1, 3, 0]
    expected = [3 / 6, 1 / 6, 0, 2 / 6]
    tensor = keras.ops.convert_to_tensor(labels)
    for data in (labels, np.array(labels, "uint8"), np.array(labels, "float32"), np.reshape(labels, (2, 3)), tensor):
        prior = unigram_prior(data, 4)
        assert prior.dtype == "float64"
        np.testing.assert_allclose(prior, expected, rtol=1e-15)
    np.testing.assert_allclose(unigram_prior(np.array([True, False, True]), 2), [1 / 3, 2 / 3])


def test_dense_targets():
    targets = np.array([[0.5, 0.5, 0.0], [1, 0, 0], [0, 0.25, 0.75]], "float32")
    np.testing.assert_allclose(unigram_prior(targets, 3), [1.5 / 3, 0.75 / 3, 0.75 / 3])
    np.testing.assert_allclose(unigram_prior(targets[None], 3), [1.5 / 3, 0.75 / 3, 0.75 / 3])
    # weights 2, 0, 1
    np.testing.assert_allclose(unigram_prior((None, targets, [2, 0, 1]), 3), [1 / 3, 1.25 / 3, 0.75 / 3])
    np.testing.assert_allclose(unigram_prior((None, targets, [[2], [0], [1]]), 3), [1 / 3, 1.25 / 3, 0.75 / 3])


def test_padding_does_not_count():
    tokens = np.array([[1, 2, -1, -1], [2, 2, 1, -1]])
    np.testing.assert_allclose(unigram_prior(tokens, 3, ignore_class=-1), [0, 2 / 5, 3 / 5])
    # a weight a row: 1 · (1, 2) and 3 · (2, 2, 1)
    for weight in ([1.0, 3.0], [[1.0], [3.0]]):
        np.testing.assert_allclose(unigram_prior((None, tokens, weight), 3, ignore_class=-1), [0, 4 / 11, 7 / 11])


X = np.zeros((6, 2))
Y = np.array([0, 1, 1, 2, 1, 0])
W = np.array([1.0, 0.0, 2.0, 1.0, 1.0, 1.0])
PLAIN, WEIGHTED = [2 / 6, 3 / 6, 1 / 6], [2 / 6, 3 / 6, 1 / 6]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return X[2 * i : 2 * i + 2], Y[2 * i : 2 * i + 2]


def test_datasets():
    def generator():
        for i in range(3):
            yield [X[2 * i : 2 * i + 2], Y[2 * i : 2 * i + 2]]

    for data in ((X, Y), Batches(), generator(), [(X[:1], Y[:1]), (X[1:], Y[1:])], (X, Y[:, None])):
        np.testing.assert_allclose(unigram_prior(data, 3), PLAIN)
    # Σ w = 6: 1 + 1 of class 0, 0 + 2 + 1 of class 1, 1 of class 2
    for data in ((X, Y, W), (X, Y[:, None], W), iter([(X[:4], Y[:4], W[:4]), (X[4:], Y[4:], W[4:])])):
        np.testing.assert_allclose(unigram_prior(data, 3), WEIGHTED)


@pytest.mark.tensorflow
def test_tf_data():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(4)
    np.testing.assert_allclose(unigram_prior(data, 3), WEIGHTED)
    np.testing.assert_allclose(unigram_prior(data.map(lambda x, y, w: (x, tf.one_hot(y, 3))), 3), PLAIN)


def test_smooths_towards_it():
    # α · Σ u_k log 3 at equal logits, whatever u; class 0 of rate ¾ at p = (½, ½, 0...)
    prior = unigram_prior([0, 0, 0, 1], 3)
    value = SmoothedCrossentropy(0.4, prior=prior)([0], [[0.0, 0.0, -np.inf]])
    assert float(value) == pytest.approx(np.log(2), rel=1e-6)  # a class that never occurs may be impossible


@pytest.mark.parametrize(
    "data, message",
    [
        (
            [0, 3],
            r"^Expected integer labels in \[0, 3\), or rows of 3 that sum to 1\. Received: 3\. Use `ignore_class` for",
        ),
        ([0, -1], r"that sum to 1\. Received: -1\."),
        ([0.5], r"that sum to 1\. Received: 0\.5\."),
        ([np.nan], r"that sum to 1\. Received: nan\."),
        ([], r"^Expected at least one label of positive weight\. Received: none\.$"),
        ((X, Y, 0 * W), r"at least one label of positive weight"),
        ((X, Y, -W), r"weights without negative numbers or NaN\. Received: \["),
        ((X, Y, W * np.nan), r"weights without negative numbers or NaN\. Received: \["),
        ([[np.nan, 0.5, 0.5]], r"rows of 3 that sum to 1\. Received: nan"),
        ([[-1.0, 1.0, 1.0]], r"rows of 3 that sum to 1\. Received: -1"),
        ((X,), r"^Expected batches of \(x, y\) or \(x, y, sample_weight\)\. Received: tuple of 1\.$"),
        (iter([X]), r"Expected batches of \(x, y\).*Received: ndarray\.$"),
        ((0, 1, 1), r"Received: single examples, without a batch axis \(labels of shape \(\)\)"),  # labels in a tuple
        (np.array(["cat", "dog"]), r"Expected labels as an array of numbers\. Received: array\(\['cat', 'dog'\]"),
        ((X, {"a": Y}), r"Received: labels that are a dictionary of a\. Give one array"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        unigram_prior(data, 3)


@pytest.mark.parametrize("num_classes", [1, 0, 2.0, None, True])
def test_bad_number_of_classes(num_classes):
    with pytest.raises(ValueError, match=r"Expected `num_classes` to be an integer of at least 2\. Received"):
        unigram_prior([0], num_classes)


def test_bad_ignored_class():
    with pytest.raises(ValueError, match=r"Expected `ignore_class` to be an integer or None\. Received: 'pad'"):
        unigram_prior([0], 2, ignore_class="pad")


def test_one_hot_labels_of_any_dtype_and_ids_as_floats():
    for dtype in ("int64", "bool", "float32"):
        np.testing.assert_allclose(unigram_prior(np.eye(3, dtype=dtype)[[0, 0, 1, 2]], 3), [0.5, 0.25, 0.25])
    # three tokens of three classes: rows that do not sum to 1 are ids
    np.testing.assert_allclose(unigram_prior(np.array([[0.0, 1, 1], [2, 2, 2]]), 3), [1 / 6, 2 / 6, 3 / 6])


@pytest.mark.tensorflow
def test_data_that_repeat():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2).repeat()
    with pytest.raises(
        ValueError, match=r"^Expected `data` to come to an end\. .* Leave `repeat` out, or pass `steps`"
    ):
        unigram_prior(data, 3)
    np.testing.assert_allclose(unigram_prior(data, 3, steps=3), PLAIN)
    np.testing.assert_allclose(unigram_prior(data, 3, steps=1), [0.5, 0.5, 0])  # labels 0 and 1


def test_arrays_of_different_lengths():
    with pytest.raises(ValueError, match=r"x of shape \(6, 2\) with y of shape \(5,\)"):
        unigram_prior((X, Y[:5]), 3)
