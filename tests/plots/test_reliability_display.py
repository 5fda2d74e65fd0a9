import ast
import json
import pathlib
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pytest import approx

import keras_ls as kls
import keras_ls.plots
from keras_ls.plots import ReliabilityDisplay

# Four bins of width .25; the third is empty. Hits 1 of 4, 3 of 4, -, 6 of 8.
WEIGHT = [4, 4, 0, 8]
ACCURACY = [0.25, 0.75, float("nan"), 0.75]
CONFIDENCE = [0.2, 0.4, float("nan"), 0.95]
EDGES = [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.fixture
def display():
    return ReliabilityDisplay(WEIGHT, ACCURACY, CONFIDENCE, EDGES, name="a model")


def test_calibration_error_from_the_bins(display):
    # (4 · .05 + 4 · .35 + 8 · .2) / 16
    assert display.calibration_error == approx(3.2 / 16)


def test_bars_stand_over_their_bins_and_an_empty_bin_has_none(display):
    display.plot()
    boxes = [(bar.get_x(), bar.get_width(), bar.get_y(), bar.get_height()) for bar in display.bars_]
    assert np.array(boxes) == approx(np.array([[0, 0.25, 0, 0.25], [0.25, 0.25, 0, 0.75], [0.75, 0.25, 0, 0.75]]))
    for patch in [*display.ax_.patches, *display.strip_.patches]:
        assert not 0.5 < patch.get_x() + patch.get_width() / 2 < 0.75


def test_gaps_span_accuracy_to_confidence_and_tell_their_sign(display):
    display.plot()
    spans = {
        sign: [(bar.get_x(), bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars]
        for sign, bars in display.gaps_.items()
    }
    # bins 1 and 2: accuracy above confidence; bin 4: below
    assert np.array(spans["under-confident"]) == approx(np.array([[0, 0.2, 0.25], [0.25, 0.4, 0.75]]))
    assert np.array(spans["over-confident"]) == approx(np.array([[0.75, 0.75, 0.95]]))
    over, under = (display.gaps_[sign][0] for sign in ("over-confident", "under-confident"))
    assert over.get_hatch() != under.get_hatch()  # also without colour


def test_a_bin_without_a_gap_has_no_gap_bar():
    display = ReliabilityDisplay([1], [0.5], [0.5], [0, 1]).plot()
    assert len(display.bars_) == 1
    assert display.gaps_ == {}


def test_strip_shows_shares(display):
    display.plot()
    assert [bar.get_height() for bar in display.strip_.patches] == approx([0.25, 0.25, 0.5])


def test_density_shows_shares_of_finer_cells():
    # cells of .01: .105 and .109 share one, 1.0 lies in the last
    display = ReliabilityDisplay.from_predictions(
        [0, 1, 1, 1], [0.105, 0.109, 0.5, 1.0], from_logits=False, sample_weight=[1, 1, 1, 2], density=True
    )
    (steps,) = display.strip_.patches
    shares, edges, _ = steps.get_data()
    assert len(shares) == 100 and edges == approx(np.arange(101) / 100)
    assert {int(i): shares[i] for i in np.flatnonzero(shares)} == approx({10: 0.4, 50: 0.2, 99: 0.4})
    again = ReliabilityDisplay.from_dict(json.loads(json.dumps(display.to_dict())))
    assert again.density.tolist() == display.density.tolist()


def test_density_of_other_examples_is_refused():
    with pytest.raises(ValueError, match=r"with the sum of `weight`: 16. Received: a sum of 15"):
        ReliabilityDisplay(WEIGHT, ACCURACY, CONFIDENCE, EDGES, density=[5, 10])


def test_interval_is_jeffreys():
    # Brown, Cai and DasGupta 2001, table 5, n = 10: x = 0 (0, .217), x = 1 (.011, .381), x = 5 (.224, .776)
    display = ReliabilityDisplay([10, 10, 10, 0], [0, 0.1, 0.5, None], [0.1, 0.3, 0.6, None], EDGES)
    low, high = display.interval
    assert low[:3] == approx([0, 0.011, 0.224], abs=5e-4)
    assert high[:3] == approx([0.217, 0.381, 0.776], abs=5e-4)
    assert np.isnan([low[3], high[3]]).all()


def test_interval_holds_the_accuracy_at_both_ends():
    low, high = ReliabilityDisplay([3, 3], [0, 1], [0.2, 0.8], [0, 0.5, 1]).interval
    assert low[0] == 0 and high[1] == 1
    assert high[0] < 1 and low[1] > 0


def test_headline_tells_error_and_count(display):
    legend = display.plot().ax_.get_legend()
    assert legend.get_title().get_text() == "ECE = 0.200\nn = 16"
    assert [text.get_text() for text in legend.get_texts()] == [
        "accuracy",
        "over-confident",
        "under-confident",
        "95 % interval",
    ]
    short = display.plot(legend=False).ax_.get_legend()
    assert short.get_title().get_text() == "ECE = 0.200\nn = 16"
    assert not short.get_texts()


@pytest.mark.parametrize(
    ("accuracy", "confidence", "upper"),
    [
        ([0.1, 0.2], [0.2, 0.9], True),  # over-confident: low bars everywhere
        ([0.7, 1.0], [0.4, 0.8], False),  # under-confident: a high bar on the left
        ([0.4, 0.9], [0.2, 0.8], True),  # under-confident, and yet room on the left
    ],
)
def test_headline_stands_where_bars_leave_room(accuracy, confidence, upper):
    display = ReliabilityDisplay([5, 5], accuracy, confidence, [0, 0.5, 1]).plot()
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent().transformed(display.ax_.transData.inverted())
    assert (box.x1 < 0.5, box.y0 > 0.5) == (upper, upper)


def test_table(display):
    assert display.table[1] == approx(
        {"lower": 0.25, "upper": 0.5, "weight": 4, "accuracy": 0.75, "confidence": 0.4, "gap": -0.35}
    )
    assert display.table[2] == {
        "lower": 0.5,
        "upper": 0.75,
        "weight": 0,
        "accuracy": None,
        "confidence": None,
        "gap": None,
    }


def test_json_round_trip(display):
    text = json.dumps(display.to_dict(), allow_nan=False)
    again = ReliabilityDisplay.from_dict(json.loads(text))
    assert again.table == display.table
    assert again.name == "a model"
    assert len(again.plot().bars_) == 3


@pytest.mark.parametrize("from_logits", [True, False])
def test_from_predictions_takes_logits_or_probabilities(from_logits):
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.85, 0.15], [0.35, 0.65]])
    display = ReliabilityDisplay.from_predictions(
        [0, 1, 0, 1], np.log(p) if from_logits else p, num_bins=10, from_logits=from_logits
    )
    # top labels 0, 0, 0, 1: one hit of two at .95, a hit at .85, a hit at .65
    full = [(r["lower"], r["weight"], r["accuracy"], r["confidence"]) for r in display.table if r["weight"]]
    assert np.array(full) == approx(np.array([[0.6, 1, 1, 0.65], [0.8, 1, 1, 0.85], [0.9, 2, 0.5, 0.95]]))
    assert display.calibration_error == approx((0.35 + 0.15 + 2 * 0.45) / 4)


