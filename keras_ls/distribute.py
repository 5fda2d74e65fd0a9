"""Where to train: one device, several, several machines or a TPU; and seeds for all of them."""

import concurrent.futures
import itertools
import json
import os
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import keras
import tensorflow as tf

from keras_ls.ops._checks import checked_choice, checked_count

__all__ = ["STRATEGIES", "MirroredStrategy", "MultiWorkerStrategy", "logical_cpus", "set_seeds", "strategy"]

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")

_TPU_ADDRESSES = ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS")
_TPU_MACHINES = ("TPU_ACCELERATOR_TYPE", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")
_MADE = {}  # (kind, devices) → the strategy, to hand out again
_KEYS = itertools.count(1 << 20, 1 << 10)  # far from those of TensorFlow's own strategies
_TPU_TIMEOUT = 10.0  # seconds for a TPU to answer before it counts as unreachable


def __dir__():
    return __all__


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The `tf.distribute` strategy to train under; the program is the same on one device and on many.

    - "one": TensorFlow's default strategy. Its scope changes nothing, so that training is what it is without one; a
      `OneDeviceStrategy` would pin variables and take the distributed path through Keras to the same end.
    - "mirrored": all GPUs of this machine; without GPUs, its logical CPU devices (see `logical_cpus`).
    - "multi_worker": all GPUs of all machines in `TF_CONFIG`. It must come before TensorFlow's first operation, and
      waits until every worker has arrived.
    - "tpu": the TPU named by `TPU_NAME`, `KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS` or `COLAB_TPU_ADDR`, or the one of this
      machine.
    - "auto": "tpu" where the environment names one, "multi_worker" where `TF_CONFIG` has more than one worker,
      "mirrored" with two GPUs or more, else "one".

    Called again for the same kind and devices, it returns the same strategy, so that a notebook's cell can run twice.
    A plain `tf.distribute.MirroredStrategy` made twice breaks training: both number their messages alike.

    Batch sizes are global: `batch(64)` on two replicas gives each of them 32. Give `BatchNormalization` its
    `synchronized=True`: otherwise every replica keeps moving statistics of its own, of which only the first's are
    saved, and a last batch that leaves a replica without examples turns them into NaN. With "multi_worker", every
    worker needs at least one example in every epoch, and `steps_per_execution` stays at 1.

    Args:
        name: one of the five above; "auto" by default.

    Returns:
        A `tf.distribute.Strategy`, the same for the same kind and devices; build and compile the model within
        its `scope()`.

    Raises:
        ValueError: for another name, "multi_worker" without a valid `TF_CONFIG`, and "tpu" where no TPU is named.
        ConnectionError: where a TPU is named but does not answer, or cannot be initialised.
        RuntimeError: on a Keras backend other than TensorFlow, within another strategy's scope, and for "multi_worker"
            after TensorFlow's first operation.

    Examples:
        >>> import keras, keras_ls as kls
        >>> strategy = kls.distribute.strategy("one")
        >>> with strategy.scope():
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> strategy.num_replicas_in_sync
        1
    """
    checked_choice("name", name, STRATEGIES)
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Expected the TensorFlow backend: a `tf.distribute` strategy has no effect on another. "
            f"Received: {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    if tf.distribute.has_strategy():
        raise RuntimeError(
            "Expected to choose a strategy outside every `strategy.scope()`. "
            f"Received: a call within the scope of {type(tf.distribute.get_strategy()).__name__}."
        )
    if name == "auto":
        name = _automatic()
    return {"one": tf.distribute.get_strategy, "mirrored": _mirrored, "multi_worker": _multi_worker, "tpu": _tpu}[
        name
    ]()


class _ReduceForKeras:
    """A strategy's `reduce` that takes what `model.fit`, `evaluate` and `predict` of Keras 3 hand it.

    Keras 3 hands `reduce` structures of values (the first batch, to build the model) and scalars with `axis=0` (the
    logs), and TensorFlow takes neither. Here `reduce` maps over the structure, and a scalar has no axis to reduce.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """Reduces every value of a structure over the replicas, and over `axis` within each where it has one.

        The elementwise mean of a batch does not exist where replicas hold unequal numbers of rows, or strings. Keras
        asks for it all the same, for shapes and dtypes alone: in a structure such values stay this worker's own.

        Args:
            reduce_op: "SUM" or "MEAN", or a `tf.distribute.ReduceOp`.
            value: one per-replica value, or a structure of them.
            axis: as in `tf.distribute.Strategy.reduce`; scalars are reduced over the replicas alone.

        Returns:
            Tensors in the structure of `value`.
        """
        op = tf.distribute.ReduceOp[reduce_op.upper()] if isinstance(reduce_op, str) else reduce_op
        first_batch = tf.nest.is_nested(value) and op == tf.distribute.ReduceOp.MEAN and axis is None
        reducible = not first_batch or self._has_elementwise_mean(value)

        def reduce_one(per_replica):
            local = self.experimental_local_results(per_replica)[0]
            if not reducible:
                return local
            return super(_ReduceForKeras, self).reduce(op, per_replica, None if local.shape.rank == 0 else axis)

        return tf.nest.map_structure(reduce_one, value)

    def _has_elementwise_mean(self, value):
        local = [self.experimental_local_results(leaf)[0] for leaf in tf.nest.flatten(value)]
        if not all(leaf.dtype.is_floating or leaf.dtype.is_integer for leaf in local):
            return False  # the same on every worker: none of them waits for the others
        if not tf.executing_eagerly():
            return True
        own = tf.function(lambda x: tf.concat([tf.shape(leaf) for leaf in tf.nest.flatten(x)], axis=0)[None])
        shapes = self.gather(self.run(own, args=(value,)), axis=0)
        return bool(tf.reduce_all(shapes == shapes[:1]))


class MultiWorkerStrategy(_ReduceForKeras, tf.distribute.MultiWorkerMirroredStrategy):
    """A `MultiWorkerMirroredStrategy` that Keras 3 can train under."""


class MirroredStrategy(_ReduceForKeras, tf.distribute.MirroredStrategy):
    """A `MirroredStrategy` that Keras 3 can also train under when the first batch does not divide evenly."""

    def __init__(
        self, devices: Sequence[str] | None = None, cross_device_ops: tf.distribute.CrossDeviceOps | None = None
    ):
        # TensorFlow numbers the messages of every strategy of a process alike, where they meet and break both
        self._collective_key_base = next(_KEYS)
        super().__init__(devices, cross_device_ops)


def set_seeds(seed: int, deterministic: bool = False) -> None:
    """Seeds Python, NumPy, TensorFlow and Keras; optionally makes TensorFlow's operations deterministic.

    The same seed gives the same initial weights, shuffles and dropout masks. Sums on a GPU may still be added in
    another order from run to run, unless `deterministic`: that is slower, and stays for the whole process.

    Args:
        seed: integer in [0, 2³²).
        deterministic: whether to call `tf.config.experimental.enable_op_determinism`.

    Raises:
        ValueError: for a seed that is no such integer.

    Examples:
        >>> import keras, keras_ls as kls
        >>> kls.distribute.set_seeds(0)
        >>> first = float(keras.random.normal(()))
        >>> kls.distribute.set_seeds(0)
        >>> first == float(keras.random.normal(()))
        True
    """
    seed = checked_count("seed", seed, minimum=0)
    if seed >= 2**32:
        raise ValueError(f"Expected `seed` below 2**32, NumPy's limit. Received: {seed}.")
    _forget_global_generator()
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def _forget_global_generator():
    """Keras before 3.13 leaves the generator of `keras.random` calls without a seed where it was."""
    try:
        from keras.src.backend.common.global_state import set_global_attribute
    except ImportError:
        return
    set_global_attribute("global_seed_generator", None)


def logical_cpus(count: int) -> None:
    """Splits the CPU into logical devices, to try "mirrored" on a machine without GPUs.

    It shows that a program is right on many replicas; it makes nothing faster. Call it before TensorFlow's first
    operation:

        kls.distribute.logical_cpus(2)
        strategy = kls.distribute.strategy("mirrored")  # two replicas

    Args:
        count: number of logical CPU devices, at least 1.

    Raises:
        ValueError: for a count below 1.
        RuntimeError: when TensorFlow has started with another number of them.
    """
    count = checked_count("count", count)
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)])
    except RuntimeError as error:
        started = len(tf.config.list_logical_devices("CPU"))
        if started != count:
            raise RuntimeError(
                f"Expected `logical_cpus({count})` before TensorFlow's first operation. "
                f"Received: a call after it started with {started}. Move it to the top of the program."
            ) from error


