import math

import numpy as np
import pytest
from keras.ops import convert_to_numpy

from keras_ls import ops
from tests.ops import plain_forms
from tests.precision import digits

approx = pytest.approx


def random_templates(seed=0, width=7, dtype="float64"):
    return np.random.default_rng(seed).normal(size=(3, width)).astype(dtype)


def plane(templates):
    origin, basis = ops.class_plane(templates)
    return convert_to_numpy(origin), convert_to_numpy(basis)


# class_plane and project --------------------------------------------------------------------------------------------


def test_by_hand():
    # w1 = (1, 0, 0, 2); w2 - w1 = (0, 0, 4, 0); w3 - w1 = (0, 3, 1, 0), of which (0, 3, 0, 0) is orthogonal
    origin, basis = plane([[1.0, 0, 0, 2], [1, 0, 4, 2], [1, 3, 1, 2]])
    np.testing.assert_allclose(origin, [1, 1, 5 / 3, 2], rtol=1e-6)
    np.testing.assert_allclose(basis, [[0, 0, 1, 0], [0, 1, 0, 0]], atol=1e-7)
    # (9, 2, 2, 9) - origin = (8, 1, ⅓, 7): ⅓ along the first axis, 1 along the second
    np.testing.assert_allclose(ops.project([[9.0, 2, 2, 9]], origin, basis), [[1 / 3, 1]], rtol=1e-6)


@pytest.mark.parametrize("dtype, atol", [("float32", 2e-6), pytest.param("float64", 1e-13, marks=pytest.mark.float64)])
def test_templates_lie_in_the_plane_and_keep_their_distances(dtype, atol):
    templates = random_templates(dtype=dtype)
    origin, basis = plane(templates)
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=atol)
    xy = convert_to_numpy(ops.project(templates, origin, basis))
    np.testing.assert_allclose(origin + xy @ basis, templates, atol=atol)  # nothing is left outside
    for i in range(3):
        for j in range(3):
            assert np.linalg.norm(xy[i] - xy[j]) == approx(np.linalg.norm(templates[i] - templates[j]), abs=5 * atol)
    np.testing.assert_allclose(xy.sum(0), 0, atol=5 * atol)  # the centroid is the origin
    # w1 → w2 along the first axis; w3 on the positive side of the second
    np.testing.assert_allclose(xy[1] - xy[0], [np.linalg.norm(templates[1] - templates[0]), 0], atol=5 * atol)
    assert xy[2, 1] > xy[0, 1]


def test_projection_is_the_nearest_point_of_the_plane():
    templates, x = random_templates(), np.random.default_rng(1).normal(size=(4, 7))
    origin, basis = plane(templates)
    got = origin + convert_to_numpy(ops.project(x, origin, basis)) @ basis
    for row, near in zip(x, got):
        # least squares over all points w1 + a (w2 - w1) + b (w3 - w1)
        span = (templates[1:] - templates[0]).T
        ab = np.linalg.lstsq(span, row - templates[0], rcond=None)[0]
        np.testing.assert_allclose(near, templates[0] + span @ ab, atol=digits(1e-12))


def test_translation_moves_the_origin_alone():
    templates, shift = random_templates(), np.linspace(-3, 5, 7)
    (origin, basis), (moved, same) = plane(templates), plane(templates + shift)
    np.testing.assert_allclose(moved, origin + shift, atol=digits(1e-12))
    np.testing.assert_allclose(same, basis, atol=digits(1e-12))


def test_scaling_and_rotation():
    templates = random_templates()
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0]
    (origin, basis), (turned, turned_basis) = plane(templates), plane(3 * templates @ rotation)
    np.testing.assert_allclose(turned, 3 * origin @ rotation, atol=digits(1e-12))
    np.testing.assert_allclose(turned_basis, basis @ rotation, atol=digits(1e-12))


def test_nearly_parallel_templates_keep_an_orthonormal_basis():
    rng = np.random.default_rng(3)
    first, direction, other = rng.normal(size=(3, 50))
    templates = np.stack([first, first + direction, first + 2 * direction + 1e-5 * other])
    basis = plane(templates)[1]
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=digits(1e-14, 1e-6))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("steps", [(0, 1, 2), (0, 1, -3), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 0, 0)])
def test_templates_on_one_line(steps, dtype):
    # multiples of ⅛ are exact in every dtype
    start, direction = np.array([1, -2, 0.5, 3]), np.array([0.125, 0.5, -1, 0.25])
    templates = np.stack([start + t * direction for t in steps]).astype(dtype)
    with pytest.raises(ValueError, match=r"span a plane.*one line.*Choose other classes"):
        ops.class_plane(templates)


