"""A streamed calibration error, a temperature, and what the metrics add to an epoch of `fit`."""

import importlib.util

import numpy as np
from rich.table import Table

from benchmarks import streaming
from benchmarks.interleaved import console, medians, show
from keras_ls.calibrators.temperature_solver import solve_temperature

SIZES = [(10_000, 10), (10_000, 100), (50_000, 100), (50_000, 1000)]
OURS = "keras_ls"
BOUNDS = (0.01, 100.0)


def ours(logits, labels):
    weight = np.ones(len(logits))
    return lambda: solve_temperature(logits, labels, weight, BOUNDS).temperature


def scikit_learn(logits, labels):
    from sklearn.calibration import _TemperatureScaling

    return lambda: 1 / float(np.squeeze(_TemperatureScaling().fit(logits, labels).beta_))


def pytorch(logits, labels):
    """The usual recipe: L-BFGS on T, without bounds."""
    import torch

    z, y = torch.from_numpy(logits), torch.from_numpy(labels)

    def run():
        T = torch.ones(1, requires_grad=True)
        optimizer = torch.optim.LBFGS([T], lr=0.5, max_iter=100, tolerance_grad=1e-9, tolerance_change=1e-12)

        def closure():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(z / T, y)
            loss.backward()
            return loss

        optimizer.step(closure)
        return float(T.detach())

    return run


def probmetrics(logits, labels):
    """Bisection in float32."""
    import torch
    from probmetrics.calibrators import TemperatureScalingCalibrator
    from probmetrics.distributions import CategoricalLogits

    z, y = CategoricalLogits(torch.from_numpy(logits)), torch.from_numpy(labels)

    def run():
        calibrator = TemperatureScalingCalibrator()
        calibrator.fit_torch(z, y)
        return 1 / float(calibrator.invtemp_)

    return run


PEERS = {
    "scikit-learn": ("sklearn", scikit_learn),
    "PyTorch L-BFGS": ("torch", pytorch),
    "probmetrics": ("probmetrics", probmetrics),
}


def temperatures(repeats):
    """Time to the temperature, and how far its NLL is from the least one."""
    rng = np.random.default_rng(0)
    table = Table(
        "logits",
        "candidate",
        "median",
        "ours / it",
        "NLL above the least",
        title="Temperature scaling",
        title_justify="left",
    )
    for n, k in SIZES:
        logits = rng.normal(size=(n, k)).astype("float32") * 5
        labels = (logits / 2.5 + rng.gumbel(size=(n, k))).argmax(axis=1)
        candidates = {OURS: ours(logits, labels)}
        for name, (module, make) in PEERS.items():
            if importlib.util.find_spec(module):
                candidates[name] = make(logits, labels)
        seconds = medians(candidates, repeats if n * k < 10**7 else 1)
        nll = {name: _nll(logits, labels, run()) for name, run in candidates.items()}
        for i, (name, value) in enumerate(seconds.items()):
            excess = nll[name] - min(nll.values())
            table.add_row(
                "" if i else f"{n:,}×{k}",
                name,
                f"{1e3 * value:.1f} ms",
                f"{seconds[OURS] / value:.2f}",
                f"{excess:.0e}",
            )
    console.print(table)


def _nll(logits, labels, temperature):
    z = logits.astype("float64") / temperature
    z -= z.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]))


def epochs(repeats=15):
    """A short epoch of `fit` on images of MNIST's size, with and without our metrics, in turn."""
    import keras

    import keras_ls as kls

    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(12_800, 784)).astype("float32"), rng.integers(0, 10, 12_800)

    def trained(*metrics):
        keras.utils.set_random_seed(0)
        hidden = (keras.layers.Dense(1200, "relu") for _ in range(2))
        model = keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(10)])
        model.compile("sgd", kls.losses.SmoothedCrossentropy(0.1), metrics=["accuracy", *metrics])
        return lambda: model.fit(x, y, batch_size=128, verbose=0)

    ece, brier, nll = (kls.metrics.ExpectedCalibrationError, kls.metrics.BrierScore, kls.metrics.NegativeLogLikelihood)
    candidates = {
        "accuracy alone": trained(),
        "accuracy, ECE": trained(ece()),
        "accuracy, ECE, Brier, NLL": trained(ece(), brier(), nll()),
    }
    seconds = medians(candidates, repeats)
    show("100 steps of fit, 2×1200 network, batches of 128 images", {"": seconds}, "accuracy alone")


def main(repeats=5):
    streaming.main()
    temperatures(repeats)
    epochs()
