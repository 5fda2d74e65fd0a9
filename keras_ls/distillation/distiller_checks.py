"""What a Distiller asks of its arguments."""

import contextlib
import numbers

import keras

from keras_ls.distillation.losses.distillation_loss import OFF, DistillationLoss
from keras_ls.ops._logits import LogitsCheck, silenced


def checked_losses(losses):
    """Returns a list of losses, or of dictionaries `{output: loss}`, or raises `ValueError`."""
    losses = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    for entry in losses:
        for loss in entry.values() if isinstance(entry, dict) else [entry]:
            if not isinstance(loss, (keras.losses.Loss, keras.distillation.DistillationLoss)):
                raise ValueError(
                    "Expected `distillation_losses` to be a loss such as keras_ls.distillation.LogitsDistillation(), a "
                    f"list of them, or of dictionaries {{output: loss}}. Received: {loss!r}."
                )
    if not all(losses):
        raise ValueError("Expected a loss for an output or more in each dictionary {output: loss}. Received: {}.")
    return losses


def checked_teacher(teacher):
    """Returns a model, a list of models or None, or raises `ValueError`."""
    several = isinstance(teacher, (list, tuple))
    for model in teacher if several else [teacher]:
        if not (model is None and not several) and not isinstance(model, keras.Model):
            raise ValueError(
                "Expected `teacher` to be a keras.Model or None, or a list of models. "
                f"Received: {type(model).__name__}."
            )
    if several and not teacher:
        raise ValueError("Expected at least one teacher in the list. Received: an empty list.")
    return list(teacher) if several else teacher


def checked_teacher_shares(weights, count):
    """Returns the weights of `count` teachers, divided by their sum, or raises `ValueError`."""
    if weights is None:
        return [1 / count] * count
    weights = checked_weights("teacher_weights", weights)
    if len(weights) != count or sum(weights) <= 0:
        raise ValueError(
            f"Expected one `teacher_weights` entry a teacher, {count}, with a sum above 0. Received: {weights}."
        )
    return [weight / sum(weights) for weight in weights]


def checked_loss_weights(values, count):
    """Returns the weights of `count` distillation losses, ones for None, or raises `ValueError`."""
    values = checked_weights("distillation_loss_weights", [1.0] * count if values is None else values)
    if len(values) != count:
        raise ValueError(
            f"Expected one `distillation_loss_weights` entry a distillation loss: {count}. Received: {len(values)}."
        )
    return values


def checked_weights(name, values):
    """Returns a list of floats of at least 0, or raises `ValueError`."""
    values = values.tolist() if hasattr(values, "tolist") else values  # NumPy
    return [_checked_weight(name, value) for value in keras.tree.flatten(values)]


def _checked_weight(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < float("inf"):
        raise ValueError(f"Expected `{name}` of at least 0. Received: {value!r}.")
    return float(value)


def checked_share(value):
    """Returns `student_loss_weight` as a float in [0, 1], or raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"Expected `student_loss_weight` in [0, 1]. Received: {value!r}.")
    return float(value)


def warn_of_probabilities(role, model, terms):
    """Warns where what a loss takes for logits comes out of a softmax or sigmoid, as far as the layers tell."""
    terms = [term for term in terms if term.takes_logits]
    if terms:
        check = LogitsCheck(f"{terms[0].name!r}, from the {role}", OFF, multi_label=True)
        check.see_model(model)
        for term in terms:
            if check.found and isinstance(term.loss, DistillationLoss):
                silenced(term.loss)  # it would see the same in what it compares


def check_scope(distiller, what, variables):
    """Raises `ValueError` when `variables`, those of `what`, are not of the strategy that `distiller` trains under."""
    if keras.backend.backend() != "tensorflow":
        return
    strategy = distiller.distribute_strategy
    for variable in variables:
        value = getattr(variable, "_value", None)  # None before Keras has initialised it
        if value is None or strategy.extended.variable_created_in_scope(value):
            continue
        other = value._distribute_strategy
        if _variables_are_plain(strategy) and _variables_are_plain(other):
            continue
        raise ValueError(
            f"Expected {what} to be made within the `strategy.scope()` of the Distiller. Received: a Distiller made "
            f"{_place(strategy)}, {what} made {_place(other)}. Make student, Distiller and optimizer in one block, "
            "`with strategy.scope():`, of one strategy."
        )


def _variables_are_plain(strategy):
    return strategy is None or type(strategy).__name__ in ("_DefaultDistributionStrategy", "OneDeviceStrategy")


def _place(strategy):
    if strategy is None or type(strategy).__name__ == "_DefaultDistributionStrategy":
        return "outside of every scope"
    return f"within that of a {type(strategy).__name__}"


@contextlib.contextmanager
def one_strategy_advised():
    """Says what to do where messages of two strategies meet under one key: TensorFlow numbers both from 1."""
    try:
        yield
    except Exception as error:
        if "Collective ops is aborted" not in str(error) or "collective instance" not in str(error).lower():
            raise
        raise RuntimeError(
            "Expected one `tf.distribute` strategy for these devices in a process. Received: messages of two, which "
            "TensorFlow cannot tell apart. Restart the program, and make the strategy once, or with "
            "keras_ls.distribute.strategy('mirrored'), which returns the same one every time."
        ) from error
