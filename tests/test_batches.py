"""`Batches`: every dataset of (x, y) that Keras takes, and what is refused before it is read."""

import itertools

import keras
import numpy as np
import pytest

from keras_ls import batches
from keras_ls.batches import Batches

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10)
W = Y / 2


def labels(data, **arguments):
    return [np.asarray(y).tolist() for _, y, _ in Batches(data, **arguments)]


class Slices(keras.utils.PyDataset):
    """Batches of four; `end` is what `num_batches` says."""

    def __init__(self, end=2):
        super().__init__()
        self.end = end

    @property
    def num_batches(self):
        return self.end

    def __getitem__(self, i):
        start = 4 * (i % 2)
        return X[start : start + 4], Y[start : start + 4]


def generator(count=2):
    for i in range(count) if count else itertools.count():
        yield Slices()[i]


TWO = [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    "data",
    [
        lambda: (X[:8], Y[:8]),
        lambda: (X[:8].tolist(), Y[:8].tolist()),
        lambda: (X[:8], Y[:8], None),
        lambda: ({"a": X[:8], "b": X[:8]}, Y[:8]),
        lambda: ([X[:8], X[:8]], Y[:8]),
        lambda: (None, Y[:8]),
        Slices,
        generator,
        lambda: [Slices()[0], Slices()[1]],
        lambda: [list(Slices()[0]), (X[4:8], Y[4:8], None)],
    ],
    ids=["arrays", "lists", "no weight", "dict", "several", "no inputs", "PyDataset", "generator", "list", "mixed"],
)
def test_what_is_read(data):
    assert labels(data(), batch_size=4) == TWO
    assert labels(data(), batch_size=4, steps=1) == TWO[:1]


def test_batches_of_a_tuple():
    (x, y, weight), *others = Batches(({"a": X, "b": X[:, :1]}, Y.tolist(), W.tolist()), batch_size=6)
    np.testing.assert_array_equal(x["a"], X[:6])
    np.testing.assert_array_equal(x["b"], X[:6, :1])
    np.testing.assert_array_equal(y, Y[:6])
    np.testing.assert_array_equal(weight, W[:6])
    assert [len(y) for _, y, _ in others] == [4]
    assert labels((X, Y), batch_size=None) == [Y.tolist()]


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}, index=[7, 8, 9])
    (x, y, _), (last, _, _) = Batches((frame, pandas.Series([0, 1, 0], index=[7, 8, 9])), batch_size=2)
    np.testing.assert_array_equal(x, [[1, 4], [2, 5]])
    np.testing.assert_array_equal(last, [[3, 6]])
    assert y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"Received: DataFrame of shape \(3, 2\). Put arrays into one tuple, \(x, y\)"):
        Batches(frame)


def test_a_data_loader_of_pytorch():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.tensor(X[:8]), torch.tensor(Y[:8]))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    assert Batches(loader).number == 2
    assert labels(loader) == TWO
    if keras.backend.backend() != "torch":
        assert all(isinstance(x, np.ndarray) for x, _, _ in Batches(loader))
    with pytest.raises(ValueError, match="without a batch axis"):
        labels(data)


@pytest.mark.parametrize(
    "data",
    [
        lambda: Slices(None),
        lambda: Slices(float("inf")),
        lambda: itertools.cycle([(X, Y)]),
        lambda: itertools.repeat((X, Y)),
    ],
    ids=["PyDataset None", "PyDataset inf", "cycle", "repeat"],
)
def test_without_an_end(data):
    with pytest.raises(
        ValueError, match=r"^Expected `mine` to come to an end\. Received: .* repeats for ever\. Leave `repeat` out, or"
    ):
        Batches(data(), "mine")
    assert len(labels(data(), steps=3)) == Batches(data(), steps=3).number == 3


def test_a_generator_without_an_end(monkeypatch):
    assert labels(generator(None), steps=3) == [*TWO, TWO[0]]
    monkeypatch.setattr(batches, "UNKNOWN_LENGTH", 5)
    with pytest.warns(UserWarning, match=r"Received: 5 batches so far, of data that tell no length.*pass `steps`"):
        labels(generator(6))


def test_fewer_batches_than_steps():
    # Keras warns and goes on with what there is
    for data in ((X[:8], Y[:8]), generator(), Slices()):
        with pytest.warns(
            UserWarning, match=r"Expected 5 batches, as `steps` says\. Received: 2, all that `dataset` has"
        ):
            assert labels(data, batch_size=4, steps=5) == TWO


