"""What a teacher returned, as a loss takes it: without a gradient, with its mask, in one dense tensor."""

from keras import ops as K

from keras_ls.ops._weights import align_leading, get_keras_mask

try:
    from keras.src.backend import set_keras_mask
except ImportError:

    def set_keras_mask(x, mask):
        """Puts a Keras mask on `x`."""
        x._keras_mask = mask


def without_gradient(x):
    """`x` as a constant; its mask stays on."""
    constant, mask = K.stop_gradient(x), get_keras_mask(x)
    if mask is not None:
        set_keras_mask(constant, mask)
    return constant


def teachers_mask(teacher, student):
    """The mask of a teacher's output where it fits the student's, `[N, ...]` over its leading axes; else None."""
    mask = get_keras_mask(teacher)
    if mask is None or len(mask.shape) > len(student.shape):
        return None
    fits = all(a is None or b is None or a == b for a, b in zip(mask.shape, student.shape))
    return K.cast(mask, "bool") if fits else None


def masked_by_both(teacher, student):
    """The student's output with the mask of both, for a loss of Keras's, which looks at that alone."""
    mask, own = teachers_mask(teacher, student), get_keras_mask(student)
    if mask is None:
        return student
    student = K.copy(student)  # the student's own loss and metrics go by its own mask
    set_keras_mask(student, mask if own is None else K.logical_and(K.cast(own, "bool"), align_leading(mask, own)))
    return student


def check_dense(*outputs):
    """Raises `ValueError` for a RaggedTensor."""
    if any(hasattr(one, "row_splits") for one in outputs):
        raise ValueError(
            "Expected outputs of teacher and student as dense tensors. Received: a RaggedTensor. Pad what the models "
            "return to one length (`to_tensor()`), with a Keras mask or weights of 0 where there is nothing."
        )
