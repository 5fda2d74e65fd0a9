"""Real data kept beside the project; tests that need it skip, with a reason, where it is absent."""

import functools
import pathlib

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "shared" / "data"


@functools.cache
def lenet_cifar10():
    """10,000 labels and softmax outputs `[10000, 10]` of a real LeNet-5 on CIFAR-10."""
    path = FOLDER / "predictions" / "lenet-5-cifar-10.npz"
    if not path.exists():
        pytest.skip("needs the real predictions lenet-5-cifar-10.npz in ../shared/data/predictions")
    with np.load(path) as arrays:
        return arrays["ground_truth"].reshape(-1).astype("int64"), arrays["predictions"]
