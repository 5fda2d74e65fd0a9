import numpy as np
import pytest
from keras.ops import convert_to_numpy

import keras_ls as kls
from keras_ls import ops
from keras_ls.ops.binning import uniform_bin_index
from tests.compatibility import predictions
from tests.real_data import lenet_cifar10

approx = pytest.approx


@pytest.fixture(scope="module")
def netcal():
    pytest.importorskip("netcal")
    import netcal.metrics
    import netcal.scaling

    return netcal


def average_error(index, labels, p, num_bins):
    """Its ACE: the mean of the gaps of the bins that are not empty, each counting alike."""
    n, hits, confidence = convert_to_numpy(predictions.statistics_of(index, labels, p, num_bins))
    return np.mean(np.abs(hits - confidence)[n > 0] / n[n > 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "sure"])
def test_left_closed_bins(netcal, kind, dtype):
    labels, p = predictions.binary(kind, dtype)
    # it moves 0 and 1 inwards by ε; no bin changes
    assert float(ops.calibration_error(labels, p, 15)) == approx(netcal.metrics.ECE(15).measure(p, labels), abs=1e-6)
    peer = netcal.metrics.MCE(15).measure(p, labels)
    assert float(ops.calibration_error(labels, p, 15, norm="max")) == approx(peer, abs=1e-6)
    index = convert_to_numpy(uniform_bin_index(p, 15))
    assert average_error(index, labels, p, 15) == approx(netcal.metrics.ACE(15).measure(p, labels), abs=1e-6)


@pytest.mark.parametrize("saturated", [False, True])
def test_top_label(netcal, saturated):
    labels, p = predictions.multi_class("float64", saturated)
    assert float(ops.calibration_error(labels, p, 15)) == approx(netcal.metrics.ECE(15).measure(p, labels), abs=1e-6)


def test_two_columns_are_the_second_one(netcal):
    labels, p = predictions.binary("random", "float64")
    columns = np.stack([1 - p, p], axis=1)
    peer = netcal.metrics.ECE(15).measure(columns, labels)
    assert float(ops.calibration_error(labels, p, 15)) == approx(peer, abs=1e-6)
    assert abs(float(ops.calibration_error(labels, columns, 15)) - peer) > 0.01  # ours are those of the top label


def test_labels_of_two_classes_make_it_refuse_more_columns(netcal):
    labels, p = predictions.multi_class("float64")
    few = labels < 2
    with pytest.raises(RuntimeError, match="more than 2 confidence dims"):
        netcal.metrics.ECE(15).measure(p[few], labels[few])
    hit = p[few].argmax(axis=1) == labels[few]
    expected = float(ops.calibration_error(hit, p[few].max(axis=1), 15))
    assert float(ops.calibration_error(labels[few], p[few], 15)) == approx(expected, rel=1e-9)


def test_equal_mass_through_its_own_edges(netcal):
    labels, p = predictions.binary("random", "float64")
    edges = np.quantile(p, np.linspace(0, 1, 11))[1:-1]
    index = np.searchsorted(edges, p, side="right")
    peer = netcal.metrics.ECE(10, equal_intervals=False).measure(p, labels)
    assert predictions.error_of(index, labels, p, 10) == approx(peer, abs=1e-6)


def test_float32_on_an_edge_is_averaged_in_one_bin_and_counted_in_another(netcal):
    # four of .7, all right: an error of .3. In float32 it reads 0: the bin that has the counts has no average
    labels = np.ones(4, int)
    assert netcal.metrics.ECE(10).measure(np.full(4, 0.7), labels) == approx(0.3)
    assert netcal.metrics.ECE(10).measure(np.full(4, 0.7, "float32"), labels) == 0
    for dtype in ("float32", "float64"):
        assert float(ops.calibration_error(labels, np.full(4, 0.7, dtype), 10)) == approx(0.3, rel=1e-6)


def test_float64_on_an_edge(netcal):
    # np.linspace's third edge is .30000000000000004: .3 falls into the bin below. Its bins give its number
    labels, p = predictions.binary("tenths", "float64")
    index = np.searchsorted(np.linspace(0, 1, 11)[1:-1], p, side="right")
    assert convert_to_numpy(uniform_bin_index([0.3], 10))[0] == 3
    assert index[p == 0.3].max() == 2
    peer = netcal.metrics.MCE(10).measure(p, labels)
    assert predictions.error_of(index, labels, p, 10, "max") == approx(peer, abs=1e-6)


@pytest.mark.filterwarnings("ignore:independent is deprecated")  # of Pyro, in netcal
def test_its_temperature_does_nothing_in_float32(netcal):
    labels, p = lenet_cifar10()
    peer = {}
    for dtype in ("float32", "float64"):
        scaling = netcal.scaling.TemperatureScaling()
        scaling.fit(p.astype(dtype), labels)
        peer[dtype] = 1 / scaling.temperature[0]
    assert peer["float32"] == 1
    assert peer["float64"] == approx(1.396779, abs=1e-3)
    ours = kls.calibrators.TemperatureScaling().fit(np.log(p.astype("float32")), labels)
    assert ours.temperature == approx(1.396779, abs=1e-4)


def test_of_real_predictions(netcal):
    labels, p = lenet_cifar10()
    assert netcal.metrics.ECE(15).measure(p, labels) == approx(0.107888, abs=1e-6)
    assert float(ops.calibration_error(labels, p)) == approx(netcal.metrics.ECE(15).measure(p, labels), abs=1e-6)
    peer = netcal.metrics.MCE(15).measure(p, labels)
    assert float(ops.calibration_error(labels, p, norm="max")) == approx(peer, abs=1e-6)
