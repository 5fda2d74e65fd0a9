"""One batch or many: what every value test of a metric runs through."""

import numpy as np


def streamed(metric, labels, predictions, weight=None, batch=None):
    """The result after batches of `batch` examples; None for all at once."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    weight = None if weight is None else np.asarray(weight)
    step = batch or len(labels)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        metric.update_state(labels[rows], predictions[rows], None if weight is None else weight[rows])
    return float(metric.result())
