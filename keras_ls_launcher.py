"""What the command `keras-ls` starts: loads TensorFlow without the notices that it writes while it loads.

They tell of CUDA libraries and CPU instructions, come before any log level is read, and would stand above every table.
A module of its own, because importing anything in `keras_ls` imports Keras first.
"""

import contextlib
import os
import sys


def main():
    """Runs the command line; Ctrl-C ends it with one sentence, also while TensorFlow loads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        if "--help" not in sys.argv:
            with quiet_stderr():
                import tensorflow as tf

                tf.config.list_physical_devices()  # looks for GPUs, without the runtime that a strategy configures
        from keras_ls.cli import main as run

        run()
    except KeyboardInterrupt:
        print(stopped(*sys.argv[1:2]), file=sys.stderr)
        sys.exit(130)


def stopped(command=None):
    """What is said where somebody stops a command."""
    return f"Stopped. The same command {'goes on from here' if command == 'run' else 'starts again'}."


@contextlib.contextmanager
def quiet_stderr():
    """Sends what native code writes to stderr to nowhere; Python's own errors still surface as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
