"""What identifies a teacher: its architecture and its weights."""

import hashlib
import json

import keras

# of no effect on what a model says in inference mode, or set anew whenever it is built
IRRELEVANT = {"build_config", "build_input_shape", "compile_config", "seed", "shared_object_id", "trainable"}


def teacher_fingerprint(teacher):
    """SHA-256 of a model's architecture and weights, which stands for what it says in inference mode.

    Names of layers do not count, so a model that is built again and given the same weights has the same fingerprint. A
    subclassed model without `get_config`, or one with a layer whose `get_config` is missing or fails, is told by its
    class, its layers and its weights: what it does between the layers does not show.

    Args:
        teacher: a built `keras.Model`.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: for anything but a built `keras.Model`.

    Examples:
        >>> import keras_ls as kls
        >>> from keras_ls.distillation.teacher_cache.fingerprint import teacher_fingerprint
        >>> one, other = kls.models.mlp((4,), 3), kls.models.mlp((4,), 3)
        >>> teacher_fingerprint(one) == teacher_fingerprint(other)
        False
        >>> other.set_weights(one.get_weights())
        >>> teacher_fingerprint(one) == teacher_fingerprint(other)
        True
    """
    if not isinstance(teacher, keras.Model) or not teacher.built:
        received = "one that is not built" if isinstance(teacher, keras.Model) else type(teacher).__name__
        raise ValueError(f"Expected `teacher` to be a built keras.Model. Received: {received}.")
    digest = hashlib.sha256(json.dumps(_architecture(teacher), sort_keys=True, default=_text).encode())
    for weight in teacher.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _architecture(part):
    kind = f"{type(part).__module__}.{type(part).__qualname__}"
    try:
        config = part.get_config()
    except (NotImplementedError, TypeError, ValueError):  # of its own, or of a layer in it, or what one of them holds
        return [kind, *map(_architecture, getattr(part, "layers", ()))]
    return [kind, _without_names(config, {})]


def _text(value):
    """Stands for what JSON does not know: its text, or its name where that is an address in memory."""
    if isinstance(value, (set, frozenset)):
        return str(sorted(map(str, value)))
    text = str(value)
    return text if " at 0x" not in text else getattr(value, "__qualname__", type(value).__qualname__)


def _without_names(config, names):
    """Puts numbers for the names of layers, where they are set and where other layers' inputs refer to them."""
    if isinstance(config, dict):
        rest = {str(key): value for key, value in config.items() if key not in IRRELEVANT}  # JSON sorts text alone
        if len(config) > 1 and "name" in rest:  # a dict of a name alone is a dtype policy
            rest["name"] = names.setdefault(rest["name"], len(names))
        return {key: _without_names(value, names) for key, value in rest.items()}
    if isinstance(config, (list, tuple)):
        if len(config) == 3 and isinstance(config[0], str) and all(isinstance(part, int) for part in config[1:]):
            return [names.setdefault(config[0], len(names)), *config[1:]]
        return [_without_names(value, names) for value in config]
    return config
