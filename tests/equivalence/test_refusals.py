"""What one room refuses every room refuses, in the same words: malformed labels, predictions, weights and settings."""

import contextlib
import inspect
import signal
import types
import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import keras_ls as kls
from tests.equivalence import registry

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 2, 3, 4, 0, 1])
LOGITS = RNG.normal(size=(7, registry.CLASSES)).astype("float32")
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
ONE_HOT = np.eye(registry.CLASSES)[LABELS]
MULTI_HOT = np.maximum(ONE_HOT, np.roll(ONE_HOT, 1, axis=1))

# by what is wrong: (labels, words of the message)
BAD_LABELS = {
    "names": (np.array(["cat", "cow", "dog", "eel", "fox", "cat", "cow"]), "to be numbers.*strings, such as cat"),
    "objects": (np.array(["cat", 1, 2, 3, 4, 0, None], object), "to be numbers.*objects, such as 'cat'"),
    "none": (None, "to be numbers.*None|no labels"),
    "fractions": (LABELS + 0.5, r"integer labels in \[0, 5\).*0.5"),
    "one too high": (LABELS + 1, r"integer labels in \[0, 5\).*5"),
    "beyond 32 bits": (LABELS + 2**33, r"integer labels in \[0, 5\)"),
    "negative": (LABELS - 1, r"integer labels in \[0, 5\).*-1.*ignore_class"),
    "several an example": (MULTI_HOT, "class distributions.*a sum of 1"),
    "masks of 0 and 255": (255 * ONE_HOT, "class distributions.*by 255"),
    "rows of zeros": (0 * ONE_HOT, "class distributions"),
    "negative shares": (ONE_HOT + np.array([0.5, -0.5, 0, 0, 0]), "class distributions"),
    "a nan": (np.where(ONE_HOT == 1, np.nan, 0), "class distributions"),
    "too few": (LABELS[:-1], "shape"),
    "complex": (LABELS * 1j, "to be numbers.*complex"),
}
BAD_WEIGHTS = {
    "negative": (-np.ones(7), "without negative numbers, infinite ones or NaN.*-1"),
    "infinite": (np.array([np.inf, 1, 1, 1, 1, 1, 1]), "without negative numbers, infinite ones or NaN.*inf"),
    "nan": (np.array([np.nan, 1, 1, 1, 1, 1, 1]), "without negative numbers, infinite ones or NaN.*nan"),
    "too many": (np.ones(8), "broadcastable to"),
    "text": (np.array(["1"] * 7), "`sample_weight` to be numbers.*strings"),
}
BAD_PROBABILITIES = {
    "rows of another sum": (1.5 * PROBABILITIES / PROBABILITIES.max(), "a sum of 1|in .0, 1."),
    "logits": (LOGITS, r"`probabilities` in \[0, 1\].*softmax"),
    "rows of zeros": (0 * PROBABILITIES, "a sum of 1"),
    "independent labels": (1 / (1 + np.exp(-LOGITS)), "a sum of 1"),
    "nan": (np.where(np.arange(5) == 2, np.nan, PROBABILITIES), "`probabilities` without NaN"),
    "names": (np.full((7, 5), "a"), "`predictions` to be numbers"),
}
ESTIMATORS = [
    "brier_decomposition",
    "brier_score",
    "calibration_error",
    "calibration_test",
    "classwise_calibration_error",
    "monotone_bins",
    "risk_coverage_area",
    "smooth_calibration_error",
    "spiegelhalter_test",
    "sweep_calibration_error",
]
DISPLAYS = ["ReliabilityDisplay", "ClasswiseReliabilityDisplay"]


def entry_points():
    """Every public function, metric, calibrator and display that takes labels of classes, predictions and weights."""
    for name in ESTIMATORS:
        function = getattr(kls.ops, name)
        yield pytest.param(lambda y, p, w=None, f=function: f(y, p, sample_weight=w), False, id=f"ops.{name}")
    for component in registry.METRICS:
        if component.batch is registry.integers and "-" not in component.name:
            yield pytest.param(
                lambda y, z, w=None, m=component.make: m().update_state(y, z, w), True, id=str(component)
            )
    for component in registry.CALIBRATORS:
        if "-" in component.name:
            continue
        yield pytest.param(lambda y, z, w=None, m=component.make: m().fit(z, y, w), True, id=str(component))
    yield pytest.param(lambda y, z, w=None: kls.evaluate(y, z, sample_weight=w), True, id="evaluate")
    crossfit = kls.calibrators.crossfit
    temperature = kls.calibrators.TemperatureScaling
    yield pytest.param(lambda y, z, w=None: crossfit(temperature(), z, y, w, folds=2), True, id="crossfit")
    for name in DISPLAYS:
        make = getattr(kls.plots, name).from_predictions
        yield pytest.param(lambda y, z, w=None, m=make: m(y, z, sample_weight=w), True, id=name)


