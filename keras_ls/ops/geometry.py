"""The geometry of penultimate activations: the plane through three class templates, and how separate classes are."""

import keras
import numpy as np
from keras import ops as K

from keras_ls.ops._backend import matmul, mean, norm, segment_sum, to_accumulation_dtype
from keras_ls.ops._checks import concrete
from keras_ls.ops._inputs import LABELS_ADVICE
from keras_ls.ops._tensors import as_tensor, checked_features
from keras_ls.ops._types import Tensor


def class_plane(templates: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the plane that crosses three class templates.

    The plane is affine: Gram-Schmidt on `(w₂ - w₁, w₃ - w₁)`. The origin is the centroid of the templates, the first
    axis points from w₁ to w₂, and w₃ lies on the positive side of the second.

    Args:
        templates: `[3, D]`, D ≥ 2: rows w₁, w₂, w₃, the columns of the last layer's kernel for three classes.

    Returns:
        `(origin, basis)`: `[D]` and `[2, D]` with orthonormal rows.

    Raises:
        ValueError: for another shape, numbers that are not finite, or templates on one line, which span no plane.

    Examples:
        >>> import keras_ls as kls
        >>> origin, basis = kls.ops.class_plane([[0.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 3.0, 5.0]])
        >>> [float(v) for v in origin], [[float(v) for v in row] for row in basis]
        ([1.0, 1.0, 5.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 2, 2019.
    """
    templates = checked_features("templates", templates)
    if len(templates.shape) != 2 or templates.shape[0] != 3 or templates.shape[1] < 2:
        raise ValueError(f"Expected `templates` of shape [3, D] with D ≥ 2. Received: {tuple(templates.shape)}.")
    first, second = templates[1] - templates[0], templates[2] - templates[0]
    first_length = norm(first)
    first_axis = first / K.where(first_length > 0, first_length, K.ones_like(first_length))
    rest = second - K.sum(second * first_axis) * first_axis
    rest = rest - K.sum(rest * first_axis) * first_axis  # once more: nearly parallel templates lose orthogonality
    rest_length = norm(rest)
    known = concrete(K.stack([first_length, rest_length, norm(second)]))
    tolerance = 1e-6 if keras.backend.standardize_dtype(templates.dtype) == "float32" else 1e-12
    if known is not None and (known[0] == 0 or known[1] <= tolerance * max(known[0], known[2])):
        raise ValueError(
            "Expected three templates that span a plane. Received: templates on one line (two may be equal). "
            "Choose other classes."
        )
    return mean(templates, axis=0), K.stack([first_axis, rest / rest_length])


def project(features: Tensor, origin: Tensor, basis: Tensor) -> Tensor:
    """Coordinates of features in a plane: `(x - origin) · basisᵀ`.

    Args:
        features: `[N, D]` penultimate activations.
        origin: `[D]`, from `class_plane`.
        basis: `[2, D]`, from `class_plane`.

    Returns:
        `[N, 2]`, in the units of the features.

    Raises:
        ValueError: for shapes that do not fit, and numbers that are not finite.

    Examples:
        >>> import keras_ls as kls
        >>> xy = kls.ops.project([[4.0, 2.0, 9.0]], [1.0, 1.0, 5.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> [float(v) for v in xy[0]]
        [3.0, 1.0]
    """
    features = checked_features("features", features)
    origin, basis = (K.cast(checked_features(*x), features.dtype) for x in (("origin", origin), ("basis", basis)))
    if (
        len(features.shape) != 2
        or len(basis.shape) != 2
        or features.shape[-1] != basis.shape[-1]
        or origin.shape != basis.shape[-1:]
    ):
        raise ValueError(
            "Expected `features` [N, D], `origin` [D] and `basis` [2, D] of one width D. Received: "
            f"{tuple(features.shape)}, {tuple(origin.shape)} and {tuple(basis.shape)}."
        )
    return matmul(features - origin, K.transpose(basis))


def class_separation(features: Tensor, labels: Tensor) -> Tensor:
    """Class separation: one minus the ratio of mean cosine distances within classes and overall.

    `R² = 1 - d̄_within / d̄_total`. With x̂ the unit features, `d̄_within` is the mean over classes of
    `1 - ‖mean x̂ of the class‖²`, and `d̄_total` is `1 - ‖mean over classes of these means‖²`: pairs are counted with
    every class weighted alike, a pair of an example with itself included. A row of zeros has no direction: its cosine
    with every row counts as 0.

    Args:
        features: `[N, D]`.
        labels: integers `[N]`; at least two classes must occur.

    Returns:
        A scalar of at most 1: 1 when each class is one direction and the classes differ, 0 when class tells nothing.

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, fewer than two classes, or features that
            all point one way.

    Examples:
        Two classes, each one direction, at a right angle: nothing within, `1 - ½` in total.

        >>> import keras_ls as kls
        >>> float(kls.ops.class_separation([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], [0, 0, 1]))
        1.0

    Reference:
        Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable Features?", 2021.
    """
    features = to_accumulation_dtype(checked_features("features", features))
    labels = as_tensor("labels", labels, LABELS_ADVICE)
    if len(features.shape) != 2 or tuple(labels.shape) != tuple(features.shape[:1]):
        raise ValueError(
            f"Expected `features` [N, D] and `labels` [N]. Received: {tuple(features.shape)} and {tuple(labels.shape)}."
        )
    classes, labels = _classes_that_occur(labels)
    num_classes = len(classes)
    if num_classes < 2:
        raise ValueError(f"Expected examples of at least two classes. Received: {num_classes}.")
    length = norm(features, axis=-1, keepdims=True)
    unit = features / K.where(length > 0, length, K.ones_like(length))
    sums = segment_sum(K.concatenate([unit, K.ones_like(length)], axis=-1), labels, num_classes)
    means = sums[:, :-1] / sums[:, -1:]
    within = K.sum(1 - K.sum(means * means, axis=-1)) / num_classes
    center = K.sum(means, axis=0) / num_classes
    total = 1 - K.sum(center * center)
    if float(total) <= 1e-12:
        raise ValueError("Expected features in more than one direction. Received: features that all point one way.")
    return 1 - within / total


def _classes_that_occur(labels):
    """`(classes, index of each label's)`: whatever numbers they have, the others cost nothing."""
    known = concrete(labels)
    if known is None:
        raise ValueError(
            "Expected `labels` with known values. Received: a traced tensor. Call it outside the function."
        )
    wrong = ~((known >= 0) & (known == np.floor(known)))
    if wrong.any():
        raise ValueError(f"Expected integer labels of at least 0. Received: {known[wrong][0]}.")
    classes, index = np.unique(known, return_inverse=True)
    return classes, K.convert_to_tensor(index.astype("int32"))
