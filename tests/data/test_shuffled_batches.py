"""The order is a function of seed and epoch, and any place in it is found."""

import itertools

import keras
import numpy as np
import pytest

import keras_ls as kls
from keras_ls.data.shuffled_batches import epoch_order

X, Y = np.arange(7), np.arange(7) * 10


def epochs(batches, count):
    """Inputs of `count` epochs, as Keras reads them."""
    found = []
    for _ in range(count):
        batches.on_epoch_begin()
        found.append([batches[i][0].tolist() for i in range(len(batches))])
        batches.on_epoch_end()
    return found


def test_each_example_once_an_epoch_in_an_order_of_its_own():
    found = epochs(kls.data.ShuffledBatches(X, Y, batch_size=3, seed=1), 3)
    assert [[len(batch) for batch in epoch] for epoch in found] == [[3, 3, 1]] * 3
    orders = [list(itertools.chain(*epoch)) for epoch in found]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert orders == [epoch_order(7, seed=1, epoch=epoch).tolist() for epoch in range(3)]
    assert epochs(kls.data.ShuffledBatches(X, batch_size=3, seed=2), 1)[0] != found[0]


def test_seek_begins_in_the_middle():
    whole = epochs(kls.data.ShuffledBatches(X, batch_size=3, seed=1), 5)
    batches = kls.data.ShuffledBatches(X, batch_size=3, seed=1)
    batches.seek(3, 1)
    batches.on_epoch_begin()
    assert [batches[i][0].tolist() for i in range(2)] == whole[3][1:]
    assert epochs(batches, 1)[0] == whole[4]


def test_structures_weights_and_the_order_of_the_arrays():
    x = {"a": X, "b": X[:, None] + 0.5}
    batches = kls.data.ShuffledBatches(x, [Y, -Y], Y / 2, batch_size=3, shuffle=False, drop_remainder=True)
    assert len(batches) == 2
    inputs, labels, weights = batches[1]
    assert inputs["a"].tolist() == [3, 4, 5] and inputs["b"].tolist() == [[3.5], [4.5], [5.5]]
    assert [label.tolist() for label in labels] == [[30, 40, 50], [-30, -40, -50]]
    assert weights.tolist() == [15, 20, 25]


def test_augmentation_is_a_function_of_seed_epoch_and_batch():
    def draw(x, y, generator):
        return generator.random(len(x)), y

    def batches(seed):
        return kls.data.ShuffledBatches(X, Y, batch_size=3, seed=seed, augment=draw)

    (first, second), (again, _) = epochs(batches(0), 2), epochs(batches(0), 2)
    assert first == again
    drawn = list(itertools.chain(*first, *second))
    assert len(set(drawn)) == 14  # another number for every example, in every epoch
    assert epochs(batches(1), 1)[0] != first


def test_fit_takes_it_with_workers():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    batches = kls.data.ShuffledBatches(X[:, None] / 7, Y / 70, batch_size=3, workers=2)
    assert len(model.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]) == 2


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"x": X, "y": Y[:3]}, r"the same number of examples, at least one\. Received: 3, 7 examples"),
        ({"x": X[:0]}, r"at least one\. Received: 0 examples"),
        ({"x": X, "sample_weight": Y}, "Expected `y` beside `sample_weight`"),
        ({"x": X, "augment": print}, "Expected `y` beside `augment`"),
        ({"x": X, "batch_size": 0}, "Expected `batch_size`"),
        ({"x": X, "seed": -1}, "Expected `seed`"),
        (
            {"x": X, "batch_size": 8, "drop_remainder": True},
            r"Expected at least 8 examples, a full batch\. Received: 7",
        ),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        kls.data.ShuffledBatches(**arguments)


def test_seek_refuses_what_is_not_there():
    with pytest.raises(ValueError, match=r"Expected `batch` below 3\. Received: 3"):
        kls.data.ShuffledBatches(X, batch_size=3).seek(0, 3)