def test_templates_on_one_line_up_to_rounding():
    start, direction = np.random.default_rng(4).normal(size=(2, 64))
    templates = np.stack([start, start + 0.7 * direction, start - 1.3 * direction])
    for dtype in ("float32", "float64"):
        with pytest.raises(ValueError, match="one line"):
            ops.class_plane(templates.astype(dtype))


@pytest.mark.parametrize("shape", [(2, 5), (4, 5), (3,), (3, 1), (3, 2, 2)])
def test_templates_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"shape \[3, D\] with D ≥ 2\. Received: \("):
        ops.class_plane(np.ones(shape))


def test_nan_templates():
    with pytest.raises(ValueError, match=r"`templates` to be finite numbers\. Received: nan, in 1 of 6"):
        ops.class_plane([[0.0, 1], [np.nan, 0], [1, 1]])


@pytest.mark.parametrize("features, origin", [((4, 6), (7,)), ((4, 7), (6,)), ((7,), (7,)), ((2, 2, 7), (7,))])
def test_projection_of_other_widths(features, origin):
    with pytest.raises(ValueError, match=r"one width D\. Received: \("):
        ops.project(np.ones(features), np.ones(origin), np.ones((2, 7)))


# class_separation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0, 2, 2, 5]])
def test_equals_the_four_sums(labels):
    # unequal classes, and numbers that no example has
    features = np.random.default_rng(5).normal(size=(9, 4)) + np.eye(6)[labels][:, :4] * 2
    expected = plain_forms.class_separation(features, labels)
    assert float(ops.class_separation(features, labels)) == approx(expected, rel=digits(1e-10))
    order = np.random.default_rng(6).permutation(9)
    assert float(ops.class_separation(features[order], np.array(labels)[order])) == approx(expected, rel=digits(1e-10))
    # cosine: the length of a row does not matter
    longer = features * np.arange(1, 10)[:, None]
    assert float(ops.class_separation(longer, labels)) == approx(expected, rel=digits(1e-10))
    assert float(ops.class_separation(features.astype("float32"), labels)) == approx(expected, rel=1e-5)


def test_class_that_tells_nothing():
    # both classes hold both axes: within 1 - ½, in total 1 - ½
    assert float(ops.class_separation([[1.0, 0], [0, 1], [1, 0], [0, 1]], [0, 0, 1, 1])) == approx(0, abs=digits(1e-12))


def test_opposite_directions():
    # class 0 is ±e1: mean 0, within 1; class 1 is e2: within 0. Mean of the means (0, ½): 1 - (½)/(1 - ¼) = ⅓
    assert float(ops.class_separation([[1.0, 0], [-2, 0], [0, 3]], [0, 0, 1])) == approx(1 / 3, rel=digits(1e-12))


def test_row_of_zeros_has_cosine_zero_with_all():
    # class 0: e1 and 0, mean (½, 0), within ¾; class 1: e2, within 0. Centre (¼, ½): 1 - (⅜)/(1 - 5/16) = 5/11
    assert float(ops.class_separation([[1.0, 0], [0, 0], [0, 1]], [0, 0, 1])) == approx(5 / 11, rel=digits(1e-12))


def test_tight_clusters():
    # each class e_k turned by ±ε: within sin² ε = 1 - cos² ε, total 1 - cos² ε / 2
    e = 1e-3
    features = [[math.cos(e), math.sin(e)], [math.cos(e), -math.sin(e)], [math.sin(e), math.cos(e)]]
    features.append([-math.sin(e), math.cos(e)])
    expected = 1 - math.sin(e) ** 2 / (1 - math.cos(e) ** 2 / 2)
    assert float(ops.class_separation(np.array(features), [0, 0, 1, 1])) == approx(expected, abs=digits(1e-12))


@pytest.mark.parametrize(
    "features, labels, message",
    [
        (np.eye(3), [0, 1], r"\[N, D\] and `labels` \[N\]\. Received: \(3, 3\) and \(2,\)"),
        (np.ones(3), [0, 1, 1], r"Received: \(3,\) and \(3,\)"),
        (np.eye(3), [[0], [1], [1]], r"Received: \(3, 3\) and \(3, 1\)"),
        ([[np.nan, 1], [1, 0]], [0, 1], "`features` to be finite"),
        (np.eye(3), [1, 1, 1], "at least two classes. Received: 1"),
        (np.ones((0, 3)), np.ones(0, int), "at least two classes. Received: 0"),
        ([[1.0, 1], [2, 2], [3, 3]], [0, 1, 1], "more than one direction"),
        (np.eye(3), [0, -1, 1], r"integer labels.*Received: -1"),
        (np.eye(3), [0.5, 1.5, 0.5], r"integer labels.*Received: 0\.5"),
    ],
)
def test_separation_errors(features, labels, message):
    with pytest.raises(ValueError, match=message):
        ops.class_separation(features, labels)