@pytest.mark.parametrize("steps", [0, -1, 2.0, True, "all"])
def test_steps_that_are_no_count(steps):
    with pytest.raises(ValueError, match="Expected `steps` to be an integer of at least 1"):
        Batches((X, Y), steps=steps)


@pytest.mark.tensorflow
def test_tf_data():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X[:8], Y[:8])).batch(4)
    assert Batches(data).number == 2
    assert labels(data) == TWO
    with pytest.raises(ValueError, match="Expected `dataset` to come to an end"):
        Batches(data.repeat())
    assert labels(data.repeat(), steps=3) == [*TWO, TWO[0]]
    assert labels(data.filter(lambda x, y: True)) == TWO  # of unknown length
    assert labels(data.map(lambda x, y: (x, y, None))) == TWO


@pytest.mark.tensorflow
def test_tf_data_is_refused_unread():
    import tensorflow as tf

    def unread():
        raise AssertionError("read")
        yield

    def of(*signature):
        return tf.data.Dataset.from_generator(
            unread, output_signature=signature[0] if len(signature) == 1 else signature
        )

    rows, one, label = tf.TensorSpec((None, 2)), tf.TensorSpec((2,)), tf.TensorSpec((), tf.int32)
    many = tf.TensorSpec((None,), tf.int32)
    for data, message in (
        (of(rows), r"^Expected batches of \(x, y\) or \(x, y, sample_weight\)\. Received: Tensor\."),
        (of(rows, many, many, many), "Received: tuple of 4"),
        (of({"image": rows, "label": many}), "Received: dictionaries of image, label. Map them to tuples"),
        (of(one, label), r"single examples, without a batch axis \(labels of shape \(\)\)"),
        (of(one, tf.TensorSpec((10,))), r"x of shape \(2,\) with y of shape \(10,\).*call `batch`"),
        (of(rows, {"a": many}), "labels that are a dictionary of a. Give one array"),
    ):
        with pytest.raises(ValueError, match=message):
            Batches(data)


@pytest.mark.parametrize(
    "data, message",
    [
        (None, "Received: None"),
        ("val", "Received: 'val'"),
        (3, "Received: 3"),
        (X, r"Received: ndarray of shape \(10, 2\). Put arrays into one tuple, \(x, y\)"),
        ([X, Y], "Received: a list of ndarray. Put arrays into one tuple"),
        ({"x": X, "y": Y}, "Received: a dictionary of x, y"),
        (keras.Sequential(), "Received: Sequential"),
        (lambda: X, "Received: function"),
        ((X,), "Received: tuple of 1"),
        ((X, Y, W, W), "Received: tuple of 4"),
        ((X, None), r"Received: no labels, \(x, None\)"),
        ((X, Y[:9]), r"x of shape \(10, 2\) with y of shape \(9,\)"),
        (({"a": X, "b": X[:3]}, Y), r"x of shape \(3, 2\) with y of shape \(10,\)"),
        ((X, Y, W[:4]), r"as arrays of one length.*Received: shapes \(10, 2\), \(10,\), \(4,\)"),
        ((X, Y, 2.0), r"shapes \(10, 2\), \(10,\), \(\)"),
        ((X, 3), r"single examples, without a batch axis"),
        ((X, [[0], [1, 2]]), "labels as an array. Received: a list of unequal rows"),
    ],
)
def test_refused_when_it_is_made(data, message):
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        Batches(data)


@pytest.mark.parametrize(
    "batch, message",
    [
        (X, "Received: ndarray"),
        ({"x": X, "y": Y}, "Received: dictionaries of x, y"),
        ((X, Y, W, W), "Received: tuple of 4"),
        ((X, None), "Received: no labels"),
        ((X[0], Y[0]), "single examples, without a batch axis"),
        ((X[0], 1), "single examples, without a batch axis"),
        ((X, Y[:4]), r"x of shape \(10, 2\) with y of shape \(4,\)"),
    ],
)
def test_refused_when_it_is_read(batch, message):
    with pytest.raises(ValueError, match=f"Expected batches of .*{message}"):
        list(Batches(iter([batch])))


def test_a_generator_that_is_empty_says_why():
    assert "A generator is empty after its first reading" in str(Batches(generator()).nothing())
    assert str(Batches(Slices()).nothing()) == "Expected at least one example. Received: an empty dataset."