def test_from_predictions_binary():
    # the values that ops.calibration_error is tested with: L1 .222222
    p, y = [0.5, 0.5, 0.5, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6], [0, 1, 0, 1, 0, 1, 1, 1, 0]
    display = ReliabilityDisplay.from_predictions(y, p, from_logits=False)
    # 4 of .5 with 1 hit, 5 of .6 with 4
    assert [bar.get_height() for bar in display.bars_] == approx([0.25, 0.8])
    assert display.calibration_error == approx(0.222222, abs=1e-6)


def test_quantile_edges_are_confidences():
    # 3 bins of [.05, .1 | .2 | .5, .99, .99]: ranks round(5/3) = 2 and round(10/3) = 3 open bins at .2 and .5
    confidence, hits = [0.1, 0.05, 0.5, 0.2, 0.99, 0.99], [0, 0, 1, 0, 1, 1]
    display = ReliabilityDisplay.from_predictions(hits, confidence, num_bins=3, binning="quantile", from_logits=False)
    assert display.edges == approx([0.05, 0.2, 0.5, 0.99])
    assert display.weight == approx([2, 1, 3])
    assert display.confidence == approx([0.075, 0.2, 0.826667], abs=1e-6)
    assert display.calibration_error == approx(0.145)


def test_quantile_edges_closed_on_the_right():
    # the same ranks less one close the bins: .1 and .2
    confidence, hits = [0.1, 0.05, 0.5, 0.2, 0.99, 0.99], [0, 0, 1, 0, 1, 1]
    display = ReliabilityDisplay.from_predictions(
        hits, confidence, num_bins=3, binning="quantile", closed="right", from_logits=False
    )
    assert display.edges == approx([0.05, 0.1, 0.2, 0.99])
    assert display.weight == approx([2, 1, 3])


def test_equal_confidences_share_a_bin_that_is_still_seen():
    # 2 bins of [.5, 1, 1, 1]: rank round(1.5) = 2 opens the second at 1.0, where it ends too
    display = ReliabilityDisplay.from_predictions(
        [0, 1, 0, 1], [0.5, 1.0, 1.0, 1.0], num_bins=2, binning="quantile", from_logits=False
    )
    assert display.edges == approx([0.5, 1.0, 1.0])
    assert display.weight == approx([1, 3])
    last = display.bars_[1]
    assert last.get_width() > 0
    assert last.get_x() + last.get_width() == approx(1.0)


