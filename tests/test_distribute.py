"""Strategies: what "auto" chooses, two real workers equal one process, and errors that come at once."""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls import distribute
from tests import distribute_worker

WORKER_SECONDS = 150
VARIABLES = [
    "TF_CONFIG",
    "TPU_NAME",
    "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS",
    "COLAB_TPU_ADDR",
    "TPU_ACCELERATOR_TYPE",
    "TPU_WORKER_ID",
    "TPU_WORKER_HOSTNAMES",
]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    for key in [key for key in distribute._MADE if key[0] == "tpu"]:
        del distribute._MADE[key]


def tf_config(index=0, workers=("127.0.0.1:1", "127.0.0.1:2"), kind="worker"):
    return json.dumps({"cluster": {"worker": list(workers)}, "task": {"type": kind, "index": index}})


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """The results of two processes that train together, and of one that trains alone."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = free_addresses(2)
    root = pathlib.Path(__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    processes, logs = [], [folder / f"{i}.txt" for i in range(2)]
    try:
        for i, log in enumerate(logs):
            # another seed on the second worker: the weights must come from the first
            command = [sys.executable, distribute_worker.__file__, str(i), str(folder / f"{i}.npz")]
            with log.open("w") as stream:
                environment["TF_CONFIG"] = tf_config(i, addresses)
                processes.append(subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=folder))
        one = distribute_worker.train(kls.distribute.strategy("one"), seed=0)
        for process, log in zip(processes, logs):
            assert process.wait(WORKER_SECONDS) == 0, log.read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [dict(np.load(folder / f"{i}.npz")) for i in range(2)], one


def test_two_workers_train_to_identical_weights(two_workers):
    (first, second), _ = two_workers
    assert first["replicas"] == 2
    assert first["type"] == "MultiWorkerStrategy"
    trained = [name for name in first if "weight" in name]
    assert len(trained) == 16
    for name in trained:
        assert np.isfinite(first[name]).all()
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_two_workers_equal_one_process(two_workers):
    workers, one = two_workers
    for worker in workers:
        assert {name for name in worker if name[0].isdigit()} == set(one)
        for name, value in one.items():
            np.testing.assert_allclose(worker[name], value, atol=1e-6, err_msg=name)
    assert one["21/predict"].shape == (21, 5)


def test_reduce_over_workers(two_workers):
    for index, worker in enumerate(two_workers[0]):
        reduced = {name.removeprefix("reduce/"): value for name, value in worker.items() if name.startswith("reduce/")}
        assert reduced["sum"] == 3
        assert reduced["scalar_with_axis"] == 1.5
        np.testing.assert_allclose(reduced["rows"], [5 / 3, 5 / 3], rtol=1e-6)
        np.testing.assert_array_equal(reduced["structure"], [1.5, 3.0])
        # no elementwise mean exists: the worker's own
        np.testing.assert_array_equal(reduced["ragged_structure"], np.full((index + 1, 2), index + 1.0))
        assert reduced["strings"] == "ab"[index]


@pytest.mark.parametrize(
    ("environment", "gpus", "expected"),
    [
        ({}, 0, "one"),
        ({}, 1, "one"),
        ({}, 2, "mirrored"),
        ({"TF_CONFIG": tf_config(workers=["127.0.0.1:1"])}, 0, "one"),
        ({"TF_CONFIG": tf_config()}, 2, "multi_worker"),
        ({"TF_CONFIG": '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}'}, 0, "multi_worker"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}'}, 0, "one"),
        ({"TPU_NAME": "mine", "TF_CONFIG": tf_config()}, 2, "tpu"),
        ({"TPU_NAME": ""}, 0, "one"),
        ({"COLAB_TPU_ADDR": "10.0.0.2:8470"}, 0, "tpu"),
        ({"TPU_ACCELERATOR_TYPE": "v2-8"}, 0, "tpu"),
    ],
)
def test_auto_chooses(monkeypatch, environment, gpus, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * (gpus if kind == "GPU" else 1))
    for name in ["mirrored", "multi_worker", "tpu"]:
        monkeypatch.setattr(distribute, f"_{name}", lambda name=name: name)
    chosen = distribute.strategy("auto")
    assert (chosen if isinstance(chosen, str) else "one") == expected


def test_one_changes_nothing():
    strategy = distribute.strategy("one")
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        assert not tf.distribute.has_strategy()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="mirrors over the GPUs instead")
def test_mirrored_uses_every_logical_cpu():
    kls.distribute.logical_cpus(len(tf.config.list_logical_devices("CPU")))  # as it is: no error
    strategy = distribute.strategy("mirrored")
    assert distribute.strategy("mirrored") is strategy
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))
    assert strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None) == strategy.num_replicas_in_sync


def test_logical_cpus_after_the_start():
    started = len(tf.config.list_logical_devices("CPU"))
    with pytest.raises(RuntimeError, match=f"started with {started}"):
        kls.distribute.logical_cpus(started + 1)
    with pytest.raises(ValueError, match=r"`count`.* at least 1"):
        kls.distribute.logical_cpus(0)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"`name`.*Received: 'miror'. Did you mean 'mirrored'"):
        distribute.strategy("miror")


def test_within_another_scope(two_replicas):
    with two_replicas.scope(), pytest.raises(RuntimeError, match=r"outside every `strategy.scope"):
        distribute.strategy("one")


def test_other_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"Received: 'jax'. Set KERAS_BACKEND=tensorflow"):
        distribute.strategy("one")


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{}",
        tf_config(index=2),
        tf_config(kind="evaluator"),
        '{"cluster": {"worker": ["127.0.0.1:1"]}}',
    ],
)
def test_multi_worker_needs_its_place_in_the_cluster(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=r"Expected TF_CONFIG to list the workers.*strategy\('mirrored'\)"):
        distribute.strategy("multi_worker")


@pytest.mark.parametrize("config", ["nonsense", "[1]", '{"cluster": []}'])
@pytest.mark.parametrize("name", ["auto", "multi_worker"])
def test_malformed_tf_config(monkeypatch, name, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="Expected TF_CONFIG as a JSON object"):
        distribute.strategy(name)


def test_multi_worker_after_the_first_operation(monkeypatch):
    tf.constant(1.0)
    monkeypatch.setenv("TF_CONFIG", tf_config())
    with pytest.raises(RuntimeError, match="before TensorFlow's first operation"):
        distribute.strategy("multi_worker")


def test_no_tpu_named():
    with pytest.raises(ValueError, match=r"Expected a TPU: .*TPU_NAME.*Received: no TPU in the environment"):
        distribute.strategy("tpu")


@pytest.mark.parametrize("name", ["tpu", "auto"])
def test_nothing_listens_at_the_address(monkeypatch, name):
    monkeypatch.setattr(distribute, "_TPU_TIMEOUT", 0.2)
    monkeypatch.setenv("TPU_NAME", f"grpc://{free_addresses(1)[0]}")
    with pytest.raises(ConnectionError, match=r"Expected a TPU at 'grpc://127.0.0.1:.*no answer in 0.2 seconds"):
        distribute.strategy(name)


def test_something_listens_and_never_answers(monkeypatch):
    monkeypatch.setattr(distribute, "_TPU_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TPU_NAME", f"grpc://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ConnectionError, match=r"no answer in 0.2 seconds"):
            distribute.strategy("tpu")


def test_a_name_that_is_looked_up_without_end(monkeypatch):
    monkeypatch.setattr(distribute, "_TPU_TIMEOUT", 0.2)
    monkeypatch.setenv("TPU_NAME", "mine")
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", lambda tpu: threading.Event().wait(60))
    with pytest.raises(ConnectionError, match=r"Expected a TPU at 'mine'.*no answer in 0.2 seconds"):
        distribute.strategy("tpu")


@pytest.mark.parametrize("address", ["local", "grpc://10.0.0.2:8470"])
def test_tpu_is_connected_then_initialised(monkeypatch, address):
    calls = []

    class Resolver:
        def __init__(self, tpu):
            calls.append(("resolve", tpu))

        def master(self):
            return address

    def record(name, result=None):
        return lambda x: calls.append((name, type(x).__name__)) or result

    monkeypatch.setenv("TPU_NAME", address)
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", record("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", record("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", record("strategy", "a TPU"))
    if address != "local":
        server = tf.distribute.Server({"worker": free_addresses(1)}, protocol="grpc", start=True)
        monkeypatch.setattr(Resolver, "master", lambda self: server.target)  # one that answers
    assert distribute.strategy("tpu") == "a TPU"
    remote = [] if address == "local" else [("connect", "Resolver")]
    assert calls == [("resolve", address), *remote, ("initialize", "Resolver"), ("strategy", "Resolver")]
    assert distribute.strategy("tpu") == "a TPU" and len(calls) == len(remote) + 3  # the same, not initialised again


def test_tpu_that_cannot_be_initialised(monkeypatch):
    def fail(resolver):
        raise tf.errors.NotFoundError(None, None, "TPUs not found in the cluster.")

    monkeypatch.setenv("TPU_NAME", "local")
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", fail)
    with pytest.raises(ConnectionError, match=r"TPUs not found in the cluster.*tensorflow-tpu"):
        distribute.strategy("tpu")


def draws():
    return [random.random(), np.random.rand(), float(tf.random.uniform(())), float(keras.random.uniform(()))]


def test_set_seeds_repeats_every_generator():
    kls.distribute.set_seeds(7)
    first = draws()
    kls.distribute.set_seeds(7)
    assert draws() == first
    kls.distribute.set_seeds(8)
    assert not set(draws()) & set(first)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None, 2**32])
def test_invalid_seed(seed):
    with pytest.raises(ValueError, match="Expected `seed`"):
        kls.distribute.set_seeds(seed)


def test_deterministic_on_request(monkeypatch):
    calls = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: calls.append("on"))
    kls.distribute.set_seeds(np.int64(0))
    assert calls == []
    kls.distribute.set_seeds(2**32 - 1, deterministic=True)
    assert calls == ["on"]
