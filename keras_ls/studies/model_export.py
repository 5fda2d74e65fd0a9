"""The calibrated networks of a finished calibration study as SavedModels, each with its provenance beside."""

import contextlib
import dataclasses
import itertools
import json
import pathlib
import shutil
import tempfile

from keras_ls import data
from keras_ls.calibrators import TemperatureScaling
from keras_ls.export import export_saved_model
from keras_ls.files import check_writable, local_path, printable, write_beside
from keras_ls.ops._checks import checked_count
from keras_ls.ops._types import PathLike
from keras_ls.reports.html_report import read_results
from keras_ls.studies.calibration_study import CalibrationStudy
from keras_ls.studies.engine.store import FOLDERS, Store

KINDS = {  # of the settings in a file
    "dataset": (str, type(None)),
    "seeds": list,
    "size": str,
    "label_smoothings": list,
    "widths": list,
    "num_bins": int,
}
WIDEST = 100_000  # units of a layer


def export_models(directory: PathLike, to: PathLike) -> list[pathlib.Path]:
    """Writes the hard and the smoothed networks of the first seed, each with its temperature.

    Args:
        directory: where `keras-ls run calibration` wrote its results; it may be read-only.
        to: directory for `NAME/` (the SavedModel) and `NAME.json` (command, training, temperature, scores, versions).

    Returns:
        The paths of the SavedModels.

    Raises:
        ValueError: when the directory holds no calibration study, or one of other settings or scores.
    """
    directory, to = local_path("directory", directory), local_path("to", to)
    results = read_results(directory)
    if CalibrationStudy.name not in results:
        raise ValueError(
            "Expected a directory with the result of `keras-ls run calibration`. Received: "
            f"{printable(directory)} with {', '.join(results)}."
        )
    result = results[CalibrationStudy.name]
    file = printable(directory / f"{result.study}.json")
    study = _study(result.config, file)
    chosen = [
        (study.training(dataset, alpha, study.seeds[0]), kind, _scores(result.values, dataset, kind, file))
        for dataset, (kind, alpha) in itertools.product(study.datasets, study.networks.items())
    ]
    with _writable(directory, [training for training, _, _ in chosen]) as place:
        store = Store(place)
        return [_export(store, *one, result.provenance, to) for one in chosen]


def _export(store, training, kind, scores, provenance, to):
    """Writes one network and its temperature, and returns the path."""
    logits = store.predictions(training).logits["calibration"]
    calibrator = TemperatureScaling().fit(logits, data.load(training.dataset).calibration[1])
    name = f"{training.dataset}-{kind.replace(' α=', '-')}"
    path = export_saved_model(store.model(training), to / name, calibrator)
    facts = {
        "provenance": provenance,
        "training": dataclasses.asdict(training),
        "temperature": calibrator.temperature,
        "test": scores,
    }
    text = json.dumps(facts, indent=1) + "\n"
    write_beside(path.with_suffix(".json"), lambda p: p.write_text(text, encoding="utf-8"))
    return path


def _study(config, file):
    """The study that a file has the settings of; an error names the file and the setting."""
    if config.keys() != KINDS.keys():
        raise ValueError(
            f"Expected `config` in {file} to have {', '.join(KINDS)}. Received: {', '.join(config) or 'nothing'}. "
            "Run the study again."
        )
    for key, kind in KINDS.items():
        if not isinstance(config[key], kind) or isinstance(config[key], bool):
            raise ValueError(
                f"Expected `config.{key}` in {file} as the study writes it. Received: {config[key]!r:.80}. Run the "
                "study again."
            )
    try:
        for width in config["widths"]:
            checked_count("widths", width, maximum=WIDEST)
        return CalibrationStudy(**{key: tuple(v) if isinstance(v, list) else v for key, v in config.items()})
    except ValueError as error:
        raise ValueError(
            f"Expected `config` in {file} to be settings of the calibration study. Received: {error} Run the study "
            "again."
        ) from error


def _scores(values, dataset, kind, file):
    """The scores of a network of the first seed, after its temperature."""
    method = f"{kind} + temperature"
    try:
        return {key: float(seeds[0]) for key, seeds in values[dataset][method].items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"Expected `values.{dataset}.{method}` in {file} to be scores, a list of numbers each. Received: others, "
            "or none. Run the study again."
        ) from None


@contextlib.contextmanager
def _writable(directory, trainings):
    """The directory; where it is read-only a copy of these networks, as a store makes what is missing or damaged."""
    try:
        for folder in (directory, *(directory / name for name in FOLDERS)):
            check_writable(folder)
    except OSError:
        with tempfile.TemporaryDirectory() as copy:
            for training in trainings:
                for path in directory.glob(f"*/{training.name}-*"):
                    if path.is_file():
                        target = pathlib.Path(copy) / path.relative_to(directory)
                        target.parent.mkdir(exist_ok=True)
                        shutil.copyfile(path, target)
            yield pathlib.Path(copy)
        return
    yield directory
