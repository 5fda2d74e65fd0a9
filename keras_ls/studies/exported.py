"""The calibrated networks of a finished calibration study as SavedModels, each with its provenance beside."""

import dataclasses
import itertools
import json
import pathlib

from keras_ls import data
from keras_ls.calibrators import TemperatureScaling
from keras_ls.export import export_saved_model
from keras_ls.files import write_beside
from keras_ls.studies.calibration_study import CalibrationStudy
from keras_ls.studies.report import read_results
from keras_ls.studies.store import Store


def export_models(directory, to):
    """Writes the hard and the smoothed networks of the first seed, each with its temperature.

    Args:
        directory: where `keras-ls run calibration` wrote its results.
        to: directory for `NAME/` (the SavedModel) and `NAME.json` (command, training, temperature, scores, versions).

    Returns:
        The paths of the SavedModels.

    Raises:
        ValueError: when the directory holds no calibration study.
    """
    results = read_results(directory)
    if CalibrationStudy.name not in results:
        raise ValueError(
            f"Expected a directory with the result of `keras-ls run calibration`. Received: {directory} with "
            f"{', '.join(results)}."
        )
    result = results[CalibrationStudy.name]
    study = CalibrationStudy(**{key: tuple(v) if isinstance(v, list) else v for key, v in result.config.items()})
    store = Store(directory)
    paths = []
    for dataset, (kind, alpha) in itertools.product(study.datasets, study.networks.items()):
        training = study.training(dataset, alpha, study.seeds[0])
        logits = store.predictions(training).logits["calibration"]
        calibrator = TemperatureScaling().fit(logits, data.load(dataset).calibration[1])
        name = f"{dataset}-{kind.replace(' α=', '-')}"
        path = export_saved_model(store.model(training), pathlib.Path(to) / name, calibrator)
        facts = {
            "provenance": result.provenance,
            "training": dataclasses.asdict(training),
            "temperature": calibrator.temperature,
            "test": {key: values[0] for key, values in result.values[dataset][f"{kind} + temperature"].items()},
        }
        write_beside(path.with_suffix(".json"), lambda p, facts=facts: p.write_text(json.dumps(facts, indent=1) + "\n"))
        paths.append(path)
    return paths
