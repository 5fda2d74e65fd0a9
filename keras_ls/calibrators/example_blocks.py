"""Labels, logits and weights in float64, block after block: what the solvers of the calibrators read."""

import concurrent.futures
import contextlib
import functools
import operator
import os

import numpy as np

BUDGET = 1 << 22  # logits that may be kept in memory beside what the caller holds: 32 MB in float64
_BLOCK = 1 << 17  # logits a block: the block and what is computed from it stay in cache


class ExampleBlocks:
    """Examples in arrays, which are not copied as a whole beyond `BUDGET` logits; threads share the blocks.

    Args:
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits; NumPy, as all.
        logits: `[N, K]`, or `[N]` for binary logits, which are read as `[0, z]`.
        weight: `[N]`; examples of weight 0 are left out.
        transform: function of the logits of a block, float64 `[n, K]`, that every pass needs; or None.
    """

    def __init__(self, labels, logits, weight, transform=None):
        self._arrays = np.asarray(labels), np.asanyarray(logits), np.asarray(weight)
        self._transform = transform
        classes = 2 if logits.ndim == 1 else logits.shape[1]
        rows = max(1, _BLOCK // classes)
        starts = range(0, len(logits), rows)
        threads = min(len(starts), os.cpu_count() or 1)
        self._rows = rows
        self._shares = [starts[len(starts) * i // threads : len(starts) * (i + 1) // threads] for i in range(threads)]
        self._pool = concurrent.futures.ThreadPoolExecutor(threads) if threads > 1 else None
        self._prepared = {} if classes * len(logits) <= BUDGET else None

    def sum(self, function):
        """`Σ function(logits, labels, weight)` over the blocks: arrays are added, lists joined in order.

        Raises:
            ValueError: for NaN or +inf logits, dense labels that are no distributions, labels that a logit of -inf
                rules out, infinite weights, and when no example has weight.
        """

        def total_of_share(share):
            blocks = (self._block(start) for start in share)
            return total(function(*block) for block in blocks if block is not None)

        with one_blas_thread():
            return some(total((self._pool.map if self._pool else map)(total_of_share, self._shares)))

    def _block(self, start):
        if self._prepared is not None and start in self._prepared:
            return self._prepared[start]
        block = prepared(*(array[start : start + self._rows] for array in self._arrays), self._transform)
        if self._prepared is not None:
            self._prepared[start] = block
        return block


@contextlib.contextmanager
def one_blas_thread():
    """Meanwhile, products of matrices use one thread: they are small here, and more would wait for one another."""
    with _blas().limit(limits=1):
        yield


@functools.cache
def _blas():
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def prepared(labels, logits, weight, transform=None):
    """`(logits, labels, weight)` of examples with weight: float64 `[n, K]`, `[n]` int or `[n, K]`; None of none."""
    kept = weight != 0
    if not kept.any():
        return None
    if not kept.all():
        labels, logits, weight = labels[kept], logits[kept], weight[kept]
    weight = weight.astype("float64")
    if not np.isfinite(weight).all():
        raise ValueError("Expected `sample_weight` without infinite numbers. Received: an infinite weight.")
    logits = logits.astype("float64")
    if logits.ndim == 1:  # softmax([0, z]) is sigmoid(z)
        logits = np.stack([np.zeros_like(logits), logits], axis=1)
        labels = np.stack([1 - labels, labels], axis=1)
    labels = labels.astype("float64" if labels.ndim == 2 else "int64")
    if labels.ndim == 2:
        _check_distributions(labels)
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(logits.sum())  # one number for all
    if suspect:
        _check_logits(logits, labels)
    return logits if transform is None else transform(logits), labels, weight


def total(results):
    """The sum of what is not None, or None."""
    return functools.reduce(lambda a, b: b if a is None else a if b is None else operator.iadd(a, b), results, None)


def some(result):
    """`result`, or an error when no block had an example."""
    if result is None:
        raise ValueError("Expected at least one example with a weight above 0. Received: none.")
    return result


def label_values(values, labels):
    """`values[i, labels[i]]`, or for dense labels `Σ_k labels[i, k] values[i, k]`."""
    if labels.ndim == 2:
        return np.einsum("ij,ij->i", values, labels)
    return values[np.arange(len(values)), labels]


def _check_distributions(labels):
    wrong = ~((labels >= 0).all(axis=1) & (np.abs(labels.sum(axis=1) - 1) < 0.01))  # half precision rounds
    if wrong.any():
        raise ValueError(
            "Expected dense labels as class distributions: no negative numbers, and a sum of 1. "
            f"Received: {labels[wrong][0].tolist()}. For several labels an example, divide by their number."
        )


def _check_logits(logits, labels):
    wrong = np.isnan(logits) | np.isposinf(logits)
    if wrong.any():
        raise ValueError(
            f"Expected `logits` without NaN or +inf. Received: {int(wrong.sum())} such values in a block of "
            f"{len(logits)} examples. Find the step that made them: a calibrator must not hide them."
        )
    ruled_out = np.isneginf(logits)
    if (ruled_out & (labels > 0)).any() if labels.ndim == 2 else label_values(ruled_out, labels).any():
        raise ValueError("Expected a finite logit for every label. Received: -inf, a label that was ruled out.")


_CHECKED = 1 << 20  # logits that are checked at once
_LARGEST = float(np.finfo("float32").max)


def checked_examples(labels, logits, weight):
    """Which examples count, after errors for those that no calibrator can learn from; reads blocks of rows.

    Args:
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits.
        logits: `[N, K]`, or `[N]` for binary logits.
        weight: `[N]`.

    Returns:
        Boolean `[N]`: where the weight is not 0.

    Raises:
        ValueError: for NaN or +inf logits, dense labels that are no distributions, labels that a logit of -inf rules
            out, logits beyond float32, infinite weights, and when no example has weight.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.calibrators.example_blocks import checked_examples
        >>> checked_examples(np.array([0, 1]), np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0.0, 1.0])).tolist()
        [False, True]
    """
    kept = np.asarray(weight) != 0
    if not kept.any():
        raise ValueError("Expected at least one example with a weight above 0. Received: none.")
    rows = max(1, _CHECKED // max(1, np.size(logits[0])))
    for start in range(0, len(logits), rows):
        part = slice(start, start + rows)
        block = np.asarray(logits[part])
        prepared(np.asarray(labels[part]), block, np.asarray(weight[part]))
        if block.dtype.itemsize > 4 and _beyond_float32(block, kept[part]):
            raise ValueError(
                f"Expected logits within float32: {_LARGEST:.3g}, up to the sign. Received: larger ones. Divide them "
                "by a constant, or replace what stands for -inf by -inf."
            )
    return kept


def _beyond_float32(logits, kept):
    counts = (logits != -np.inf) & (kept if logits.ndim == 1 else kept[:, None])
    return max(logits.max(where=counts, initial=0), -logits.min(where=counts, initial=0)) > _LARGEST
