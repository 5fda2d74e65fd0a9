import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy, convert_to_tensor

from keras_ls.ops import _backend

X = np.random.default_rng(0).normal(size=(6, 4))
INDEX = np.array([0, 2, 2, 0, 3, 2])


@pytest.mark.float64
@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: _backend.cumsum(x[:, 0]), np.cumsum(X[:, 0])),
        (
            lambda x: _backend.divide_no_nan(x, convert_to_tensor(X - X[0])),
            np.divide(X, X - X[0], out=np.zeros_like(X), where=X[0] != X),
        ),
        (lambda x: _backend.matmul(x, convert_to_tensor(X[0])), X @ X[0]),
        (lambda x: _backend.matmul(x, convert_to_tensor(X.T)), X @ X.T),
        (_backend.mean, X.mean()),
        (lambda x: _backend.mean(x, axis=-1), X.mean(-1)),
        (lambda x: _backend.norm(x[0]), np.linalg.norm(X[0])),
        (lambda x: _backend.norm(x, axis=-1, keepdims=True), np.linalg.norm(X, axis=-1, keepdims=True)),
        # nothing in segments 1 and 4
        (
            lambda x: _backend.segment_sum(x, convert_to_tensor(INDEX), 5),
            np.stack([X[segment == INDEX].sum(0) for segment in range(5)]),
        ),
    ],
)
def test_keeps_float64(function, expected):
    result = function(convert_to_tensor(X))
    assert keras.backend.standardize_dtype(result.dtype) == "float64"
    np.testing.assert_allclose(convert_to_numpy(result), expected, rtol=1e-13, atol=1e-15)
