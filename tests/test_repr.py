"""What the interpreter shows of a loss, a calibrator and a cache says what they are."""

import keras
import numpy as np
import pytest

import keras_ls as kls

LOGITS, LABELS = [[2.0, 0.0]] * 20 + [[0.0, 2.0]] * 20, [0, 0, 0, 1] * 5 + [1, 1, 1, 0] * 5


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: kls.losses.SmoothedCrossentropy(), "SmoothedCrossentropy(label_smoothing=0.1)"),
        (
            lambda: kls.losses.SmoothedCrossentropy(0.2, prior=[0.1] * 10, ignore_class=3, name="mine"),
            "SmoothedCrossentropy(label_smoothing=0.2, prior=[0.1, ... 10 in all], ignore_class=3)",
        ),
        (lambda: kls.losses.OnlineLabelSmoothing(5), "OnlineLabelSmoothing(num_classes=5)"),
        (
            lambda: kls.distillation.LogitsDistillation(4.0, student_temperature=1.0),
            "LogitsDistillation(temperature=4, student_temperature=1)",
        ),
        (
            lambda: kls.distillation.FeatureDistillation(
                keras.losses.MeanSquaredError(), "a", "b", projector=keras.layers.Dense(3)
            ),
            "FeatureDistillation(loss=MeanSquaredError, teacher_layer_name='a', student_layer_name='b', "
            "projector=Dense)",
        ),
        (lambda: kls.calibrators.IsotonicCalibration(), "<IsotonicCalibration(method='one_vs_rest'), not fitted>"),
        # three of four right at a gap of 2: T = 2 / log 3; the NLL goes from log(1 + e²) - 3/4 · 2 to H(1/4)
        (
            lambda: kls.calibrators.TemperatureScaling().fit(LOGITS, LABELS),
            "<TemperatureScaling(temperature=1.82048), NLL 0.6269 → 0.5623 nats>",
        ),
    ],
)
def test_arguments(made, text):
    assert repr(made()) == text


@pytest.mark.tensorflow
def test_cache(tmp_path):
    import tensorflow as tf

    teacher = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    data = tf.data.Dataset.from_tensor_slices((np.zeros((2000, 2), "float32"),)).enumerate()
    cache = kls.distillation.TeacherCache(tmp_path)
    assert repr(cache) == f"TeacherCache({str(tmp_path)!r}, nothing written)"
    cache.write(teacher, data, verbose=0)
    # 2,000 rows of an id and a checksum of 8 bytes each, and 3 logits of 4 are 56,000 bytes = .05 MiB
    assert repr(cache) == f"TeacherCache({str(tmp_path)!r}, 1 complete pass of 2,000 examples, 3 classes, 0.1 MiB)"
