"""A row of a teacher cache: one example's logits, compressed, and what they are worth."""

import numpy as np


def row_type(shape, dtype, top_k=None):
    """The NumPy type of a row: plain numbers in a fixed byte order, so that a file of rows needs no pickle.

    Args:
        shape: shape of one example's logits, `(..., K)`.
        dtype: "float32" or "float16".
        top_k: k, or None for all K logits.

    Returns:
        A structured `np.dtype` of `id`, `checksum` (of the input), `offset`, `index` (with `top_k`) and `values`.
    """
    *steps, num_classes = shape
    steps = tuple(steps)
    fields = [("id", "<i8"), ("checksum", "<i8"), ("offset", "<f4", steps)]
    if top_k is not None:
        fields.append(("index", np.min_scalar_type(num_classes - 1).newbyteorder("<"), (*steps, top_k)))
    kept = num_classes if top_k is None else top_k + 1
    fields.append(("values", np.dtype(dtype).newbyteorder("<"), (*steps, kept)))
    return np.dtype(fields)


def compress(logits, dtype, top_k=None):
    """The fields `offset`, `values` and `index` of rows.

    `values + offset` are the logits. In float16 the offset is the largest logit, so that no value overflows and those
    that matter are the finest. With `top_k` the last value is the tail's, `log mean exp(z)` over the other K - k
    logits: if each of them is set to it, the softmax is exact for the k classes and for the sum of the others.

    Args:
        logits: `[N, ..., K]`.
        dtype: "float32" or "float16".
        top_k: k < K, or None.

    Returns:
        A dict of arrays.

    Examples:
        The two smallest of (log 4, log 1, log 3) have a mean of (1 + 3) / 2, or 2.

        >>> import numpy as np
        >>> from keras_ls.distillation.teacher_cache.rows import compress
        >>> fields = compress(np.log([[4.0, 1.0, 3.0]]), "float32", top_k=1)
        >>> np.exp(fields["values"]).round(4).tolist(), fields["index"].tolist()
        ([[4.0, 2.0]], [[0]])
    """
    from scipy.special import logsumexp

    logits = np.asarray(logits, "float64")
    offset = logits.max(axis=-1) if dtype == "float16" else np.zeros(logits.shape[:-1])
    offset = offset.astype("float32")
    values, fields = logits - offset[..., None], {"offset": offset}
    if top_k is not None:
        # in the order of the classes, whatever the order in which the selection finds them
        index = np.sort(np.argpartition(-values, top_k - 1, axis=-1)[..., :top_k], axis=-1)
        rest = values.copy()
        np.put_along_axis(rest, index, -np.inf, axis=-1)
        tail = logsumexp(rest, axis=-1, keepdims=True) - np.log(logits.shape[-1] - top_k)
        values = np.concatenate([np.take_along_axis(values, index, axis=-1), tail], axis=-1)
        fields["index"] = index
    lowest = np.finfo(dtype).min  # far below the largest: e to this power is 0
    return fields | {"values": np.maximum(values, lowest).astype(dtype)}


def expand(fields, num_classes):
    """The logits `[N, ..., K]`, float32, of compressed fields."""
    values = fields["values"].astype("float32") + fields["offset"][..., None]
    if "index" not in fields:
        return values
    logits = np.repeat(values[..., -1:], num_classes, axis=-1)
    np.put_along_axis(logits, fields["index"].astype("int64"), values[..., :-1], axis=-1)
    return logits


def divergences(logits, restored, temperature):
    """`KL(softmax(z / T) ‖ softmax(ẑ / T))` `[N, ...]` in nats and float64: what compression loses."""
    from scipy.special import log_softmax

    log_p, log_q = (log_softmax(np.asarray(z, "float64") / temperature, axis=-1) for z in (logits, restored))
    # below 0 by rounding alone
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=-1), 0.0)