def losses():
    for component in registry.LOSSES:
        if component.batch is registry.integers and "-" not in component.name:
            yield pytest.param(lambda y, z, w=None, m=component.make: m()(y, z, w), True, id=str(component))


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    plt.close("all")


def test_every_estimator_is_listed():
    takes = [name for name in kls.ops.__all__ if "probabilities" in parameters(getattr(kls.ops, name))]
    # `bootstrap_interval` takes what its statistic takes, the other makes logits of probabilities
    assert sorted({*takes} - {"bootstrap_interval", "probabilities_to_logits", "unsmoothed"}) == ESTIMATORS


def parameters(function):
    return inspect.signature(function).parameters if isinstance(function, types.FunctionType) else ()


@pytest.mark.parametrize("bad", BAD_LABELS)
@pytest.mark.parametrize("call, logits", [*entry_points(), *losses()])
def test_labels(call, logits, bad):
    labels, words = BAD_LABELS[bad]
    with quiet(), pytest.raises(ValueError, match=rf"^Expected .*({words}|integer labels for|labels a prediction)"):
        call(labels, LOGITS if logits else PROBABILITIES)


@pytest.mark.parametrize("bad", BAD_WEIGHTS)
@pytest.mark.parametrize("call, logits", [*entry_points(), *losses()])
def test_weights(call, logits, bad):
    weight, words = BAD_WEIGHTS[bad]
    with quiet(), pytest.raises(ValueError, match=f"^Expected .*({words})"):
        call(LABELS, LOGITS if logits else PROBABILITIES, weight)


@pytest.mark.parametrize("bad", BAD_PROBABILITIES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_probabilities(name, bad):
    probabilities, words = BAD_PROBABILITIES[bad]
    with pytest.raises(ValueError, match=f"^Expected .*({words})"):
        getattr(kls.ops, name)(LABELS, probabilities)


@pytest.mark.parametrize("bad", BAD_PROBABILITIES)
@pytest.mark.parametrize("component", [c for c in registry.METRICS if c.batch is registry.integers], ids=str)
def test_probabilities_of_metrics(component, bad):
    probabilities, words = BAD_PROBABILITIES[bad]
    with pytest.raises(ValueError, match=f"^Expected .*({words})"):
        component.make(from_logits=False).update_state(LABELS, probabilities)


@pytest.mark.parametrize("bad", [bad for bad in BAD_PROBABILITIES if bad not in ("nan", "names")])
@pytest.mark.parametrize("component", [c for c in registry.LOSSES if c.batch is registry.integers], ids=str)
def test_probabilities_of_losses(component, bad):
    probabilities, words = BAD_PROBABILITIES[bad]
    with pytest.raises(ValueError, match=f"^Expected .*({words})"):
        component.make(from_logits=False)(LABELS, probabilities)
    weight = np.zeros(7)
    assert float(component.make(from_logits=False)(LABELS, probabilities, weight)) == 0  # nothing counts


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("bad", [bad for bad in BAD_PROBABILITIES if bad != "names"])
@pytest.mark.parametrize(
    "name", [c.name for c in registry.CALIBRATORS if "-" not in c.name] + ["evaluate", "crossfit", *DISPLAYS]
)
def test_probabilities_of_calibrators_and_displays(name, bad):
    probabilities, words = BAD_PROBABILITIES[bad]
    with quiet(), pytest.raises(ValueError, match=f"^Expected .*({words})"):
        if name in DISPLAYS:
            getattr(kls.plots, name).from_predictions(LABELS, probabilities, from_logits=False)
        elif name == "evaluate":
            kls.evaluate(LABELS, probabilities, from_logits=False)
        elif name == "crossfit":
            temperature = kls.calibrators.TemperatureScaling()
            kls.calibrators.crossfit(temperature, probabilities, LABELS, folds=2, from_logits=False)
        else:
            getattr(kls.calibrators, name)(from_logits=False).fit(probabilities, LABELS)


def test_probabilities_of_labels():
    loss = kls.losses.BinarySmoothedCrossentropy(from_logits=False)
    with pytest.raises(ValueError, match=r"^Expected `probabilities` in \[0, 1\]\. Received: 1\.5"):
        loss([[0, 1]], [[0.5, 1.5]])


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "component",
    [c for c in registry.METRICS + registry.LOSSES if c.batch is registry.integers and "-" not in c.name],
    ids=str,
)
def test_labels_in_a_graph(component):
    import tensorflow as tf

    made = component.make()
    call = getattr(made, "update_state", made.__call__)
    told = "Expected integer labels for"  # while the graph is made
    logits = tf.constant(LOGITS)
    # one graph; those of the same shape and dtype share a trace
    graph = tf.function(call, autograph=False)
    for bad in ("several an example", "rows of zeros", "fractions", "negative"):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="Expected") as error, quiet():
            graph(tf.constant(BAD_LABELS[bad][0]), logits)
        if isinstance(error.value, ValueError):
            assert told in str(error.value), bad
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Expected integer labels in \[0, 5\)"), quiet():
        graph(tf.constant(LABELS + 1), logits)
    # XLA raises nothing: the value has to show it
    try:
        with quiet():
            compiled = tf.function(call, jit_compile=True, autograph=False)
            value = compiled(tf.constant(BAD_LABELS["several an example"][0]), logits)
    except ValueError as error:
        assert told in str(error)
    else:
        assert np.isnan(float(made.result() if hasattr(made, "result") else value))


