"""Neural collapse: how far features and last layer have gone to the simplex that long training ends in."""

from typing import Any, NamedTuple

from keras import ops as K

from keras_ls.ops._backend import accumulation_dtype, argmax, matmul, mean, norm, segment_sum, to_accumulation_dtype
from keras_ls.ops._checks import check_some_weight, concrete
from keras_ls.ops._inputs import LABELS_ADVICE, check_integer_labels, dropped
from keras_ls.ops._tensors import as_tensor, as_weight, checked_features
from keras_ls.ops._types import Tensor


class NeuralCollapse(NamedTuple):
    """The four measures of neural collapse; all are 0 when it is complete.

    Attributes:
        nc1: variability within the classes, relative to that between their means.
        nc2_equinorm: coefficient of variation of the lengths of the centred class means.
        nc2_equinorm_weights: likewise of the rows of the last layer, one a class.
        nc2_equiangular: mean distance of the cosines between centred class means from -1/(K-1).
        nc2_equiangular_weights: likewise of the rows of the last layer.
        nc3: squared distance of last layer and centred class means, each of unit Frobenius norm; in [0, 4].
        nc4: fraction of the examples that the network gives another class than the nearest class mean does.
    """

    nc1: Any
    nc2_equinorm: Any
    nc2_equinorm_weights: Any
    nc2_equiangular: Any
    nc2_equiangular_weights: Any
    nc3: Any
    nc4: Any


def neural_collapse(
    features: Tensor, labels: Tensor, weights: Tensor, bias: Tensor | None = None, sample_weight: Tensor | None = None
) -> NeuralCollapse:
    """Neural collapse of penultimate features and the last layer, NC1 to NC4.

    With `μ_c` the class means, `m_c = μ_c - μ_G` centred at their mean, M with the rows `m_c`, W with the rows `w_c`:

    - NC1 `tr(Σ_W Σ_B⁺) / K`, of the covariances within and between classes
    - NC2 `std ‖m_c‖ / mean ‖m_c‖` and `mean_{c≠d} |cos(m_c, m_d) + 1/(K-1)|`, and both of the `w_c`
    - NC3 `‖ W/‖W‖_F - M/‖M‖_F ‖²`
    - NC4 the share of examples where `argmax_c (w_c·h + b_c)` is not `argmin_c ‖h - μ_c‖`

    Every class counts alike in the means and covariances, whatever its number of examples (in the paper all have
    equally many); NC4 counts examples. On training data they tell how far training went.

    Args:
        features: `[N, D]`, what the last layer takes.
        labels: integers `[N]` in [0, K), each class at least once.
        weights: `[D, K]`, the kernel of the last layer. Where D ≠ K, its transpose does as well.
        bias: `[K]`, or None for zeros.
        sample_weight: `[N]`, or None. An integer weight counts as that many examples; the scale of the weights says
            nothing.

    Returns:
        `NeuralCollapse` of scalars without unit; float64 (float32 on JAX).

    Raises:
        ValueError: for shapes that do not fit, labels out of range, numbers that are not finite, classes without
            examples, and class means that are all the same.

    Examples:
        Two classes at ±1 along an axis, each spread by ±½ along it: `Σ_W = ¼`, `Σ_B = 1`.

        >>> import keras_ls as kls
        >>> found = kls.ops.neural_collapse([[1.5], [0.5], [-0.5], [-1.5]], [0, 0, 1, 1], [[1.0, -1.0]])
        >>> round(float(found.nc1), 6), round(float(found.nc3), 6), float(found.nc4)
        (0.125, 0.0, 0.0)

    Reference:
        Papyan, Han and Donoho, "Prevalence of Neural Collapse during the Terminal Phase of Deep Learning Training",
        2020.
    """
    features = to_accumulation_dtype(as_tensor("features", features))
    labels = as_tensor("labels", labels, LABELS_ADVICE)
    templates, bias = _checked_layer(features, labels, weights, bias)
    num_classes = templates.shape[0]
    weight = K.ones(K.shape(features)[:1], accumulation_dtype())
    if sample_weight is not None:
        weight = K.reshape(to_accumulation_dtype(as_weight(sample_weight)), (-1,))
        if tuple(weight.shape) != tuple(features.shape[:1]):
            raise ValueError(
                f"Expected `sample_weight` of shape {tuple(features.shape[:1])}. Received: {tuple(weight.shape)}."
            )
        check_some_weight(weight)
        labels, features = dropped(labels, weight), K.where(weight[:, None] != 0, features, K.zeros_like(features))
    checked_features("features", features)
    check_integer_labels(labels, num_classes, weight=weight)
    labels = K.cast(labels, "int32")

    count = segment_sum(weight, labels, num_classes)
    _check_every_class(count)
    means = segment_sum(weight[:, None] * features, labels, num_classes) / count[:, None]
    center = mean(means, axis=0)
    centered = means - center
    lengths = norm(centered, axis=-1)
    _check_means_differ(lengths, center)

    # tr(Σ_W Σ_B⁺) along the directions in which the means differ, without a D×D matrix
    _, spread, directions = K.svd(centered, full_matrices=False)
    tiny = K.max(spread) * max(centered.shape) * (1e-7 if accumulation_dtype() == "float32" else 1e-15)
    differ = spread > tiny
    inverse = K.where(differ, 1 / K.where(differ, spread, K.ones_like(spread)), K.zeros_like(spread))
    residuals = matmul(features - K.take(means, labels, axis=0), K.transpose(directions)) * inverse
    share = weight / K.take(count, labels)  # adds up to 1 in each class: K in all
    within = K.sum(share * K.sum(residuals * residuals, axis=-1)) / num_classes  # Σ_B⁺ = K V S⁻² Vᵀ

    shifted = features - center
    nearest = argmax(matmul(shifted, K.transpose(centered)) - lengths * lengths / 2)
    decided = argmax(matmul(features, K.transpose(templates)) + bias)
    differs = K.cast(nearest != decided, weight.dtype)
    distance = templates / norm(templates) - centered / norm(centered)
    return NeuralCollapse(
        nc1=within,
        nc2_equinorm=_variation(lengths),
        nc2_equinorm_weights=_variation(norm(templates, axis=-1)),
        nc2_equiangular=_equiangular(centered),
        nc2_equiangular_weights=_equiangular(templates),
        nc3=K.sum(distance * distance),
        nc4=K.sum(weight * differs) / K.sum(weight),
    )


