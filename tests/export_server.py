"""Serves every SavedModel in a folder with TensorFlow alone.

python export_server.py FOLDER    # FOLDER/NAME/saved_model.pb, FOLDER/NAME.inputs.npz -> FOLDER/NAME.outputs.npz
"""

import pathlib
import sys

# neither can be imported from here on, not even by TensorFlow
sys.modules["keras"] = sys.modules["keras_ls"] = None

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

for inputs in pathlib.Path(sys.argv[1]).glob("*.inputs.npz"):
    model = inputs.with_name(inputs.name.removesuffix(".inputs.npz"))
    serve = tf.saved_model.load(str(model)).signatures["serving_default"]
    outputs = serve(**{name: tf.constant(value) for name, value in np.load(inputs).items()})
    np.savez(f"{model}.outputs.npz", **{name: value.numpy() for name, value in outputs.items()})
