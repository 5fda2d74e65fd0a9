"""What a calibrator cannot be fitted to, said before it is tried."""

import numpy as np

from keras_ls.calibrators.example_blocks import prepared

_BLOCK = 1 << 20  # logits
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
        >>> from keras_ls.calibrators.checked_examples import checked_examples
        >>> checked_examples(np.array([0, 1]), np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0.0, 1.0])).tolist()
        [False, True]
    """
    kept = np.asarray(weight) != 0
    if not kept.any():
        raise ValueError("Expected at least one example with a weight above 0. Received: none.")
    rows = max(1, _BLOCK // max(1, np.size(logits[0])))
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