def _automatic():
    if _tpu_address():
        return "tpu"
    if len(_workers(_tf_config().get("cluster", {}))) > 1:
        return "multi_worker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _mirrored():
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    devices = tuple(f"{kind}:{i}" for i in range(len(tf.config.list_logical_devices(kind))))
    return _made_once(("mirrored", devices), lambda: MirroredStrategy(devices))


def _made_once(key, make):
    if key not in _MADE:
        _MADE[key] = make()
    return _MADE[key]


def _multi_worker():
    config = _tf_config()
    task, workers = config.get("task", {}), _workers(config.get("cluster", {}))
    if (task.get("type"), str(task.get("index"))) not in workers:
        raise ValueError(
            "Expected TF_CONFIG to list the workers and to say which of them this process is: "
            '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {os.environ.get('TF_CONFIG') or 'no TF_CONFIG'}. "
            "Set it on every machine, each with its own index; on one machine use strategy('mirrored')."
        )
    try:
        return _made_once(("multi_worker", json.dumps(config, sort_keys=True)), MultiWorkerStrategy)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise RuntimeError(
            "Expected strategy('multi_worker') before TensorFlow's first operation. Received: a call after it. "
            "Move it to the top of the program, before data and models are made."
        ) from error


def _tf_config():
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        if not all(isinstance(part, dict) for part in (config, config.get("cluster", {}), config.get("task", {}))):
            raise ValueError("not an object")
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"Expected TF_CONFIG as a JSON object with `cluster` and `task`. Received: {text}. Mend it, or unset it."
        ) from error
    return config


