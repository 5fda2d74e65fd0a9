"""What TensorBoard shows of calibration: numbers, a reliability diagram and a histogram of confidence an epoch."""

import os

import keras
import numpy as np

from keras_ls.ops._checks import concrete
from keras_ls.ops.binning import bin_statistics, uniform_bin_index

BUCKETS = 50  # of the histogram, over [0, 1]: the same in every epoch
INCHES, DPI = 4, 100  # of the diagram


def checked_log_dir(log_dir):
    """`log_dir` as a string with `~` expanded, or None; raises `ValueError` for what is no path."""
    if log_dir is None:
        return None
    if not isinstance(log_dir, (str, os.PathLike)):
        received = f"{type(log_dir).__name__} of shape {tuple(log_dir.shape)}" if hasattr(log_dir, "shape") else log_dir
        raise ValueError(
            f"Expected `log_dir` to be a path or None. Received: {received!r}. Labels belong to `validation_data`: "
            "CalibrationCallback((x, y))."
        )
    return os.path.expanduser(os.fspath(log_dir))  # a string, as it may be a remote one


class CalibrationLog:
    """Events of one training, in `log_dir/calibration`.

    Args:
        log_dir: directory, made where it is missing.

    Raises:
        ValueError: on other backends than TensorFlow, and for a directory that cannot be written.
    """

    def __init__(self, log_dir):
        if keras.backend.backend() != "tensorflow":
            raise ValueError("Expected `log_dir=None`: TensorBoard logs need the TensorFlow backend of Keras.")
        log_dir = checked_log_dir(log_dir)
        import tensorflow as tf

        try:
            self._writer = tf.summary.create_file_writer(os.path.join(log_dir, "calibration"))
            self._writer.flush()
        except tf.errors.OpError as error:
            raise ValueError(
                f"Expected `log_dir` to be a directory that can be written. Received: {log_dir!r} "
                f"({error.message.splitlines()[0]}). Pass another one, or None to log nothing."
            ) from error

    def write_scalars(self, epoch, values):
        """Writes a dictionary of numbers."""
        import tensorflow as tf

        with self._writer.as_default(step=epoch):
            for key, value in values.items():
                tf.summary.scalar(key, value)
        self._writer.flush()

    def write_confidence(self, epoch, confidence, accuracy, weight):
        """Writes a histogram of the confidence: `[left, right, weight]` of each bucket."""
        import tensorflow as tf

        sums = bin_statistics(uniform_bin_index(confidence, BUCKETS), confidence, accuracy, weight, BUCKETS)
        edges = np.arange(BUCKETS + 1) / BUCKETS
        # what tf.summary.histogram writes, which has other buckets every time and takes no weights
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = "histograms"
        buckets = np.stack([edges[:-1], edges[1:], concrete(sums)[0]], axis=1)
        with self._writer.as_default(step=epoch):
            tf.summary.write("confidence", buckets, metadata=metadata)
        self._writer.flush()

    def write_diagram(self, epoch, confidence, accuracy, weight, num_bins, binary):
        """Writes a reliability diagram, of the top label or of P(y=1), as an image."""
        import tensorflow as tf

        from keras_ls.plots import ReliabilityDisplay
        from keras_ls.plots.canvas import pixels, unseen_figure
        from keras_ls.plots.reliability_bins import bins_of_predictions

        bins = bins_of_predictions(accuracy, confidence, num_bins, "uniform", "left", False, weight)
        names = {"xlabel": "P(y = 1)", "ylabel": "frequency"} if binary else {}
        figure = unseen_figure(INCHES, INCHES)
        ReliabilityDisplay(*bins, name=f"epoch {epoch + 1}").plot(figure.subplots(), **names)
        with self._writer.as_default(step=epoch):
            tf.summary.image("reliability", pixels(figure, DPI)[None])
        self._writer.flush()

    def close(self):
        """Closes the file."""
        self._writer.close()
