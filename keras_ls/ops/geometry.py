"""The geometry of penultimate activations: the plane through three class templates, and how separate classes are."""

import keras
from keras import ops as K

from keras_ls.ops.checks import check_integer_labels, check_no_nan, concrete
from keras_ls.ops.float64 import matmul, mean, norm, segment_sum
from keras_ls.ops.precision import at_least_float32, to_accumulation_dtype


def class_plane(templates):
    """An orthonormal basis of the plane that crosses three class templates.

    The plane is affine: Gram-Schmidt on `(w₂ - w₁, w₃ - w₁)`. The origin is the centroid of the templates, the first
    axis points from w₁ to w₂, and w₃ lies on the positive side of the second.

    Args:
        templates: `[3, D]`, D ≥ 2: rows w₁, w₂, w₃, the columns of the last layer's kernel for three classes.

    Returns:
        `(origin, basis)`: `[D]` and `[2, D]` with orthonormal rows.

    Raises:
        ValueError: for another shape, NaN, or templates on one line, which span no plane.

    Examples:
        >>> import keras_ls as kls
        >>> origin, basis = kls.ops.class_plane([[0.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 3.0, 5.0]])
        >>> [float(v) for v in origin], [[float(v) for v in row] for row in basis]
        ([1.0, 1.0, 5.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    Reference:
        Müller, Kornblith and Hinton, "When Does Label Smoothing Help?", section 2, 2019.
    """
    templates = at_least_float32(templates)
    if len(templates.shape) != 2 or templates.shape[0] != 3 or templates.shape[1] < 2:
        raise ValueError(f"Expected `templates` of shape [3, D] with D ≥ 2. Received: {tuple(templates.shape)}.")
    check_no_nan("templates", templates, "Was the model trained to a NaN loss?")
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


def project(features, origin, basis):
    """Coordinates of features in a plane: `(x - origin) · basisᵀ`.

    Args:
        features: `[N, D]` penultimate activations.
        origin: `[D]`, from `class_plane`.
        basis: `[2, D]`, from `class_plane`.

    Returns:
        `[N, 2]`, in the units of the features.

    Raises:
        ValueError: when the widths differ.

    Examples:
        >>> import keras_ls as kls
        >>> xy = kls.ops.project([[4.0, 2.0, 9.0]], [1.0, 1.0, 5.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> [float(v) for v in xy[0]]
        [3.0, 1.0]
    """
    features = at_least_float32(features)
    origin, basis = K.cast(origin, features.dtype), K.cast(basis, features.dtype)
    if len(features.shape) != 2 or features.shape[-1] != basis.shape[-1] or origin.shape != basis.shape[-1:]:
        raise ValueError(
            "Expected `features` [N, D], `origin` [D] and `basis` [2, D] of one width D. Received: "
            f"{tuple(features.shape)}, {tuple(origin.shape)} and {tuple(basis.shape)}."
        )
    return matmul(features - origin, K.transpose(basis))


def class_separation(features, labels):
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
        ValueError: for shapes that do not fit, NaN, fewer than two classes, or features that all point one way.

    Examples:
        Two classes, each one direction, at a right angle: nothing within, `1 - ½` in total.

        >>> import keras_ls as kls
        >>> float(kls.ops.class_separation([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], [0, 0, 1]))
        1.0

    Reference:
        Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable Features?", 2021.
    """
    features = to_accumulation_dtype(features)
    labels = K.convert_to_tensor(labels)
    if len(features.shape) != 2 or tuple(labels.shape) != tuple(features.shape[:1]):
        raise ValueError(
            f"Expected `features` [N, D] and `labels` [N]. Received: {tuple(features.shape)} and {tuple(labels.shape)}."
        )
    check_no_nan("features", features, "Was the model trained to a NaN loss?")
    num_classes = int(K.max(labels)) + 1 if labels.shape[0] else 0
    check_integer_labels(labels, max(num_classes, 1))
    labels = K.cast(labels, "int32")
    length = norm(features, axis=-1, keepdims=True)
    unit = features / K.where(length > 0, length, K.ones_like(length))
    sums = segment_sum(K.concatenate([unit, K.ones_like(length)], axis=-1), labels, num_classes)
    count = sums[:, -1:]
    present = K.cast(count > 0, count.dtype)
    num_present = K.sum(present)
    if int(num_present) < 2:
        raise ValueError(f"Expected examples of at least two classes. Received: {int(num_present)}.")
    means = sums[:, :-1] / K.maximum(count, 1)
    within = K.sum(present[:, 0] * (1 - K.sum(means * means, axis=-1))) / num_present
    center = K.sum(means, axis=0) / num_present
    total = 1 - K.sum(center * center)
    if float(total) <= 1e-12:
        raise ValueError("Expected features in more than one direction. Received: features that all point one way.")
    return 1 - within / total
