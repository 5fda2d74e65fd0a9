"""Names that labels, predictions and weights usually have in a file, and the choice among them."""

from keras_ls.ops._checks import checked_choice

LABELS = ("labels", "label", "y_true", "targets", "target", "ground_truth", "y")
PREDICTIONS = ("predictions", "y_pred", "outputs", "scores", "probs", "y_prob")
WEIGHTS = ("sample_weight", "sample_weights", "weights", "weight")
FLAGS = {True: "logits", False: "probabilities"}
SHOWN, LONGEST = 10, 60  # names in a message, and characters of one


def chosen(what, asked, usual, names, path, others=None, held=None):
    """The name that is `asked` for, or the only `usual` one in the file, or else the only one of `others`.

    Args:
        what: `labels`, `predictions` or `sample_weight`.
        asked: what the user says, or None.
        usual: names to look for.
        names: what the file holds.
        path: the file, for messages.
        others: names that could be meant where none is usual; None where there need not be any.
        held: what to say of each name; None says nothing.

    Raises:
        ValueError: for a name that is not there, or where it is not clear which is meant.
    """
    if asked is not None:
        return checked_choice(what, asked, names)
    found = [name for name in usual if name in names]
    if not found and others is None:
        return None
    found = found or others
    if len(found) != 1:
        shown = few(f"{name} {(held or {}).get(name, '')}".strip() for name in names)
        option = f"--{what.replace('_', '-')}"
        raise ValueError(
            f"Expected one usual name of `{what}` ({', '.join(usual)}), or `{option} NAME`. Received: "
            f"{shown or 'nothing'} in {path}."
        )
    return found[0]


def few(names):
    """The first of many names, each in the room that a message has."""
    names = [str(name) for name in names]
    shown = [name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in names[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
