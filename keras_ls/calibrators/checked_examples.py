"""What a calibrator cannot be fitted to, said before it is tried."""

import numpy as np

_BLOCK = 1 << 20  # logits


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
            out, infinite weights, and when no example has weight.

    Examples:
        >>> import numpy as np
        >>> from keras_ls.calibrators.checked_examples import checked_examples
        >>> checked_examples(np.array([0, 1]), np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0.0, 1.0])).tolist()
        [False, True]
    """
    kept = np.asarray(weight) != 0
    if not kept.any():
        raise ValueError("Expected at least one example with a weight above 0. Received: none.")
    if not np.isfinite(weight).all():
        raise ValueError("Expected `sample_weight` without infinite numbers. Received: an infinite weight.")
    rows, wrong = max(1, _BLOCK // max(1, np.size(logits[0]))), 0
    for start in range(0, len(logits), rows):
        part = slice(start, start + rows)
        z, y = (np.asarray(x[part])[kept[part]] for x in (logits, labels))
        wrong += int((np.isnan(z) | np.isposinf(z)).sum())
        if y.ndim == 2:
            _check_distributions(y.astype("float64"))
        if not wrong and len(z):
            _check_possible(y, z)
    if wrong:
        raise ValueError(
            f"Expected `logits` without NaN or +inf. Received: {wrong} such values. "
            "Find the step that made them: a calibrator must not hide them."
        )
    return kept


def _check_distributions(labels):
    wrong = ~((labels >= 0).all(axis=1) & (np.abs(labels.sum(axis=1) - 1) < 0.01))  # half precision rounds
    if wrong.any():
        raise ValueError(
            "Expected dense labels as class distributions: no negative numbers, and a sum of 1. "
            f"Received: {labels[wrong][0].tolist()}. For several labels an example, divide by their number."
        )


def _check_possible(labels, logits):
    ruled_out = np.isneginf(logits)
    if logits.ndim == 1 or labels.ndim == 2:
        impossible = ruled_out & (labels > 0)
    else:
        impossible = ruled_out[np.arange(len(logits)), labels.astype(int)]
    if impossible.any():
        raise ValueError("Expected a finite logit for every label. Received: -inf, a label that was ruled out.")
