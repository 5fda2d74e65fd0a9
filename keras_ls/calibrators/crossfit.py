"""Calibrated logits without a spare split: each example is calibrated by a fit that never saw it."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable

import keras
import numpy as np

from keras_ls.calibrators.calibrator import Calibrator, flat_arrays
from keras_ls.ops._checks import checked_count, checked_flag, checked_function
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._tensors import as_tensor
from keras_ls.ops._types import Tensor

_BLOCK = 1 << 20  # logits that are calibrated at once


@dataclasses.dataclass(frozen=True, eq=False)
class CrossFit:
    """What `crossfit` found.

    Attributes:
        logits: out-of-fold calibrated logits, NumPy float32 of the shape of the logits given.
        calibrator: fitted to all examples: the one to ship.
        folds: the fold of each example, NumPy integers `[N]`.
        calibrators: one a fold, fitted to the others.
    """

    logits: np.ndarray
    calibrator: Calibrator
    folds: np.ndarray
    calibrators: list


def crossfit(
    calibrator: Calibrator | type[Calibrator],
    logits: Tensor,
    labels: Tensor,
    sample_weight: Tensor | None = None,
    folds: int | Tensor = 5,
    seed: int = 0,
    groups: Tensor | None = None,
    from_logits: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossFit:
    """Calibrates each example by a calibrator that was fitted to the other folds.

    A score of the out-of-fold logits estimates what the calibrator does to new data, as no example's label reaches its
    own logits. (That folds are stratified looks at the labels too: `folds` may be given instead.)

    Args:
        calibrator: an instance, whose configuration is copied and which stays as it is, or a class.
        logits: `[N, K]`, or `[N]` or `[N, 1]` for binary logits.
        labels: `[N]` integers or `[N, K]` dense; `[N]` in [0, 1] for binary logits.
        sample_weight: `[N]`, or None. An example of weight 0 is in no fit, but it has a fold and logits. An example of
            weight 2 is in one fold, where two copies of it may be in two: give copies one group.
        folds: their number, or the fold of each example, `[N]` integers.
        seed: of the assignment to folds.
        groups: `[N]`, or None: examples of one group (a patient, a sequence) are in one fold. Otherwise the folds have
            the same shares of each label.
        from_logits: whether `logits` are logits, or probabilities, and what the calibrators then take; None (default)
            for what the given calibrator says, and logits for a class.
        progress: `(done, fits)` → None, called before the first fit and after each; or None.

    Returns:
        A `CrossFit`: `logits`, `calibrator`, `folds` and `calibrators`.

    Raises:
        ValueError: for what is no calibrator, shapes that do not fit, and fewer than 2 folds, or more folds than
            examples or groups that count.

    Warns:
        UserWarning: for classes with fewer examples than folds, and for probabilities taken for logits; and what the
            fits warn of.

    Examples:
        Without the last two examples T = 2 / log 3, without the first four T = 3 / log 3:

        >>> import numpy as np, keras_ls as kls
        >>> logits, labels = np.array([2.0, 2, 2, 2, 3, 3, 3, 3]), [1, 1, 1, 0, 1, 1, 1, 0]
        >>> found = kls.calibrators.crossfit(
        ...     kls.calibrators.TemperatureScaling, logits, labels, folds=[0, 0, 0, 0, 1, 1, 1, 1]
        ... )
        >>> [round(fitted.temperature * float(np.log(3)), 5) for fitted in found.calibrators]
        [3.0, 2.0]
        >>> [round(float(z), 4) for z in found.logits[[0, -1]]]  # 2 log 3 / 3 and 3 log 3 / 2
        [0.7324, 1.6479]

    Reference:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999; van der Laan, Polley and Hubbard, "Super
        Learner", 2007.
    """
    make, check = _maker(calibrator, from_logits), LogitsCheck("crossfit")
    if make().from_logits:
        check.see(logits)
    if not isinstance(logits, np.ndarray) or logits.dtype.kind not in "biuf":
        logits = keras.ops.convert_to_numpy(as_tensor("logits", logits))
    if logits.ndim > 2:
        raise ValueError(
            f"Expected `logits` of shape [N, K], [N, 1] or [N]. Received: {logits.shape}. For sequences, flatten them "
            "with their labels and weights, and give each token its sequence as `groups`."
        )
    labels, examples, weight = flat_arrays(logits, labels, sample_weight)
    strata = np.round(labels).astype(int) if labels.ndim == 1 else labels.argmax(axis=1)
    folds = _folds(strata, weight != 0, folds, seed, groups)
    parts = np.unique(folds)
    _warn_of_few(strata[weight != 0], len(parts))
    progress = (lambda done, fits: None) if progress is None else checked_function("progress", progress)
    progress(0, len(parts) + 1)
    out, calibrators = np.empty(examples.shape, "float32"), []
    shared = {}
    final = _fitted(make, check, labels, examples, weight, shared)
    for done, fold in enumerate(parts, 1):
        progress(done, len(parts) + 1)
        inside = folds == fold
        # a weight of 0 leaves the fold out, without a copy of the others
        fitted = _fitted(make, check, labels, examples, np.where(inside, 0, weight), shared)
        for rows in np.array_split(np.flatnonzero(inside), 1 + inside.sum() * examples[0].size // _BLOCK):
            out[rows] = keras.ops.convert_to_numpy(fitted(examples[rows]))
        calibrators.append(fitted)
    progress(len(parts) + 1, len(parts) + 1)
    return CrossFit(out.reshape(logits.shape), final, folds, calibrators)


def _fitted(make, check, labels, examples, weight, shared):
    """A calibrator that does not say again what `crossfit` said of its predictions."""
    calibrator = make()
    calibrator.took_probabilities = calibrator.logits_check.done = check.found
    return calibrator.fit_flat(labels, examples, weight, shared)


def _maker(calibrator, from_logits):
    """A function that makes a fresh calibrator."""
    kind = calibrator if inspect.isclass(calibrator) else type(calibrator)
    if not issubclass(kind, Calibrator):
        raise ValueError(
            "Expected a calibrator of keras_ls.calibrators, or its class, such as TemperatureScaling(). "
            f"Received: {calibrator!r}."
        )
    config = {} if kind is calibrator else calibrator.get_config()
    if from_logits is not None:
        config["from_logits"] = checked_flag("from_logits", from_logits)
    return lambda: kind.from_config(config)


def _folds(strata, kept, folds, seed, groups):
    """The fold of each example; those that do not count change nothing for the others."""
    if np.ndim(folds):
        return _given(np.asarray(folds), kept)
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    folds = checked_count("folds", folds, minimum=2)
    positions = np.flatnonzero(kept)
    units = positions if groups is None else _checked_groups(groups, kept)[kept]
    if len(np.unique(units)) < folds:
        raise ValueError(
            f"Expected at least as many {'examples' if groups is None else 'groups'} that count as folds: {folds}. "
            f"Received: {len(np.unique(units))}. Use fewer `folds`."
        )
    # scikit-learn stratifies no classes that are all smaller than the number of folds
    stratified = StratifiedKFold if np.bincount(strata[kept]).max() >= folds else KFold
    splitter = (stratified if groups is None else GroupKFold)(folds, shuffle=True, random_state=seed)
    found = np.arange(len(kept)) % folds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few examples: said by `_warn_of_few`, with the classes
        for fold, (_, inside) in enumerate(splitter.split(positions, strata[kept], units)):
            found[positions[inside]] = fold
    if groups is not None:  # an example that does not count goes with its group
        fold_of = dict(zip(units.tolist(), found[kept]))
        found = np.array([fold_of.get(group, fold) for group, fold in zip(np.asarray(groups).tolist(), found)])
    return found


def _warn_of_few(strata, folds):
    sizes = np.bincount(strata)
    few = np.flatnonzero((sizes > 0) & (sizes < folds))
    if len(few):
        warnings.warn(
            f"Fewer examples than the {folds} folds are of class {', '.join(map(str, few[:10]))}"
            f"{' and others' if len(few) > 10 else ''}: the fits know different shares of it, or nothing. "
            "Use fewer `folds`, or more data.",
            stacklevel=3,
        )


def _given(folds, kept):
    if folds.shape != kept.shape or folds.dtype.kind not in "iu":
        raise ValueError(
            f"Expected `folds` as a number, or one integer an example: {kept.shape}. "
            f"Received: {folds.dtype} of shape {folds.shape}."
        )
    if len(np.unique(folds[kept])) < 2:
        raise ValueError("Expected at least 2 `folds` with examples that count. Received: 1. Each fit needs another.")
    return folds


def _checked_groups(groups, kept):
    groups = np.asarray(groups)
    if groups.shape != kept.shape:
        raise ValueError(f"Expected `groups` of shape {kept.shape}, one an example. Received: {groups.shape}.")
    return groups
