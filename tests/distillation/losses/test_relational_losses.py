"""Correlation, relations, similarities and attention by their papers."""

import numpy as np
import pytest

from keras_ls.distillation import (
    AttentionTransfer,
    CorrelationDistillation,
    RelationalDistillation,
    SimilarityPreserving,
)
from tests.ops import plain_relations as plain

RNG = np.random.default_rng(1)
TEACHER, STUDENT = (2 * RNG.normal(size=(2, 6, 5))).astype("float32")


@pytest.mark.parametrize("beta, gamma, temperature", [(1.0, 1.0, 1.0), (2.0, 0.5, 4.0), (0.0, 1.0, 2.0)])
def test_correlation(beta, gamma, temperature):
    value = CorrelationDistillation(beta, gamma, temperature)(TEACHER, STUDENT)
    expected = plain.dist(TEACHER, STUDENT, beta, gamma, temperature)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    unscaled = CorrelationDistillation(beta, gamma, temperature, scale_by_temperature=False)(TEACHER, STUDENT)
    assert float(unscaled) == pytest.approx(expected / temperature**2, rel=1e-5)


def test_correlation_of_standardized_logits():
    teacher, student = ([plain.standardized(z) for z in x] for x in (TEACHER, STUDENT))
    value = CorrelationDistillation(temperature=2.0, standardize=True)(TEACHER, STUDENT)
    assert float(value) == pytest.approx(plain.dist(teacher, student, temperature=2.0), rel=1e-5)


def test_correlation_of_repeated_examples():
    times = np.array([1, 0, 3, 1, 2, 1])
    value = CorrelationDistillation(1.0, 2.0, reduction="mean_with_sample_weight")(TEACHER, STUDENT, times)
    expected = plain.dist(np.repeat(TEACHER, times, 0), np.repeat(STUDENT, times, 0), 1.0, 2.0)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_relational():
    distance, angle = plain.relational_distance(TEACHER, STUDENT), plain.relational_angle(TEACHER, STUDENT)
    assert float(RelationalDistillation()(TEACHER, STUDENT)) == pytest.approx(25 * distance + 50 * angle, rel=1e-5)
    assert float(RelationalDistillation(2.0, None)(TEACHER, STUDENT)) == pytest.approx(2 * distance, rel=1e-5)
    assert float(RelationalDistillation(None, 3.0)(TEACHER, STUDENT)) == pytest.approx(3 * angle, rel=1e-5)
    assert RelationalDistillation(None, 3.0).get_config()["distance_weight"] is None


def test_similarity_preserving():
    expected = plain.similarity_preserving(TEACHER, STUDENT)
    assert float(SimilarityPreserving()(TEACHER, STUDENT)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("power", [2, 1, 3])
def test_attention_transfer(power):
    # as many positions, other channels
    teacher, student = RNG.normal(size=(3, 4, 2, 5)), RNG.normal(size=(3, 4, 2, 3))
    weight = np.array([1.0, 2.0, 0.5])
    each = [plain.attention_transfer(t, s, power) for t, s in zip(teacher, student)]
    value = AttentionTransfer(power=power)(teacher, student, weight)
    assert float(value) == pytest.approx((weight * each).sum() / 3, rel=1e-5)


def test_several_layers_add_up():
    teacher = [RNG.normal(size=shape) for shape in ((3, 4, 5), (3, 2, 2, 7))]
    student = [RNG.normal(size=shape) for shape in ((3, 4, 2), (3, 2, 2, 3))]
    loss = AttentionTransfer(["a", "b"], ("c", "d/e"))
    expected = sum(np.mean([plain.attention_transfer(*pair) for pair in zip(t, s)]) for t, s in zip(teacher, student))
    assert float(loss(teacher, student)) == pytest.approx(expected, rel=1e-5)
    assert AttentionTransfer.from_config(loss.get_config()).student_layer_name == ["c", "d/e"]
    with pytest.raises(ValueError, match=r"lists of 2 features, one a layer name. Received: 1 of the teacher and 2"):
        loss(teacher[:1], student)


def test_errors():
    with pytest.raises(ValueError, match=r"`beta` >= 0. Received: -1"):
        CorrelationDistillation(-1)
    with pytest.raises(ValueError, match=r"`temperature` > 0. Received: 0"):
        CorrelationDistillation(temperature=0)
    with pytest.raises(ValueError, match=r"`angle_weight` >= 0. Received: 'a'"):
        RelationalDistillation(1, "a")
    with pytest.raises(ValueError, match=r"positions \(channels last\) of one shape.*\(2, 4\).*\(2, 9\).*pool"):
        AttentionTransfer()(np.ones((2, 4, 3)), np.ones((2, 9, 3)))
    with pytest.raises(ValueError, match=r"Take them from a layer before the pooling"):
        AttentionTransfer()(np.ones((2, 4)), np.ones((2, 4)))
    for names in [("a", ["b"]), (["a"], ["b", "c"]), ([], []), (3, "a"), ("", None)]:
        with pytest.raises(ValueError, match=r"or lists of as many of them. Received: "):
            SimilarityPreserving(*names)
