import numpy as np
import pytest

from keras_ls import ops
from tests.compatibility import predictions
from tests.real_data import lenet_cifar10

approx = pytest.approx


@pytest.fixture(scope="module")
def scores():
    metrics = pytest.importorskip("probmetrics.metrics")
    import torch

    def of(labels, p):
        names = ["brier", "logloss", "ece-15", "rmsce-15", "mce-15"]
        values = metrics.Metrics.from_names(names).compute_all_from_labels_probs(
            torch.as_tensor(labels), torch.as_tensor(p)
        )
        return {name: float(value) for name, value in values.items()}

    return of


def test_scores(scores):
    for labels, p in (predictions.multi_class("float32"), lenet_cifar10()):
        peer = scores(labels, p)
        assert float(ops.brier_score(labels, p)) == approx(peer["brier"], abs=1e-5)
        nll = np.mean(ops.smoothed_crossentropy(labels, np.log(p), 0.0))
        assert nll == approx(peer["logloss"], abs=1e-4)
        for name, norm in (("ece-15", "l1"), ("rmsce-15", "l2"), ("mce-15", "max")):
            assert float(ops.calibration_error(labels, p, norm=norm)) == approx(peer[name], abs=1e-5)
