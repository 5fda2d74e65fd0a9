"""One logit an example, of a sigmoid, where a loss compares classes."""

from keras import ops as K


def as_two_classes(logits):
    """`[..., 2]` for one logit z an example (`[..., 1]`, or `[N]`): `softmax([0, z])` is `(1 - σ(z), σ(z))`.

    Logits of more classes stay as they are.
    """
    if not _is_single(logits):
        return logits
    logits = K.expand_dims(logits, -1) if len(logits.shape) == 1 else logits
    return K.concatenate([K.zeros_like(logits), logits], axis=-1)


def check_classes(name, logits, why):
    """Raises `ValueError` for one logit an example, of which the loss `name` has no form, for the reason `why`."""
    if _is_single(logits):
        raise ValueError(
            f"Expected logits [..., K] of at least 2 classes for {name}. Received: shape {tuple(logits.shape)}, one "
            f"logit an example, of which {why}. Take keras_ls.distillation.LogitsDistillation or "
            "SquaredLogitsDistillation without `standardize`, which count it as two classes; or give the networks "
            "two outputs."
        )


def _is_single(logits):
    return len(logits.shape) == 1 or logits.shape[-1] == 1
