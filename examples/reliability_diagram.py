"""A reliability diagram before and after temperature scaling, from arrays of logits and labels.

Run: python examples/reliability_diagram.py   (about 10 s on two cores)
Result: reliability.png, two panels: over-confident, then calibrated.
"""

import keras
import matplotlib.pyplot as plt

import keras_ls as kls


def main(path="reliability.png", epochs=30):
    keras.utils.set_random_seed(0)
    digits = kls.data.load("digits-noise")
    model = kls.models.mlp((64,), 10)
    model.compile("adam", kls.losses.SmoothedCrossentropy(0.0))
    model.fit(*digits.train, epochs=epochs, verbose=0)

    temperature = kls.calibrators.TemperatureScaling().fit(model, digits.calibration)  # a split of its own
    x, labels = digits.test
    logits = model.predict(x, verbose=0)
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.7), layout="constrained")
    displays = [
        kls.plots.ReliabilityDisplay.from_predictions(labels, logits, name="as trained", ax=axes[0]),
        kls.plots.ReliabilityDisplay.from_predictions(
            labels, temperature(logits), name=f"divided by T = {temperature.temperature:.2f}", ax=axes[1]
        ),
    ]
    figure.savefig(path, dpi=150)
    print(f"{path}: ECE {displays[0].calibration_error:.3f} → {displays[1].calibration_error:.3f}")
    return displays


if __name__ == "__main__":
    main()
