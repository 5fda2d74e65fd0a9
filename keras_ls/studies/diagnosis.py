"""A teacher looked at before it teaches: `keras-ls diagnose`."""

import dataclasses
import math
import warnings
from collections.abc import Sequence

import keras
import numpy as np

from keras_ls import calibrators, data, ops
from keras_ls.data.splits import PARTS
from keras_ls.evaluation import evaluate
from keras_ls.models import final_dense
from keras_ls.ops._checks import checked_choice, checked_count, checked_positive
from keras_ls.plots.reliability_bins import bins_of_predictions
from keras_ls.studies.engine.study import LARGEST_SEED, MOST_BINS
from keras_ls.studies.teacher_outputs import outputs_of

TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 8.0, 16.0)
EXAMPLES = 10_000
LEAST_ACCURACY = 0.5  # on training data, below which something may be wrong with what the teacher was given
# chosen on teachers of known α: see docs/guides/diagnose.md, which has those they were tried on
LEAST_ALPHA, LEAST_MATCH, LARGEST_VARIANCE = 0.03, 0.8, 0.15


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to make of a teacher.

    Attributes:
        smoothed: "yes", "no" or "unclear".
        alpha: the estimated label smoothing of its training.
        temperature: at which to begin to teach, or None.
        answer: whether its targets look smoothed, a sentence.
        certainty: how sure that is.
        advice: at which temperature it should teach, and why.
    """

    smoothed: str
    alpha: float
    temperature: float | None
    answer: str
    certainty: str
    advice: str


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was measured.

    Attributes:
        measures: part → name → number.
        gamma: part → γ at each of `temperatures`.
        temperatures: T.
        collapse: `ops.NeuralCollapse` of floats on the training part, or None.
        bins: part → of the reliability diagram.
        verdict: a `Verdict`.
        notes: sentences on what was done, or left out.
    """

    measures: dict
    gamma: dict
    temperatures: tuple
    collapse: ops.NeuralCollapse | None
    bins: dict
    verdict: Verdict
    notes: tuple


def diagnose(
    model: keras.Model,
    dataset: str,
    part: str = "test",
    temperatures: Sequence[float] = TEMPERATURES,
    num_bins: int = 15,
    examples: int = EXAMPLES,
    from_logits: bool = True,
    seed: int = 0,
) -> Diagnosis:
    """Measures a teacher on its training data and on held-out data.

    Args:
        model: a `keras.Model`.
        dataset: name of the dataset that it was trained on.
        part: held-out part: "calibration" or "test"; "train" for the training data alone.
        temperatures: T of which γ is told.
        num_bins: bins of the ECE.
        examples: at most so many of each part; None for all.
        from_logits: whether the teacher returns logits (default) or probabilities.
        seed: of the cross-fit of T*.

    Returns:
        A `Diagnosis`.

    Raises:
        ValueError: for a teacher whose inputs or classes are not those of the dataset, and settings out of range.

    Examples:
        >>> import keras_ls as kls
        >>> found = kls.studies.diagnose(kls.models.mlp((64,), 10), "digits")
        >>> found.verdict.smoothed, round(found.measures["train"]["entropy"] / math.log(10), 1)
        ('unclear', 1.0)
    """
    temperatures = tuple(checked_positive("temperatures", t) for t in temperatures)
    checked_count("num_bins", num_bins, maximum=MOST_BINS)
    checked_count("seed", seed, 0, LARGEST_SEED)
    if examples is not None:
        checked_count("examples", examples, minimum=10)
    splits = data.load(dataset)
    splits.check_in_memory()
    parts = dict.fromkeys(("train", checked_choice("part", part, PARTS)))
    notes, collapse = {}, None
    for name in parts:
        parts[name], said = outputs_of(model, splits, name, examples, from_logits)
        notes |= dict.fromkeys(said)
    outputs = parts["train"]
    if (outputs.logits == outputs.logits[0]).all():
        raise ValueError(
            f"Expected a teacher that tells examples apart. Received: the same logits for all {len(outputs.labels):,} "
            "training examples, as of a network that was not trained, or whose units have died."
        )
    if outputs.features is None:
        notes["No Dense layer with a unit a class was found at the end: neural collapse and R² are left out."] = None
    else:
        try:
            layer = _last_layer(model, splits.num_classes)
            collapse = ops.neural_collapse(outputs.features, outputs.labels, *layer)
            collapse = ops.NeuralCollapse(*(float(value) for value in collapse))
        except ValueError as error:
            notes[f"Neural collapse is left out: {error}"] = None
    measures = {name: _measures(found, num_bins, seed, held_out=name != "train") for name, found in parts.items()}
    right = measures["train"]["accuracy"]
    if right < LEAST_ACCURACY:
        notes[
            f"The teacher is right on only {right:.0%} of its training data. If it was better in training, it saw "
            "inputs of another scale (images come with pixels from 0 to 1) or another order of the classes."
        ] = None
    gamma = {
        name: [float(ops.effective_smoothing(found.logits, found.labels, t)) for t in temperatures]
        for name, found in parts.items()
    }
    bins = {
        name: bins_of_predictions(found.labels, found.logits, num_bins, "uniform", "left", True, None)
        for name, found in parts.items()
    }
    train = measures["train"]
    verdict = judge(train["alpha"], train["match"], train["wrong_variance"], measures[part].get("temperature"))
    return Diagnosis(measures, gamma, temperatures, collapse, bins, verdict, tuple(notes))