def test_integer_weights_repeat_examples_and_weight_zero_drops_them():
    p, y = np.array([0.2, 0.7, 0.9, np.nan]), np.array([0, 1, 0, 1])
    for binning in ("uniform", "quantile"):
        weighted = ReliabilityDisplay.from_predictions(
            y, p, sample_weight=[2, 1, 3, 0], num_bins=4, binning=binning, from_logits=False
        )
        repeated = ReliabilityDisplay.from_predictions(
            np.repeat(y[:3], [2, 1, 3]), np.repeat(p[:3], [2, 1, 3]), num_bins=4, binning=binning, from_logits=False
        )
        assert weighted.table == repeated.table


def test_agrees_with_ops_on_many_predictions():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 10)) * 3, rng.integers(0, 10, 500)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for options in ({}, {"binning": "quantile"}, {"num_bins": 7, "closed": "right"}):
        display = ReliabilityDisplay.from_predictions(labels, logits, **options)
        assert display.calibration_error == approx(float(kls.ops.calibration_error(labels, p, **options)), abs=1e-6)
        assert all(row["lower"] <= row["confidence"] <= row["upper"] for row in display.table if row["weight"])


def test_draws_on_given_axes_without_warnings(column_axes, display):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # among matplotlib's own dependencies
        display.plot(column_axes)
        column_axes.figure.canvas.draw()
    assert display.ax_ is column_axes
    assert display.figure_ is column_axes.figure
    assert len(plt.get_fignums()) == 1


def test_draws_on_every_panel_of_a_figure(display):
    figure, axes = plt.subplots(1, 3, figsize=(7, 2.8))
    for ax in axes:
        assert display.plot(ax) is display
    figure.canvas.draw()
    assert all(len(ax.child_axes) == 1 for ax in axes)


def test_own_figure_has_the_width_of_a_column(display):
    assert display.plot().figure_.get_size_inches()[0] == approx(3.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": [0.5]}, r"Expected `accuracy` of shape \[4\]. Received: shape \[1\]"),
        ({"edges": [0, 1]}, r"Expected `edges` of shape \[5\]"),
        ({"edges": [0, 0.5, 0.25, 0.75, 1]}, "Expected `edges` in ascending order"),
        ({"edges": [0, 1, 2, 3, 4]}, r"Expected `edges` in \[0, 1\]. Received: 0.0 to 4.0"),
        ({"accuracy": [25, 75, 0, 75]}, r"Expected `accuracy` of every bin with weight in \[0, 1\]"),
        ({"confidence": [0.2, float("nan"), 0.5, 0.9]}, r"Expected `confidence` of every bin with weight in \[0, 1\]"),
        ({"weight": [0, 0, 0, 0]}, "Expected `weight` without negative numbers and not 0 everywhere"),
        ({"weight": [1, -1, 0, 3]}, "Expected `weight` without negative numbers"),
        ({"weight": ["many"] * 4}, "Expected `weight` to be numbers"),
    ],
)
def test_bad_data(change, message):
    data = {"weight": WEIGHT, "accuracy": ACCURACY, "confidence": CONFIDENCE, "edges": EDGES} | change
    with pytest.raises(ValueError, match=message):
        ReliabilityDisplay(**data)


def test_bad_saved_data(display):
    saved = display.to_dict()
    with pytest.raises(ValueError, match=r"Received: a dictionary without edges.*`ReliabilityDisplay.to_dict\(\)`"):
        ReliabilityDisplay.from_dict({key: value for key, value in saved.items() if key != "edges"})
    with pytest.raises(ValueError, match="with unknown colour"):
        ReliabilityDisplay.from_dict(saved | {"colour": "red"})
    with pytest.raises(ValueError, match=r"Expected the data of a ReliabilityDisplay. Received: those of 'Projection"):
        ReliabilityDisplay.from_dict(saved | {"display": "ProjectionDisplay"})
    with pytest.raises(ValueError, match=r"Expected a dictionary. Received: list"):
        ReliabilityDisplay.from_dict([saved])


def test_bad_predictions():
    with pytest.raises(ValueError, match=r"Expected `probabilities` in \[0, 1\].*use `from_logits=True`"):
        ReliabilityDisplay.from_predictions([0, 1], [[3.0, 1.0], [2.0, 5.0]], from_logits=False)
    with pytest.raises(ValueError, match="Expected `logits` without NaN"):
        ReliabilityDisplay.from_predictions([0], [[float("nan"), 1.0]])
    with pytest.raises(ValueError, match="Did you mean 'quantile'"):
        ReliabilityDisplay.from_predictions([0], [[0.0, 1.0]], binning="quantiles")
    with pytest.raises(ValueError, match="Expected an example of positive weight"):
        ReliabilityDisplay.from_predictions([0], [[0.0, 1.0]], binning="quantile", sample_weight=[0.0])


def test_the_room_imports_no_framework():
    room = pathlib.Path(keras_ls.plots.__path__[0])
    statements = [node for file in room.glob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    names = [alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in statements if isinstance(node, ast.ImportFrom)]
    assert not {name.split(".")[0] for name in names} & {"keras", "tensorflow", "tf_keras", "torch", "jax"}
