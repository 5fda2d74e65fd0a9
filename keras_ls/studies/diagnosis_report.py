"""What was found of a teacher, as tables and figures."""

import dataclasses

from keras_ls import data
from keras_ls.plots import ReliabilityDisplay, SmoothingSweepDisplay
from keras_ls.reports.result import Figure, StudyResult, Table, provenance
from keras_ls.studies.diagnosis import Diagnosis

ABOUT = (
    "How a teacher predicts, whether label smoothing shows in it, and at which temperature it should teach. It is one "
    "network: the numbers have no interval over seeds."
)
PART_NAMES = {"train": "training", "calibration": "held out (calibration)", "test": "held out (test)"}
MEASURES = {
    "examples": ("examples", ",d"),
    "accuracy": ("accuracy", ".3f"),
    "nll": ("NLL (nats)", ".3f"),
    "ece": ("ECE", ".3f"),
    "temperature": ("T*, the temperature of least NLL", ".2f"),
    "nll_at_temperature": ("NLL at T*, cross-fitted", ".3f"),
    "ece_at_temperature": ("ECE at T*, cross-fitted", ".3f"),
    "entropy": ("mean entropy (nats)", ".3f"),
    "entropy_share": ("mean entropy, share of log K", ".1%"),
    "wrong_variance": ("variance between wrong logits / squared gap", ".4f"),
    "separation": ("class separation R²", ".3f"),
    "alpha": ("estimated label smoothing α", ".3f"),
    "match": ("match of that estimate", ".2f"),
}
COLLAPSE = {
    "nc1": "NC1, spread within classes over that between",
    "nc2_equinorm": "NC2, lengths of class means: variation",
    "nc2_equinorm_weights": "NC2, lengths of weights: variation",
    "nc2_equiangular": "NC2, angles of class means: off the simplex",
    "nc2_equiangular_weights": "NC2, angles of weights: off the simplex",
    "nc3": "NC3, weights off the class means",
    "nc4": "NC4, nearest class mean decides otherwise",
}


def report_of(
    found: Diagnosis, dataset: str, name: str, fingerprint: str | None, config: dict, seed: int = 0
) -> StudyResult:
    """The `StudyResult` of a `Diagnosis`.

    Args:
        found: the `Diagnosis`.
        dataset: name of the dataset.
        name: of the teacher, for titles.
        fingerprint: hash of the teacher's file, or None.
        config: the settings.
        seed: of the cross-fit.
    """
    splits = data.load(dataset)
    verdict = Table(
        title=f"{name} on {splits.source}: the verdict",
        columns=("question", "answer"),
        rows=(
            ("Trained with label smoothing?", found.verdict.answer),
            ("How sure is that?", found.verdict.certainty),
            ("At which T should it teach?", found.verdict.advice),
        ),
        note=" ".join(found.notes),
    )
    tables = [verdict, _measures(found, splits), _gamma(found)]
    if found.collapse is not None:
        tables.append(_collapse(found))
    values = {"measures": found.measures, "gamma": found.gamma, "temperatures": found.temperatures}
    values |= {"collapse": found.collapse and found.collapse._asdict(), "verdict": dataclasses.asdict(found.verdict)}
    return StudyResult(
        study="diagnose",
        config=config,
        tables=tuple(tables),
        directions=(),
        figures=(_gamma_figure(found), _reliability_figure(found)),
        values=values,
        provenance=provenance({dataset: splits.fingerprint} | ({name: fingerprint} if fingerprint else {}), (seed,)),
        title=f"The teacher {name}",
        about=ABOUT,
    )


def _measures(found, splits):
    def cell(part, key, form):
        value = found.measures[part].get(key)
        return "–" if value is None else format(value, form)

    return Table(
        title="What it predicts",
        columns=("measure", *(PART_NAMES[part] for part in found.measures)),
        rows=tuple(
            (label, *(cell(part, key, form) for part in found.measures))
            for key, (label, form) in MEASURES.items()
            if any(key in numbers for numbers in found.measures.values())
        ),
        note=(
            f"{splits.num_classes} classes, images as they are in evaluation. T* is cross-fitted: no example is scored "
            "at a temperature that saw its label. α is the label smoothing that best explains what training has left "
            "of hard labels (on the training data alone), the match how well it does: 1 is perfectly."
        ),
    )


def _gamma(found):
    return Table(
        title="Effective smoothing γ over the temperature",
        columns=("T", *(f"γ, {PART_NAMES[part]}" for part in found.gamma)),
        rows=tuple(
            (f"{t:g}", *(f"{gammas[i]:.3f}" for gammas in found.gamma.values()))
            for i, t in enumerate(found.temperatures)
        ),
        note=(
            "γ is the label smoothing that students are told at T, K/(K-1) times the mean probability of the wrong "
            "classes. On held-out data the teacher's own errors add to it; students learn from the training data."
        ),
    )


def _collapse(found):
    return Table(
        title="Neural collapse, training",
        columns=("measure", "value", "when complete"),
        rows=tuple((label, f"{getattr(found.collapse, key):.3f}", "0") for key, label in COLLAPSE.items()),
        note="Papyan, Han and Donoho 2020, of the inputs and weights of the last Dense layer.",
    )


def _gamma_figure(found):
    curves = [
        {"label": PART_NAMES[part], "gamma": list(found.temperatures), "accuracy": gammas}
        for part, gammas in found.gamma.items()
    ]
    display = SmoothingSweepDisplay(curves, xlabel="temperature T", ylabel="effective smoothing γ")
    return Figure(
        name="diagnose-gamma",
        kind="SmoothingSweepDisplay",
        panels=((display.to_dict(),),),
        reading=(
            "How soft the targets of a student are at each temperature of the teacher: 0 are hard labels, 1 tells "
            "nothing of the label. A smoothed teacher begins near its α at T = 1 on the training data, or above it "
            "where it did not fit its targets."
        ),
    )


def _reliability_figure(found):
    panels = tuple(ReliabilityDisplay(*bins, name=PART_NAMES[part]).to_dict() for part, bins in found.bins.items())
    return Figure(
        name="diagnose-reliability",
        kind="ReliabilityDisplay",
        panels=(panels,),
        reading=(
            "The teacher's predictions by their confidence. On the dashed diagonal they are as right as they are "
            "confident, below it over-confident. On training data a smoothed teacher lies above the diagonal: it is "
            "right more often than its targets let it say."
        ),
    )
