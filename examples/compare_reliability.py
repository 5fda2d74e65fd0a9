"""Is label smoothing as good as a temperature? Three networks' reliability in one diagram, a curve, and class by class.

Run: python examples/compare_reliability.py   (about 15 s on two cores)
Result: reliability-comparison.png, reliability-smooth.png and reliability-classwise.png. In this one run (seed 0) ECE
is 0.17 from hard labels, 0.07 smoothed (under-confident from 0.5 on) and 0.04 with a temperature.
"""

import pathlib

import keras

import keras_ls as kls


def main(directory=".", epochs=30):
    """Trains, draws and saves; returns the three displays."""
    digits = kls.data.load("digits-noise")
    x, labels = digits.test
    models = {}
    for name, smoothing in (("hard labels", 0.0), ("smoothing 0.1", 0.1)):
        keras.utils.set_random_seed(0)
        models[name] = kls.models.mlp((64,), digits.num_classes)
        models[name].compile("adam", kls.losses.SmoothedCrossentropy(smoothing))
        models[name].fit(*digits.train, epochs=epochs, verbose=0)
    logits = {name: model.predict(x, verbose=0) for name, model in models.items()}
    temperature = kls.calibrators.TemperatureScaling().fit(models["hard labels"], digits.calibration)
    logits["hard, temperature"] = temperature(logits["hard labels"])

    plots = kls.plots
    displays = {
        "comparison": plots.ReliabilityComparisonDisplay.from_predictions(
            {name: (labels, z) for name, z in logits.items()}, num_bins=10
        ),
        "smooth": plots.ReliabilityDisplay.from_predictions(
            labels, logits["hard labels"], num_bins=10, smooth=True, density=True, name="hard labels"
        ),
        "classwise": plots.ClasswiseReliabilityDisplay.from_predictions(
            labels, logits["hard labels"], num_bins=10, class_names=digits.class_names
        ),
    }
    for name, display in displays.items():
        display.figure_.savefig(pathlib.Path(directory) / f"reliability-{name}.png", dpi=200)
    for display in displays["comparison"].displays:
        print(f"{display.name}: ECE {display.calibration_error:.3f}")
    print(f"Open {pathlib.Path(directory).resolve()}/reliability-*.png.")
    return displays


if __name__ == "__main__":
    main()