# settings and raw arguments of functions ------------------------------------------------------------------------------

FEATURES = RNG.normal(size=(6, 4)).astype("float32")
SMALL = RNG.normal(size=(6, 3)).astype("float32")
GOOD = {
    "labels": np.array([0, 1, 2, 0, 1, 2]),
    "logits": SMALL,
    "probabilities": np.exp(SMALL) / np.exp(SMALL).sum(axis=1, keepdims=True),
    "teacher_logits": SMALL[::-1].copy(),
    "student_logits": SMALL,
    "sample_weight": np.ones(6),
    "num_classes": 3,
    "label_smoothing": 0.1,
    "prior": [0.2, 0.3, 0.5],
    "gamma": 2.0,
    "margin": 1.0,
    "temperature": 2.0,
    "student_temperature": 1.5,
    "num_bins": 5,
    "binning": "quantile",
    "norm": "l1",
    "closed": "left",
    "debiased": False,
    "threshold": 0.1,
    "average": "macro",
    "bandwidth": 0.05,
    "features": FEATURES,
    "weights": SMALL[:4],
    "bias": np.zeros(3),
    "templates": FEATURES[:3],
    "origin": FEATURES[0],
    "basis": FEATURES[1:3],
    "x": FEATURES,
    "y": FEATURES + 1,
    "weight": np.ones(6),
    "teacher": FEATURES,
    "student": FEATURES[:, :2],
    "power": 2,
    "level": 0.9,
    "num_resamples": 2,
    "seed": 0,
    "method": "basic",
    "statistic": kls.ops.brier_score,
    "standardize": False,
    "center": False,
    "axis": -1,
    "from_logits": True,
    "binary": False,
}
OWN = {
    "attention_map": {"features": FEATURES.reshape(2, 3, 4)},
    "binary_smoothed_crossentropy": {"labels": (SMALL > 0).astype(int), "prior": 0.5},
    "correlation_distance": {"weight": np.ones(4)},
    "probabilities_to_logits": {"probabilities": GOOD["probabilities"]},
}
MALFORMED = {
    "none": None,
    "text": "abc",
    "names": np.array(list("abcabc")),
    "object": object(),
    "a function": len,
    "a dictionary": {"a": 1},
    "unequal rows": [[1, 2], [3]],
    "one number": 1.5,
    "four axes": np.zeros((1, 1, 1, 1)),
    "nan": np.nan,
    "some nan": np.where(np.arange(18).reshape(6, 3) == 4, np.nan, 0.5),
    "infinite": np.full((6, 3), np.inf),
    "minus infinity": np.full((6, 3), -np.inf),
    "70 bits": 2**70,
    "a billion": 10**9,
    "negative": -1,
    "complex": np.full((6, 3), 1j),
    "empty": np.zeros((0, 3)),
    "no classes": np.zeros((6, 0)),
    "dates": np.array(["2020-01-01"] * 6, "datetime64[D]"),
}
FUNCTIONS = [name for name in kls.ops.__all__ if isinstance(getattr(kls.ops, name), types.FunctionType)]


def values(result):
    return [np.asarray(keras.ops.convert_to_numpy(x), "float64") for x in keras.tree.flatten(result) if x is not None]


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("name", FUNCTIONS)
def test_malformed_arguments_of_functions(name):
    function = getattr(kls.ops, name)
    good = {key: OWN.get(name, {}).get(key, GOOD[key]) for key in parameters(function)}
    assert all(np.isfinite(x).all() for x in values(tuple(keras.tree.flatten(function(**good)))))

    def late(*_):
        raise TimeoutError

    told = signal.signal(signal.SIGALRM, late)
    wrong = []
    try:
        for key in good:
            for kind, value in MALFORMED.items():
                if key == "statistic" and callable(value):
                    continue
                signal.alarm(10)
                try:
                    result = function(**{**good, key: value})
                except ValueError as error:
                    if not (str(error).startswith("Expected") and "Received" in str(error)):
                        wrong.append(f"{key}, {kind}: {error}")
                except Exception as error:  # what users would have to puzzle out
                    wrong.append(f"{key}, {kind}: {type(error).__name__} {error}")
                else:  # accepted, and then with a number
                    if not all(np.isfinite(x).all() for x in values(tuple(keras.tree.flatten(result)))):
                        wrong.append(f"{key}, {kind}: NaN")
                finally:
                    signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, told)
    assert not wrong, "\n".join(line[:200] for line in wrong)
