import copy

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def settings_and_figures_left_alone():
    """Every test of the room is also a test that matplotlib's settings stay what they were."""
    before = copy.deepcopy(dict(matplotlib.rcParams))
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def column_axes():
    """Axes of a column's width; drawing them, in any layout, must raise no warning."""
    return plt.subplots(figsize=(3.3, 3), layout="constrained")[1]
