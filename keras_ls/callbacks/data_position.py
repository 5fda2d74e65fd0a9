"""Where a `fit` is in its data, and how to get there again."""

import contextlib
import hashlib
import itertools
import sys
import warnings

import keras
import numpy as np


def running_fit(model):
    """`(epoch iterator, callbacks)` of the `fit` of `model` that calls: Keras hands them to nobody.

    Raises:
        RuntimeError: where no `fit` of Keras is running.
    """
    frame = sys._getframe(1)
    while frame is not None:
        variables = frame.f_locals
        if variables.get("self") is model and "epoch_iterator" in variables and "callbacks" in variables:
            return variables["epoch_iterator"], variables["callbacks"].callbacks
        frame = frame.f_back
    raise RuntimeError(
        "Expected `fit` of a keras.Model, as Keras 3.12 and later have it. Received: another caller. Your own loop "
        "resumes with keras.Model.save_weights and its own count of steps."
    )


class DataPosition:
    """The steps of a `fit`, epoch after epoch, from any of them on.

    Args:
        iterator: Keras's epoch iterator.

    Attributes:
        first_epoch: the epoch with which the training began, in whatever process.
        first_batch: a hash of the first batch of the latest reading, where the data cannot be positioned; or None.
    """

    def __init__(self, iterator):
        self._iterator = iterator
        self._steps = iterator._enumerate_iterator
        self.first_epoch = self.first_batch = None
        adapter = iterator.data_adapter
        self._batches = getattr(adapter, "py_dataset", getattr(adapter, "_dataset", None))
        if hasattr(self._batches, "seek"):
            # Keras would shuffle the batches of a PyDataset once more
            for shuffling in filter(None, (adapter, getattr(adapter, "enqueuer", None))):
                shuffling.shuffle = False
        else:
            self._batches = None
            if keras.backend.backend() == "tensorflow":
                self._record_in_graph()

    @property
    def batch_spec(self):
        """What has the shape and dtype of a batch, without reading one; None but on TensorFlow."""
        if keras.backend.backend() != "tensorflow":
            return None
        spec = self._iterator._distributed_dataset.element_spec
        # of several replicas, what the first gets
        return keras.tree.map_structure(lambda leaf: getattr(leaf, "_value_specs", [leaf])[0], spec)

    def steps(self, epoch):
        """`(first step, last step, iterator)` of an epoch, which has begun: PyTorch draws random numbers for that."""
        if self._batches is not None:
            self._batches.seek(epoch)
        return _begun(self._recorded(self._steps()))

    def steps_after(self, epoch, step, first_batch, restore_order, say):
        """The steps of an epoch that come after `step` of them; None where the data are not those of before.

        Args:
            epoch: the epoch.
            step: how many of its steps are done.
            first_batch: what `first_batch` was then.
            restore_order: function without arguments, called before the epoch is read: sets the random numbers from
                which Keras or PyTorch may draw its order.
            say: function of a line of text, called where reading takes a while.
        """
        if self._batches is not None:
            self._batches.seek(epoch, step)
            return _begun(itertools.dropwhile(lambda found: found[0] < step, self._steps()))
        epochs = epoch - self.first_epoch
        if epochs or step:
            say(f"Reading the data of {epochs} epochs and {step} steps again, up to where the training was.")
        for _ in range(epochs):
            with self._end_of_data():
                for begin, end, iterator in self._steps():
                    _consume(iterator, end + 1 - begin)
        restore_order()
        steps = self._recorded(self._steps())
        with self._end_of_data():
            for begin, end, iterator in steps:
                if begin >= step:
                    same = step == 0 or None in (first_batch, self.first_batch) or first_batch == self.first_batch
                    return itertools.chain([(begin, end, iterator)], steps) if same else None
                _consume(iterator, end + 1 - begin)
        return None

    @contextlib.contextmanager
    def _end_of_data(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of data whose number of batches it learns only here
            with self._iterator.catch_stop_iteration():
                yield

    def _recorded(self, steps):
        known = None
        for begin, end, iterator in steps:
            if keras.backend.backend() != "tensorflow" and self._batches is None and iterator is not known:
                known, iterator = iterator, self._record_next(iterator)
            yield begin, end, iterator

    def _record_next(self, iterator):
        batch = next(iterator)
        self._see(keras.tree.map_structure(keras.ops.convert_to_numpy, batch))
        yield batch
        yield from iterator

    def _record_in_graph(self):
        import tensorflow as tf

        dataset = self._iterator._distributed_dataset
        if not isinstance(dataset, tf.data.Dataset):
            return  # of a strategy with several replicas

        def see(*leaves):
            self._see([leaf.numpy() for leaf in leaves])
            return np.int64(0)

        def record(index, batch):
            leaves = tf.nest.flatten(batch, expand_composites=True)
            tf.cond(index == 0, lambda: tf.py_function(see, leaves, tf.int64), lambda: tf.constant(0, tf.int64))
            return batch

        self._iterator._distributed_dataset = dataset.enumerate().map(record)

    def _see(self, batch):
        found = hashlib.sha256()
        for leaf in keras.tree.flatten(batch):
            array = np.ascontiguousarray(leaf)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        self.first_batch = found.hexdigest()


def _begun(steps):
    return itertools.chain(list(itertools.islice(steps, 1)), steps)


def _consume(iterator, batches):
    for _ in range(batches):
        next(iterator)
