"""What a comparison of calibrators found, as tables and diagrams, and the best calibrator on disk."""

import json
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from keras_ls.export import export_saved_model
from keras_ls.files import local_path, write_beside
from keras_ls.ops._types import PathLike
from keras_ls.plots import ReliabilityDisplay
from keras_ls.reports.result import Figure, StudyResult, Table, provenance
from keras_ls.studies.recalibration import AS_GIVEN, CALIBRATORS, ERRORS, SCORES, Recalibration


def compare(study: Recalibration, found: dict, fingerprints: dict[str, str]) -> StudyResult:
    """The `StudyResult` of steps by name.

    Args:
        study: the `Recalibration`.
        found: step name → `Step`.
        fingerprints: name of the file → its hash.
    """
    chosen = best(found)
    left_out = ", ".join(_label(name) for name in CALIBRATORS if name not in study.names)

    def table(title, measures, note):
        rows = tuple(
            (
                _label(name) + (" (lowest NLL)" if name == chosen else ""),
                *(_cell(step.scores.get(key)) for key in measures),
            )
            for name, step in found.items()
        )
        return Table(title, ("calibrator", *measures.values()), rows, note)

    scores = table(
        f"{study.source}: proper scores, before and after",
        SCORES,
        (
            f"{np.count_nonzero(study.sample_weight):,} examples, {study.num_classes} classes. Every calibrator is "
            f"cross-fitted in {study.folds} parts: no example is scored by a calibrator that saw its label. "
            f"Brackets are 95 % bootstrap intervals over examples ({study.num_resamples} resamples). NLL, Brier and "
            "AURC (how well confidence ranks the errors) are better when lower."
            f"{f' Not tried: {left_out}.' if left_out else ''}"
        ),
    )
    what = "P(y = 1)" if study.logits.ndim == 1 else "the top label"
    errors = table(
        f"{study.source}: calibration errors, before and after",
        ERRORS,
        (
            f"ECE with {study.num_bins} equal-width bins of {what}, adaptive ECE with as many equal-mass bins, "
            "smECE without bins, class-wise ECE the mean over classes. An estimate is too high by chance, and its "
            "interval lies where the error is after that bias is taken out, extended to the estimate where it would "
            "end below. p is of a test whether the predictions are calibrated (ECE, labels drawn from the "
            "predictions): near 0, they are not."
        ),
    )
    config = {key: getattr(study, key) for key in ("source", "folds", "num_bins", "num_resamples", "seed", "names")}
    return StudyResult(
        study="calibrate",
        config=config,
        tables=(scores, errors),
        directions=(),
        figures=(_figure(study, found),),
        values={name: step.scores for name, step in found.items()},
        provenance=provenance(fingerprints, (study.seed,)),
        title=f"Calibration of {study.source}",
        about="Calibrators compared on the predictions in a file, each on examples that it was not fitted on.",
    )


def _figure(study, found):
    if study.logits.ndim == 1:
        reading = (
            "Predictions binned by P(y = 1), the axis named confidence, as given and after each calibrator, "
            "cross-fitted. A bar's height, accuracy, is how often y is 1 in that bin: on the dashed diagonal as often "
            "as predicted, below it less often. The strip underneath shows where the examples lie."
        )
    else:
        reading = (
            "Predictions binned by confidence, as given and after each calibrator, cross-fitted. A bar's height is "
            "how often the predictions in that bin are right: on the dashed diagonal they are as right as they are "
            "confident, below it they are over-confident. The strip underneath shows where the examples lie."
        )
    panels = [ReliabilityDisplay(*step.bins, name=_label(name)).to_dict() for name, step in found.items()]
    width = min(len(panels), 3)
    panels += [None] * (-len(panels) % width)
    return Figure(
        name="calibrate",
        kind="ReliabilityDisplay",
        panels=tuple(tuple(panels[i : i + width]) for i in range(0, len(panels), width)),
        reading=reading,
    )


def save_calibrator(
    study: Recalibration,
    found: dict,
    directory: PathLike,
    from_logits: bool,
    class_names: Sequence[str] | None,
    facts: dict,
) -> list[pathlib.Path]:
    """Writes the best calibrator, fitted on all examples: a SavedModel, and JSON for anything else.

    Args:
        study: the `Recalibration`.
        found: step name → `Step`.
        directory: of `saved_model/` and `calibrator.json`.
        from_logits: whether the SavedModel is to take logits, or probabilities.
        class_names: K names, or None.
        facts: where the predictions come from.

    Returns:
        The two paths.

    Raises:
        ValueError: where no calibrator lowers the NLL, so that there is nothing to save.
    """
    names = [name for name in found if name != AS_GIVEN]
    chosen = names[0] if len(names) == 1 else best(found)
    if chosen == AS_GIVEN:
        raise ValueError(
            "Expected a calibrator that lowers the NLL of examples it was not fitted on. Received: none does, so "
            "that nothing is saved. Name one with `--calibrator` to have it anyway."
        )
    calibrator, directory = found[chosen].calibrator, local_path("directory", directory)
    inputs = keras.Input(study.logits.shape[1:] or (1,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    saved = export_saved_model(model, directory / "saved_model", calibrator, from_logits)
    text = {
        "calibrator": type(calibrator).__name__,
        "input": "logits" if from_logits else f"probabilities; their logits are {_formula(study)}",
        "output": "logits",
        "classes": class_names if study.logits.ndim == 2 else None,
        "config": calibrator.get_config(),
        "weights": {weight.name: keras.ops.convert_to_numpy(weight).tolist() for weight in calibrator.weights},
        "scores": {"before": found[AS_GIVEN].scores, "after": found[chosen].scores},
        "provenance": facts,
    }
    path = directory / "calibrator.json"
    write_beside(path, lambda p: p.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8"))
    return saved, path


def _formula(study):
    """How the logits of probabilities are made."""
    if study.logits.ndim == 1:
        return "log p - log(1 - p), with p and 1 - p clipped to [1e-7, 1]"
    return "log p, with p clipped to [1e-7, 1]"


def best(found):
    """The step of least cross-fitted NLL, a proper score; `AS_GIVEN` where no calibrator lowers it."""
    return min(found, key=lambda name: found[name].scores["nll"][0])


def _label(name):
    return name if name == AS_GIVEN else CALIBRATORS[name][0]


def _cell(found):
    if found is None:
        return "–"
    value, low, high = found
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
