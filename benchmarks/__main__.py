"""All benchmarks, one after the other: `make bench`, or `python -m benchmarks [NAME...]`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_ls_launcher import quiet_stderr

with quiet_stderr():
    import tensorflow as tf

    tf.constant(0)

from benchmarks import calibration, distillation, import_time, losses, resume

ALL = {
    "import_time": import_time,
    "losses": losses,
    "calibration": calibration,
    "distillation": distillation,
    "resume": resume,
}

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"Expected benchmarks among {', '.join(ALL)}. Received: {name!r}.")
    ALL[name].main()
