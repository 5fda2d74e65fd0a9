"""What is measured of a teacher while it teaches: its own calibration, and how far the student agrees with it."""

import keras
from keras import ops as K

from keras_ls.ops._weights import align_leading, get_keras_mask


class TeacherMetrics(keras.metrics.Metric):
    """Metrics of a teacher, updated with the outputs that the distillation losses see: the teacher runs no second time.

    A metric with the attribute `needs_teacher` (`TeacherAgreement`) is given `(teacher outputs, student outputs)` and
    logged by its name. Any other is given `(labels, teacher outputs)`, and logged as "teacher_" and its name. Sample
    weights count, as for Keras's `weighted_metrics`; a mask that either of the outputs carries drops examples from both
    kinds.

    Args:
        metrics: a list of metrics for a model of one output; for several, a dictionary from the names of outputs to
            lists, whose logs begin with the name of the output.

    Attributes:
        known: whether there is a teacher to measure; without one every result is NaN.

    Raises:
        ValueError: for anything but metrics, two of one name, outputs without names, and labels that are needed and
            not there.
    """

    def __init__(self, metrics):
        super().__init__(name="teacher_metrics")
        self.given = metrics
        self.known = True
        chosen = metrics if isinstance(metrics, dict) else {None: metrics}
        self._entries = [
            (output, metric)
            for output, found in chosen.items()
            for metric in (found if isinstance(found, (list, tuple)) else [found])
        ]
        for _, metric in self._entries:
            if not isinstance(metric, keras.metrics.Metric):
                raise ValueError(
                    "Expected `teacher_metrics` to be metrics such as keras_ls.metrics.TeacherAgreement() or "
                    f'keras_ls.metrics.ExpectedCalibrationError(name="ece"). Received: {metric!r}.'
                )
        names = [_log_name(*entry) for entry in self._entries]
        if len(set(names)) < len(names):
            raise ValueError(f"Expected `teacher_metrics` with names of their own. Received: {names}.")

    @property
    def variables(self):
        """The states of all metrics."""
        return [variable for _, metric in self._entries for variable in metric.variables]

    def update_state(self, y_true, teacher_outputs, student_outputs, sample_weight=None):
        """Adds a batch of labels (or None) and of both outputs."""
        for output, metric in self._entries:
            from_teacher, from_student = _one(teacher_outputs, output), _one(student_outputs, output)
            weight = sample_weight
            if keras.tree.is_nested(sample_weight):
                weight = _one(sample_weight, output)
            for mask in map(get_keras_mask, (from_teacher, from_student)):
                if mask is not None:
                    mask = K.cast(mask, "float32")
                    weight = mask if weight is None else mask * align_leading(K.cast(weight, "float32"), mask)
            from_teacher, from_student = K.stop_gradient(from_teacher), K.stop_gradient(from_student)
            if getattr(metric, "needs_teacher", False):
                metric.update_state(from_teacher, from_student, sample_weight=weight)
                continue
            if y_true is None:
                raise ValueError(
                    f"Expected labels for the teacher's {metric.name!r}. Received: data without y. Without labels only "
                    "metrics such as TeacherAgreement can be measured."
                )
            metric.update_state(_one(y_true, output), from_teacher, sample_weight=weight)

    def result(self):
        """Log name → value."""
        results = {_log_name(output, metric): metric.result() for output, metric in self._entries}
        return results if self.known else {name: value + float("nan") for name, value in results.items()}

    def reset_state(self):
        """Empties all of them."""
        for _, metric in self._entries:
            metric.reset_state()


def _log_name(output, metric):
    name = metric.name if getattr(metric, "needs_teacher", False) else f"teacher_{metric.name}"
    return name if output is None else f"{output}_{name}"


def _one(outputs, name):
    """The output, label or weight of this name; for None the only one there is."""
    if name is not None and isinstance(outputs, dict) and name in outputs:
        return outputs[name]
    flat = keras.tree.flatten(outputs)
    if name is None and len(flat) == 1:
        return flat[0]
    had = sorted(outputs) if isinstance(outputs, dict) else f"{len(flat)} without names"
    raise ValueError(
        "Expected `teacher_metrics` as a list for a model of one output, or as a dictionary by the names of outputs "
        f"for one that returns a dictionary. Received: {'a list' if name is None else repr(name)} for outputs {had}."
    )
