import numpy as np
import pytest

from keras_ls.studies.distillation_study import at_equal_gamma
from keras_ls.studies.intervals import direction, estimate


def test_estimate_against_the_t_table():
    # t(0.975, 4) = 2.776 in any table; values 1..5: standard deviation √2.5, standard error √.5
    found = estimate([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.interval == pytest.approx(2.776 * np.sqrt(0.5), abs=1e-3)
    assert found.format(1) == "3.0 ± 2.0"


def test_one_seed_has_no_interval():
    assert str(estimate([0.5])) == "0.500"


@pytest.mark.parametrize(
    ("larger", "verdict"),
    [
        ([1.19, 1.2, 1.21], "reproduced"),  # .2 ± 4.303 · .01/√3 = .2 ± .025
        ([1.1, 1.2, 1.3], "not shown at this size"),  # .2 ± 4.303 · .1/√3 = .2 ± .248
        ([0.5, 0.4, 0.6], "not reproduced: the opposite"),  # -.5 ± .248
    ],
)
def test_direction(larger, verdict):
    smaller = [1.0, 1.0, 1.0]
    assert direction("claim", smaller, larger, "paper")["verdict"] == verdict


def test_one_seed_shows_nothing():
    assert direction("claim", [0.0], [1.0], "paper")["verdict"] == "not shown at this size"


def test_at_equal_gamma_interpolates_each_seed_and_leaves_out_what_lies_beyond():
    reference = {"a": {"gamma": [0.0, 0.2], "accuracy": [0.8, 0.9]}, "b": {"gamma": [1.0, 0.6], "accuracy": [0.6, 0.7]}}
    points = {"c": {"gamma": [0.25, 0.4], "accuracy": [0.7, 0.75]}, "d": {"gamma": [0.9, 0.9], "accuracy": [0.5, 0.1]}}
    at, found = at_equal_gamma(reference, points)
    # seed 0: .75 at γ=.25 and .62 at .9; seed 1: half-way, .8 at γ=.4; γ=.9 lies beyond .6
    np.testing.assert_allclose(at, [(0.75 + 0.62) / 2, 0.8])
    np.testing.assert_allclose(found, [0.6, 0.75])