def _variation(lengths):
    average = mean(lengths)
    return K.sqrt(mean(K.square(lengths - average))) / average


def _equiangular(rows):
    num_classes = rows.shape[0]
    unit = rows / norm(rows, axis=-1, keepdims=True)
    off = K.abs(matmul(unit, K.transpose(unit)) + 1 / (num_classes - 1))
    others = 1 - K.eye(num_classes, dtype=off.dtype)
    return K.sum(off * others) / (num_classes * (num_classes - 1))


def _checked_layer(features, labels, weights, bias):
    """The rows of the last layer, one a class, and its bias."""
    weights = to_accumulation_dtype(checked_features("weights", weights))
    width = features.shape[-1] if len(features.shape) == 2 else None
    is_kernel = len(weights.shape) == 2 and weights.shape[0] == width
    templates = K.transpose(weights) if is_kernel else weights
    num_classes = (*templates.shape, 0)[0]
    bias = (
        K.zeros((num_classes,), weights.dtype)
        if bias is None
        else to_accumulation_dtype(checked_features("bias", bias))
    )
    shapes = [tuple(array.shape) for array in (features, labels, weights, bias)]
    if (
        width is None
        or shapes[1] != shapes[0][:1]
        or len(shapes[2]) != 2
        or tuple(templates.shape) != (num_classes, width)
        or shapes[3] != (num_classes,)
        or num_classes < 2
    ):
        raise ValueError(
            "Expected `features` [N, D], `labels` [N], `weights` [D, K] and `bias` [K], with K ≥ 2. Received: "
            f"{', '.join(map(str, shapes))}."
        )
    return templates, bias


def _check_every_class(count):
    known = concrete(count)
    if known is not None and not (known > 0).all():
        raise ValueError(
            f"Expected an example of each of the {len(known)} classes. Received: none of class "
            f"{', '.join(map(str, (known <= 0).nonzero()[0][:10]))}. Leave these classes out of `weights` and `bias`."
        )


def _check_means_differ(lengths, center):
    known, place = concrete(lengths), concrete(norm(center))
    if known is not None and known.max() <= 1e-6 * place:
        raise ValueError(
            "Expected features whose class means differ. Received: equal means. Is it the input of the last layer?"
        )
