"""How teacher and student relate the examples of a batch to one another.

These take the whole batch, with weights: an integer weight equals repeating the example, and weight 0 dropping it. Each
returns one value an example, whose weighted mean is the formula of the paper.
"""

from keras import ops as K

from keras_ls.ops._backend import accumulation_dtype, divide_no_nan, few_epsilons, matmul, mean, to_accumulation_dtype
from keras_ls.ops._inputs import same_shape
from keras_ls.ops._tensors import as_weight, checked_features
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import to_counts


def correlation_distance(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """One minus Pearson's correlation along the last axis.

    `1 - ρ`, `ρ = Σ w (x - x̄)(y - ȳ) / √(Σ w (x - x̄)² · Σ w (y - ȳ)²)`, with weighted means x̄ and ȳ. Where x or y
    does not vary, ρ counts as 0. The authors' code adds 1e-8 to the denominator, which pulls ρ to 0 where both vary
    little.

    Args:
        x: `[..., L]`.
        y: of the same shape.
        weight: w, `[L]`; None for ones. Their scale says nothing.

    Returns:
        `[...]`, in [0, 2]; float64 (float32 on JAX).

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, and negative weights.

    Examples:
        >>> import keras_ls as kls
        >>> rows = kls.ops.correlation_distance([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], [[5.0, 7.0, 9.0], [1.0, 0.0, 1.0]])
        >>> [round(abs(float(d)), 4) for d in rows]
        [0.0, 1.0]

    Reference:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022.
    """
    return correlation_core(*_checked_vectors(x, y, weight))


def correlation_core(x, y, weight=None):
    """`correlation_distance` of checked features."""
    x, y = to_accumulation_dtype(x), to_accumulation_dtype(y)
    weight = K.ones_like(x[..., :1]) if weight is None else to_accumulation_dtype(weight)
    weight = K.broadcast_to(weight, K.shape(x))
    (x, x_flat, x_length), (y, y_flat, y_length) = _deviations(x, weight), _deviations(y, weight)
    correlation = K.sum(weight * x * y, axis=-1) / (x_length * y_length)
    return 1 - K.where(K.logical_or(x_flat, y_flat), K.zeros_like(correlation), correlation)


def distance_error(teacher: Tensor, student: Tensor, weight: Tensor | None = None) -> Tensor:
    """How differently teacher and student see an example's distances to the others (RKD-D).

    `ℓ_i = Σ_j w_j h(ψ_t(i, j) - ψ_s(i, j)) / Σ_j w_j`, with `ψ(i, j) = ‖x_i - x_j‖ / μ`, μ the weighted mean distance
    of the pairs that differ, and h Huber's loss: `½ d²` up to |d| = 1, `|d| - ½` beyond. As in the authors' code, the
    mean over pairs counts the N pairs of an example with itself.

    Args:
        teacher: `[N, D]`.
        student: `[N, D']`.
        weight: w, `[N]`; None for ones. Their scale says nothing.

    Returns:
        `[N]`, without unit; float64 (float32 on JAX).

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, and negative weights.

    Examples:
        The teacher's distances are 1, 1, 2 and the student's 1, 2, 1; the mean is 4/3. Example 0 is off by ¾ in one of
        three pairs: `½ · (¾)² / 3`.

        >>> import keras_ls as kls
        >>> error = kls.ops.distance_error([[0.0], [1.0], [-1.0]], [[0.0], [1.0], [2.0]])
        >>> [round(float(e), 6) for e in error]
        [0.09375, 0.09375, 0.1875]

    Reference:
        Park et al., "Relational Knowledge Distillation", 2019.
    """
    return distance_core(*_checked_rows(teacher, student, weight))


def distance_core(teacher, student, weight=None):
    """`distance_error` of checked features."""
    weight, pairs = _weights(teacher, weight)

    def relative(x):
        distance, apart, _, _ = _distances(x)
        mean_distance = divide_no_nan(K.sum(pairs * distance), K.sum(pairs * K.cast(apart, pairs.dtype)))
        return divide_no_nan(distance, K.broadcast_to(mean_distance, K.shape(distance)))

    return divide_no_nan(K.sum(weight * _huber(relative(teacher) - relative(student)), axis=-1), _total(weight))


def angle_error(teacher: Tensor, student: Tensor, weight: Tensor | None = None) -> Tensor:
    """How differently teacher and student see the angles at an example between all pairs of others (RKD-A).

    `ℓ_i = Σ_jk w_j w_k h(cos_t ∠jik - cos_s ∠jik) / (Σ_j w_j)²`, with h Huber's loss, as in `distance_error`; a cosine
    counts as 0 where two examples coincide. Takes memory for N³ numbers.

    Args:
        teacher: `[N, D]`.
        student: `[N, D']`.
        weight: w, `[N]`; None for ones. Their scale says nothing.

    Returns:
        `[N]`, without unit; float64 (float32 on JAX).

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, and negative weights.

    Examples:
        A right angle that the student sees as a flat one, twice among nine pairs: `2 · ½ · 1² / 9`.

        >>> import keras_ls as kls
        >>> error = kls.ops.angle_error([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0.0], [1.0], [-1.0]])
        >>> round(float(error[0]), 4)
        0.1111

    Reference:
        Park et al., "Relational Knowledge Distillation", 2019.
    """
    return angle_core(*_checked_rows(teacher, student, weight))


def angle_core(teacher, student, weight=None):
    """`angle_error` of checked features."""
    weight, pairs = _weights(teacher, weight)

    def cosines(x):
        distance, apart, inner, squares = _distances(x)
        inverse = K.where(apart, 1 / K.where(apart, distance, K.ones_like(distance)), K.zeros_like(distance))
        # (x_j - x_i) · (x_k - x_i)
        edges = inner[None] - inner[:, :, None] - inner[:, None, :] + squares[:, None, None]
        return edges * inverse[:, :, None] * inverse[:, None, :]

    error = K.sum(pairs * _huber(cosines(teacher) - cosines(student)), axis=(1, 2))
    return divide_no_nan(error, _total(weight) ** 2)


def similarity_error(teacher: Tensor, student: Tensor, weight: Tensor | None = None) -> Tensor:
    """How differently teacher and student see an example's similarities to all, itself included.

    `ℓ_i = Σ_j w_j (g_t(i, j) - g_s(i, j))² / Σ_j w_j`, with `g(i, j) = x_i·x_j / √(Σ_k w_k (x_i·x_k)²)`: rows of the
    batch's Gram matrix, of length 1.

    Args:
        teacher: `[N, D]`.
        student: `[N, D']`.
        weight: w, `[N]`; None for ones. Where any is no whole number, their scale says nothing.

    Returns:
        `[N]`, without unit; float64 (float32 on JAX).

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, and negative weights.

    Examples:
        To the teacher the two are orthogonal, to the student the same: `((1 - 1/√2)² + ½) / 2`.

        >>> import keras_ls as kls
        >>> error = kls.ops.similarity_error([[2.0, 0.0], [0.0, 1.0]], [[1.0], [1.0]])
        >>> round(float(error[0]), 4)
        0.2929

    Reference:
        Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019.
    """
    return similarity_core(*_checked_rows(teacher, student, weight))


def similarity_core(teacher, student, weight=None):
    """`similarity_error` of checked features."""
    weight, _ = _weights(teacher, weight)
    weight = to_counts(weight)  # a row's unit length spreads over the examples

    def rows(x):
        x = to_accumulation_dtype(x)
        top = K.max(K.abs(x), initial=0.0)  # whose fourth power may be more than the dtype holds
        x = x / K.stop_gradient(K.where(top == 0, K.ones_like(top), top))
        inner = matmul(x, K.transpose(x))
        square = K.sum(weight * inner * inner, axis=-1, keepdims=True)
        return inner / K.sqrt(K.where(square == 0, K.ones_like(square), square))

    return divide_no_nan(K.sum(weight * K.square(rows(teacher) - rows(student)), axis=-1), _total(weight))


def _checked_vectors(x, y, weight):
    x, y, weight = checked_features("x", x), checked_features("y", y), as_weight(weight, "weight")
    if len(x.shape) == 0 or len(x.shape) != len(y.shape) or not same_shape(x, y):
        raise ValueError(
            f"Expected `x` and `y` [..., L] of one shape. Received: {tuple(x.shape)} and {tuple(y.shape)}."
        )
    _check_weight_of(weight, x.shape[-1])
    return x, y, weight


def _checked_rows(teacher, student, weight):
    teacher, student = checked_features("teacher", teacher), checked_features("student", student)
    weight = as_weight(weight, "weight")
    shapes = tuple(teacher.shape), tuple(student.shape)
    if any(len(shape) != 2 for shape in shapes) or (
        None not in (shapes[0][0], shapes[1][0]) and len({s[0] for s in shapes}) > 1
    ):
        raise ValueError(
            "Expected `teacher` [N, D] and `student` [N, D'] of as many examples. "
            f"Received: {shapes[0]} and {shapes[1]}."
        )
    _check_weight_of(weight, shapes[0][0])
    return teacher, student, weight


def _check_weight_of(weight, count):
    if weight is not None and (
        len(weight.shape) != 1 or (None not in (weight.shape[0], count) and weight.shape[0] != count)
    ):
        raise ValueError(f"Expected `weight` of shape ({count},). Received: {tuple(weight.shape)}.")


def _weights(x, weight):
    """Weights `[N]` and their products `[N, N]`."""
    x = K.convert_to_tensor(x)
    weight = K.ones(K.shape(x)[:1], accumulation_dtype()) if weight is None else to_accumulation_dtype(weight)
    return weight, weight[:, None] * weight


def _total(weight):
    return K.broadcast_to(K.sum(weight), K.shape(weight))


def _deviations(x, weight):
    """`(x - x̄, whether x does not vary, ‖x - x̄‖ or 1 where it does not)`, along the last axis."""
    total = K.sum(weight, axis=-1, keepdims=True)
    center = divide_no_nan(K.sum(weight * x, axis=-1, keepdims=True), total)
    deviation = x - center
    square = K.sum(weight * deviation * deviation, axis=-1)
    # what rounding leaves of equal numbers has a correlation, too; NaN is not flat
    flat = square <= few_epsilons(x) ** 2 * K.sum(weight * x * x, axis=-1)
    return deviation, flat, K.sqrt(K.where(flat, K.ones_like(square), square))


def _distances(x):
    """`(distances, where they are not 0, inner products, squared lengths)` of rows `[N, D]` about their mean."""
    x = to_accumulation_dtype(x)
    x = x - mean(x, axis=0)  # so that fewer digits cancel
    inner = matmul(x, K.transpose(x))
    squares = K.sum(x * x, axis=-1)
    sums = squares[:, None] + squares
    square = sums - 2 * inner
    coincide = square <= 16 * few_epsilons(x) * sums  # by more than rounding
    distance = K.sqrt(K.where(coincide, K.ones_like(square), square))
    return K.where(coincide, K.zeros_like(square), distance), K.logical_not(coincide), inner, squares


def _huber(d):
    size = K.abs(d)
    return K.where(size <= 1, d * d / 2, size - 0.5)
