import numpy as np
import pytest

from keras_ls import ops
from tests.compatibility import predictions
from tests.real_data import lenet_cifar10

approx = pytest.approx


@pytest.fixture(scope="module")
def peer():
    pytest.importorskip("torchmetrics")  # here, not above: imported when a test runs, not when it is found
    import torch
    from torchmetrics.functional import classification

    def error(labels, p, num_bins, norm="l1"):
        labels, p = torch.as_tensor(labels), torch.as_tensor(p)
        if p.ndim == 1:
            return float(classification.binary_calibration_error(p, labels, num_bins, norm))
        return float(classification.multiclass_calibration_error(p, labels, p.shape[1], num_bins, norm))

    return error


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_left_closed_bins(peer, dtype, norm):
    for labels, p in (predictions.binary("random", dtype), predictions.multi_class(dtype)):
        ours = float(ops.calibration_error(labels, p, 15, norm=norm))
        assert ours == approx(peer(labels, p, 15, norm), abs=1e-6)  # it sums in float32


def test_ones_are_in_a_phantom_bin(peer):
    # two of four at 1 and wrong, two at .95 and right: one bin has |2/4 - 3.9/4|; theirs are (2 · 1 + 2 · .05) / 4
    p, labels = np.array([1, 1, 0.95, 0.95], "float32"), [0, 0, 1, 1]
    assert peer(labels, p, 15) == approx(0.525, abs=1e-6)
    assert float(ops.calibration_error(labels, p, 15)) == approx(0.475, abs=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_its_own_bins_give_its_number(peer, norm):
    # 16 bins in place of 15: [k/15, (k+1)/15) and what is exactly 1
    for labels, p in (predictions.binary("sure", "float64"), predictions.multi_class("float64", saturated=True)):
        hit = labels if p.ndim == 1 else p.argmax(axis=1) == labels
        confidence = p if p.ndim == 1 else p.max(axis=1)
        index = np.searchsorted(np.arange(1, 16) / 15, confidence, side="right")
        assert predictions.error_of(index, hit, confidence, 16, norm) == approx(peer(labels, p, 15, norm), abs=1e-6)


def test_confidences_on_edges(peer):
    # in float64 torch.linspace(0, 1, 11)[3] lies above .3, which so falls into the bin below
    labels, p = np.ones(4, int), np.array([0.3, 0.3, 0.2, 0.2])
    assert peer(labels, p, 10, "max") == approx(1 - 0.25, abs=1e-6)  # one bin, mean .25
    assert float(ops.calibration_error(labels, p, 10, norm="max")) == approx(0.8, abs=1e-9)  # [.2, .3) and [.3, .4)
    # in float32 its ten edges are ours
    labels, p = predictions.binary("tenths", "float32")
    kept = p < 1
    ours = float(ops.calibration_error(labels[kept], p[kept], 10, norm="l2"))
    assert ours == approx(peer(labels[kept], p[kept], 10, "l2"), abs=1e-6)


def test_of_real_predictions(peer):
    labels, p = lenet_cifar10()
    for norm in ("l1", "l2", "max"):
        assert float(ops.calibration_error(labels, p, 15, norm=norm)) == approx(peer(labels, p, 15, norm), abs=1e-6)
    assert peer(labels, p, 15) == approx(0.107888, abs=1e-6)
