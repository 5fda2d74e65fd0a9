"""Every calibrator on an over-confident network: fitted on one split, compared on another.

Run: python examples/calibrators_compared.py   (about 20 s on two cores)
Result: a table of NLL, Brier score and ECE on 697 test digits, mean ± half-width of the 95 % interval over three
networks (seeds 0, 1, 2). From 400 examples one number is learnt best: temperature scaling brings the NLL from
1.10 ± 0.14 to 0.77 ± 0.05, isotonic calibration to 0.91 ± 0.18, or 0.80 ± 0.06 with a floor of 1/400, and histogram
binning of each class makes it worse. The ECE cannot tell: 0.045 ± 0.026, 0.060 ± 0.026 and 0.051 ± 0.008, from
0.169 ± 0.018.
"""

import inspect

import keras

import keras_ls as kls
from keras_ls.reports.intervals import estimate


def calibrators():
    """Yields (name, a calibrator to fit); None for the logits as they are."""
    yield "as trained", None
    for name in kls.calibrators.__all__:
        kind = getattr(kls.calibrators, name)
        if inspect.isclass(kind) and issubclass(kind, keras.layers.Layer):
            yield name, kind()
            if "method" in inspect.signature(kind).parameters:
                yield f"{name}, top label", kind(method="top_label")
    yield "IsotonicCalibration, floor 1/400", kls.calibrators.IsotonicCalibration(floor=1 / 400)


def scores(labels, logits):
    """NLL, Brier score and ECE."""
    nll = kls.metrics.NegativeLogLikelihood()
    nll.update_state(labels, logits)
    p = keras.ops.softmax(logits)
    return [float(x) for x in (nll.result(), kls.ops.brier_score(labels, p), kls.ops.calibration_error(labels, p))]


def main(seeds=(0, 1, 2), epochs=30):
    """Trains, fits, prints the table; returns `{name: [(NLL, Brier, ECE) of each seed]}`."""
    digits = kls.data.load("digits-noise")
    table = {}
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        model = kls.models.mlp((64,), 10)
        model.compile("adam", kls.losses.SmoothedCrossentropy(0.0))
        model.fit(*digits.train, epochs=epochs, verbose=0)
        fitting, logits = (model.predict(x, verbose=0) for x, _ in (digits.calibration, digits.test))
        for name, calibrator in calibrators():
            fitted = calibrator and calibrator.fit(fitting, digits.calibration[1])
            row = scores(digits.test[1], fitted(logits) if fitted else logits)
            table.setdefault(name, []).append(row)

    print(f"{'':32}  {'NLL':>13}  {'Brier':>13}  {'ECE':>13}")
    for name, rows in table.items():
        print(f"{name:32}  {'  '.join(str(estimate(values)) for values in zip(*rows))}")
    return table


if __name__ == "__main__":
    main()
