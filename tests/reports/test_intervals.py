import numpy as np
import pytest

from keras_ls.reports.intervals import direction, direction_at_points, estimate
from keras_ls.studies.smoothing_curves import at_equal_gamma


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
    of_our_own = verdict.replace("reproduced", "shown")
    assert direction("claim", smaller, larger, "not reported")["verdict"] == of_our_own
    assert direction_at_points("claim", {"a": (smaller, larger)}, "not reported")["verdict"] == of_our_own


def test_one_seed_shows_nothing():
    assert direction("claim", [0.0], [1.0], "paper")["verdict"] == "one seed: no interval"


def test_at_equal_gamma_interpolates_each_seed_and_leaves_out_what_lies_beyond():
    reference = {"a": {"gamma": [0.0, 0.2], "accuracy": [0.8, 0.9]}, "b": {"gamma": [1.0, 0.6], "accuracy": [0.6, 0.7]}}
    points = {"c": {"gamma": [0.25, 0.4], "accuracy": [0.7, 0.75]}, "d": {"gamma": [0.9, 0.9], "accuracy": [0.5, 0.1]}}
    pairs = at_equal_gamma(reference, points)
    assert list(pairs) == ["c"]  # γ=.9 lies beyond .6, where seed 1's reference ends
    np.testing.assert_allclose(pairs["c"][0], [0.75, 0.8])  # .8 - .25·.2, and half-way from .9 to .7
    assert pairs["c"][1] == [0.7, 0.75]


def test_direction_at_points_names_where_it_shows_and_where_the_opposite_does():
    zero = [0.0, 0.0, 0.0]
    up, down, unclear = [0.19, 0.2, 0.21], [-0.19, -0.2, -0.21], [0.1, -0.1, 0.1]
    found = direction_at_points("claim", {"a": (zero, up), "b": (zero, down), "c": (zero, unclear)}, "paper")
    assert found["verdict"] == "reproduced at a only; the opposite at b"
    assert found["difference"].startswith("a: 0.200 ± 0.025; b: -0.200 ± 0.025; c: 0.033 ±")
    assert direction_at_points("claim", {"a": (zero, up), "b": (zero, up)}, "paper")["verdict"] == "reproduced"
    assert direction_at_points("claim", {"a": (zero, down), "b": (zero, unclear)}, "paper")["verdict"] == (
        "not reproduced; the opposite at a"
    )


def test_no_points_are_not_a_verdict():
    assert direction_at_points("claim", {}, "paper")["verdict"] == "no points to compare"