def _workers(cluster):
    """The tasks that train, as (type, index)."""
    return [(kind, str(i)) for kind in ("chief", "worker") for i in range(len(cluster.get(kind, [])))]


def _tpu_address():
    """What `TPUClusterResolver` takes: a name, "grpc://host:port", "local" for the TPU of this machine; or None."""
    for variable in _TPU_ADDRESSES:
        if os.environ.get(variable):
            return os.environ[variable]
    if os.environ.get("COLAB_TPU_ADDR"):
        return "grpc://" + os.environ["COLAB_TPU_ADDR"].removeprefix("grpc://")
    return "local" if any(os.environ.get(variable) for variable in _TPU_MACHINES) else None


def _tpu():
    address = _tpu_address()
    if ("tpu", address) in _MADE:  # to initialise the TPU again would empty the variables on it
        return _MADE["tpu", address]
    if address is None:
        raise ValueError(
            "Expected a TPU: its name or grpc://host:port in TPU_NAME, or TPU_NAME=local on a TPU machine. "
            "Received: no TPU in the environment. Set it, or use strategy('auto') to train on what there is."
        )
    try:
        # a name is looked up over HTTP; that, as a server that does not answer, would be waited for without end
        resolver = _within(_TPU_TIMEOUT, lambda: tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address))
        if address != "local":
            with grpc.insecure_channel(resolver.master().removeprefix("grpc://")) as channel:
                grpc.channel_ready_future(channel).result(_TPU_TIMEOUT)
    except Exception as error:
        raise _no_tpu(address, error) from error
    try:
        if address != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return _made_once(("tpu", address), lambda: tf.distribute.TPUStrategy(resolver))
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise _no_tpu(address, error) from error


def _within(seconds, function):
    """`function()`, or `TimeoutError`; the thread that still waits ends with the process."""
    result = concurrent.futures.Future()

    def run():
        try:
            result.set_result(function())
        except BaseException as error:  # for the one who waits
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result(seconds)


def _no_tpu(address, error):
    late = isinstance(error, (TimeoutError, concurrent.futures.TimeoutError, grpc.FutureTimeoutError))
    reason = f"no answer in {_TPU_TIMEOUT:g} seconds" if late else " ".join(str(error).split())[:200]
    reason = reason or type(error).__name__
    return ConnectionError(
        f"Expected a TPU at {address!r}, as the environment says. Received: {reason}. Check TPU_NAME and that the TPU "
        "runs, with a TensorFlow built for TPUs (pip install tensorflow-tpu); or start again with strategy('one') or "
        "strategy('mirrored')."
    )