def judge(alpha, match, wrong_variance, temperature=None):
    """The verdict on a teacher.

    Args:
        alpha: `ops.estimate_smoothing` on training data.
        match: likewise.
        wrong_variance: `ops.wrong_logit_variance` on training data.
        temperature: T* on held-out data, or None.

    Returns:
        A `Verdict`.

    Examples:
        >>> from keras_ls.studies.diagnosis import judge
        >>> [judge(0.1, 0.97, 0.1).smoothed, judge(0.01, 0.4, 0.2).smoothed, judge(0.1, 0.7, 0.3).smoothed]
        ['yes', 'no', 'unclear']
    """
    evenly = match >= LEAST_MATCH and wrong_variance <= LARGEST_VARIANCE
    signs = f"match {match:.2f}, variance between wrong logits {wrong_variance:.3f}"
    if alpha < LEAST_ALPHA:
        answer = f"No sign of it: what training left of hard labels amounts to α = {max(alpha, 0.0):.3f}."
        certainty = (
            f"Smoothing of less than about {LEAST_ALPHA} cannot be told from none ({signs}). Another loss may yet have "
            "softened the predictions: look at γ at T = 1."
        )
        start = None if temperature is None else max(1.0, round(temperature, 1))
        advice = (
            "At least 1; fit T* on held-out data (`--part calibration`) for a place to start."
            if start is None
            else f"Begin at T = {start:g}, its T* (at least 1), where its probabilities are the most honest, and try "
            f"up to T = {4 * start:g} on validation data. A rule of thumb; why honest probabilities teach: Menon et "
            "al., 2021."
        )
        return Verdict("no", alpha, start, answer, certainty, advice)
    if evenly:
        answer = f"Yes: its targets look smoothed evenly, with α ≈ {alpha:.2f}."
        certainty = (
            f"{'Sure' if match >= 0.9 else 'Likely'} ({signs}). Losses that cap the confidence evenly, such as max "
            "suppression, look the same, and teach the same."
        )
        advice = (
            "T = 1: smoothing has drawn the wrong classes together, and a higher T would spread what is left "
            "(Chandrasegaran et al., 2022)."
        )
        return Verdict("yes", alpha, 1.0, answer, certainty, advice)
    answer = f"Unclear: training has left as much of hard labels as α = {alpha:.2f} would, but not in the same way."
    certainty = (
        f"Even smoothing has a match of {LEAST_MATCH} or more and a variance of {LARGEST_VARIANCE} or less; here: "
        f"{signs}. A training that is not finished, focal loss and uneven (learned) targets look so."
    )
    start = 1.0 if temperature is None else round(max(1.0, temperature), 1)
    also = "" if start == 1 else f" and T = {start:g}"
    return Verdict("unclear", alpha, None, answer, certainty, f"Compare T = 1{also} with others on validation data.")


def _last_layer(model, num_classes):
    """Kernel `[D, K]` and bias `[K]` (or None) of the last Dense layer."""
    dense = final_dense(model, num_classes)
    to_numpy = keras.ops.convert_to_numpy
    return to_numpy(dense.kernel), None if dense.bias is None else to_numpy(dense.bias)


def _measures(outputs, num_bins, seed, held_out):
    labels, logits = outputs.labels, outputs.logits
    found = {
        "examples": len(labels),
        **evaluate(labels, logits, num_bins=num_bins, scores=("accuracy", "nll", "ece")),
        "entropy": float(np.mean(keras.ops.convert_to_numpy(ops.entropy(logits)))),
        "wrong_variance": float(ops.wrong_logit_variance(logits, labels)),
    }
    if outputs.features is not None:
        found["separation"] = float(ops.class_separation(outputs.features, labels))
    if held_out:
        with warnings.catch_warnings():  # of folds with few examples of a class, which matter little to one number
            warnings.simplefilter("ignore", UserWarning)
            fitted = calibrators.crossfit(calibrators.TemperatureScaling(), logits, labels, seed=seed)
        found["temperature"] = fitted.calibrator.temperature
        cooled = evaluate(labels, fitted.logits, num_bins=num_bins, scores=("nll", "ece"))
        found |= {f"{name}_at_temperature": value for name, value in cooled.items()}
    else:
        alpha, match = ops.estimate_smoothing(logits, labels)
        found |= {"alpha": float(alpha), "match": float(match)}
    found["entropy_share"] = found["entropy"] / math.log(logits.shape[1])
    return found
