"""Two logical CPU devices for every test, so that replicas can be compared on any machine."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# programs that tests start in processes of their own
collect_ignore = ["distribute_worker.py", "export_server.py"]


@pytest.fixture(scope="session")
def two_replicas():
    import keras_ls as kls

    return kls.distribute.strategy("mirrored")
