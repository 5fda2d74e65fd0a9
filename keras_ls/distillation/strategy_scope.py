"""Whether what trains together was made under one `tf.distribute` strategy."""

import contextlib

import keras


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
