"""The README's first screen as a whole script, on real digits.

Run: python examples/first_steps.py   (about 20 s on two cores)
Result: a smoothed network, its calibration after every epoch, a temperature, a SavedModel in saved_models/first_steps,
and a student of it.
"""

import keras

import keras_ls as kls


def main(epochs=10, path="saved_models/first_steps"):
    keras.utils.set_random_seed(0)
    digits = kls.data.load("digits-noise")
    train, val = digits.train, digits.calibration
    model = kls.models.mlp((64,), 10)

    model.compile(
        "adam",
        kls.losses.SmoothedCrossentropy(0.1),
        metrics=["accuracy", kls.metrics.ExpectedCalibrationError(), kls.metrics.BrierScore()],
    )
    model.fit(*train, epochs=epochs, verbose=2, callbacks=[kls.callbacks.CalibrationCallback(val, log_dir="logs")])

    temperature = kls.calibrators.TemperatureScaling().fit(model, val)
    report = temperature.fit_report
    print(
        f"T = {report.temperature:.2f} ± {report.standard_error:.2f}: "
        f"NLL {report.nll_before:.3f} → {report.nll_after:.3f} nats"
    )
    kls.export.export_saved_model(model, path, calibrator=temperature)

    student = kls.models.mlp((64,), 10, widths=(16,))
    distiller = kls.Distiller(model, student, kls.distillation.LogitsDistillation(temperature=4.0))
    distiller.compile("adam", kls.losses.SmoothedCrossentropy(0.0), metrics=["accuracy"])
    distiller.fit(*train, epochs=epochs, verbose=2)
    return model, temperature, student


if __name__ == "__main__":
    main()
