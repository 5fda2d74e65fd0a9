"""Whether XLA compiles: it fuses what other executors do better in separate kernels, and leaves assertions out."""

import keras


def compiled_by_xla():
    """Whether XLA compiles what is computed: on JAX, and in TensorFlow with `jit_compile=True` or on a TPU."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
