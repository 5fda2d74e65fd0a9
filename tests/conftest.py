"""Four logical CPU devices for every test on TensorFlow, so that replicas can be compared on any machine.

`make test-backends` runs part of the tests with KERAS_BACKEND=jax and KERAS_BACKEND=torch.
"""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
if os.environ.get("KERAS_BACKEND") == "jax" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # what one worker of pytest-xdist has compiled the other reads: they inherit the variables
    shared = tempfile.TemporaryDirectory(prefix="keras_ls-jax-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = shared.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import keras
import pytest

BACKEND = keras.backend.backend()

if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
    )

# programs that tests start in processes of their own
collect_ignore = ["distribute_worker.py", "export_server.py"]


def pytest_collection_modifyitems(items):
    for item in items:
        for marker in ("tensorflow", "jax"):
            if item.get_closest_marker(marker) and marker != BACKEND:
                item.add_marker(pytest.mark.skip(reason=f"is about {marker} itself; the backend is {BACKEND}"))
        if item.get_closest_marker("float64") and BACKEND == "jax":
            item.add_marker(pytest.mark.skip(reason="needs float64, which JAX has not by default"))
        if item.get_closest_marker("slow_on_jax") and BACKEND == "jax":
            item.add_marker(pytest.mark.skip(reason="TensorFlow and PyTorch show it; compilations on JAX take minutes"))


@pytest.fixture(scope="session")
def two_replicas():
    return _mirrored(2)


@pytest.fixture(scope="session")
def four_replicas():
    return _mirrored(4)


def _mirrored(count):
    from keras_ls.distribute import MirroredStrategy

    class WithKeysOfItsOwn(MirroredStrategy):
        # TensorFlow numbers the groups of devices anew in every strategy, and refuses two sizes under one number
        _collective_key_base = 100 * count

    return WithKeysOfItsOwn([f"CPU:{i}" for i in range(count)])
