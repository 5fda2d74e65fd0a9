"""One batch or many, eager or traced: what the value tests of the metrics run through."""

import numpy as np
import pytest

each_trace = [
    pytest.param(False, marks=pytest.mark.tensorflow, id="graph"),
    pytest.param(True, marks=pytest.mark.tensorflow, id="xla"),
]
each_way = pytest.mark.parametrize("jit_compile", [pytest.param(None, id="eager"), *each_trace])


def traced(update, jit_compile):
    """`update` as it is for None, else as a TensorFlow function."""
    if jit_compile is None:
        return update
    import tensorflow as tf

    return tf.function(update, jit_compile=jit_compile, autograph=False)  # as `fit` traces


def streamed(metric, labels, predictions, weight=None, batch=None):
    """The result after batches of `batch` examples; None for all at once."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    weight = None if weight is None else np.asarray(weight)
    step = batch or len(labels)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        metric.update_state(labels[rows], predictions[rows], None if weight is None else weight[rows])
    return float(metric.result())
