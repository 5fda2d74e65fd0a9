"""Caches of teachers with inputs of their own, and of sequences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ls as kls
from keras_ls.distillation import CachedTeacher, Distiller, LogitsDistillation, TeacherCache
from tests.distillation.networks import CLASSES, X, Y, kl, network
from tests.distillation.teacher_cache.caches import spoken, written

BOTH = {"large": np.repeat(X, 2, axis=1), "small": X}
SEQUENCES = [[1, 2], [3], [1, 2, 3], [4], [2, 2, 2, 2], [1]]


def both(x=BOTH):
    return tf.data.Dataset.from_tensor_slices((x, Y)).enumerate()


def large_part(x):
    return x["large"]


def large_teacher():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(CLASSES)])


def sequences():
    spec = (tf.TensorSpec((), tf.int64), (tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int64)))
    rows = [(i, (np.array(row, "int32"), 0)) for i, row in enumerate(SEQUENCES)]
    return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=spec)


def sequence_teacher():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(5, 2, mask_zero=True)(inputs))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


@pytest.mark.parametrize("given", ["large", large_part])
def test_a_teacher_with_inputs_of_its_own(tmp_path, given):
    t = large_teacher()
    cache = written(tmp_path, both(), t, teacher_inputs=given)
    expected = t(BOTH["large"]).numpy()
    np.testing.assert_allclose(spoken(cache.join(both().batch(5))), expected, atol=1e-6)
    np.testing.assert_allclose(spoken(TeacherCache(tmp_path).join(both(), teacher_inputs=given)), expected, atol=1e-6)
    # what the student alone gets may change; what the teacher got, not
    assert len(spoken(cache.join(both({**BOTH, "small": X + 1})))) == len(X)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected the inputs that the teacher saw"):
        spoken(cache.join(both({**BOTH, "large": BOTH["large"] + 1})))


def test_what_was_written_for_its_part_joins_the_whole(tmp_path):
    part = tf.data.Dataset.from_tensor_slices((BOTH["large"], Y)).enumerate()
    cache = written(tmp_path, part, large_teacher())
    joined = cache.join(both().batch(4), teacher_inputs="large")
    np.testing.assert_allclose(spoken(joined), large_teacher()(BOTH["large"]), atol=1e-6)


def test_it_teaches_a_student_with_inputs_of_its_own(tmp_path):
    cache, s = written(tmp_path, both(), large_teacher(), teacher_inputs="large"), network()
    distiller = Distiller(CachedTeacher(), s, LogitsDistillation(1.0), teacher_inputs="large", student_inputs="small")
    distiller.compile("sgd", kls.losses.SmoothedCrossentropy(0.0), jit_compile=False)
    logs = distiller.evaluate(cache.join(both().batch(8)), verbose=0, return_dict=True)
    expected = kl(large_teacher()(BOTH["large"]), s(X)).mean()
    assert logs["logits_distillation"] == pytest.approx(expected, rel=1e-4)


def test_which_inputs_is_a_setting(tmp_path):
    written(tmp_path, both(), large_teacher(), teacher_inputs="large")
    with pytest.raises(ValueError, match="Expected teacher_inputs='large', as the cache"):
        written(tmp_path, both(), large_teacher(), teacher_inputs=large_part)
    with pytest.raises(ValueError, match=r"Expected teacher_inputs='large', as the cache.*Received: None"):
        written(tmp_path, both(), large_teacher())
    with pytest.raises(ValueError, match="Expected `teacher_inputs` to be a key"):
        written(tmp_path / "other", both(), large_teacher(), teacher_inputs=1)
    written(tmp_path / "function", both(), large_teacher(), teacher_inputs=large_part)
    reopened = TeacherCache(tmp_path / "function")
    with pytest.raises(ValueError, match="Expected `teacher_inputs`, the function of x that the cache was written"):
        reopened.join(both())
    assert len(spoken(reopened.join(both(), verify=False))) == len(X)


@pytest.mark.parametrize("dataset", [sequences().padded_batch(2), sequences().padded_batch(3), sequences()])
def test_sequences_of_several_lengths_are_refused(tmp_path, dataset):
    with pytest.raises(ValueError, match=r"Expected inputs of one shape. Received: several lengths, of .*\]. Pad all"):
        written(tmp_path, dataset, sequence_teacher())


def test_ragged_and_sparse_inputs_are_refused(tmp_path):
    ragged = tf.data.Dataset.from_tensor_slices((tf.ragged.constant(SEQUENCES), np.zeros(6))).enumerate()
    with pytest.raises(ValueError, match=r"Expected inputs as dense tensors. Received: RaggedTensor. Pad all"):
        written(tmp_path, ragged, sequence_teacher())
    sparse = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(X), Y)).enumerate()
    with pytest.raises(ValueError, match=r"Expected inputs as dense tensors. Received: Sparse"):
        written(tmp_path, sparse, network())


def test_sequences_of_one_length(tmp_path):
    t = sequence_teacher()
    expected = np.concatenate([t(np.array([row])) for row in SEQUENCES])
    one_length = {"padded_shapes": ([], ([4], []))}
    cache = written(tmp_path, sequences().padded_batch(2, **one_length), t)
    np.testing.assert_allclose(spoken(cache.join(sequences().padded_batch(3, **one_length))), expected, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="sequences padded to the same length"):
        spoken(cache.join(sequences().padded_batch(3)))
