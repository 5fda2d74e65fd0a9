"""Four logical CPU devices for every test on TensorFlow, so that replicas can be compared on any machine.

`make test-backends` runs part of the tests with KERAS_BACKEND=jax and KERAS_BACKEND=torch.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

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
