"""What `keras-ls` shows in a terminal, or without one: lines, warnings, progress and tables."""

import contextlib
import sys
import time
import warnings

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from keras_ls.files import printable

AS_IT_IS = {"markup": False, "emoji": False}  # names, paths and cells come from files, and are no markup
LONGEST_NAME = 60  # characters
SECONDS_BETWEEN_LINES = 15

console = Console(width=None if sys.stdout.isatty() else 120, **AS_IT_IS)


def print_line(*parts):
    """Prints a line of texts and `(text, style)`, whatever the names and paths in it."""
    parts = ((printable(part[0]), part[1]) if isinstance(part, tuple) else printable(part) for part in parts)
    console.print(Text.assemble(*parts), soft_wrap=True, highlight=False)


@contextlib.contextmanager
def printed_warnings():
    """Prints each warning of what is done inside once, in a line of its own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning):
        print_line(("Warning:", "yellow"), f" {message}")


def progress_bar():
    """A `rich` progress bar; its tasks have the field `study`."""
    columns = [
        TextColumn("{task.fields[study]}", style="bold", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    ]
    return Progress(*columns, console=console)


class StepLines:
    """Progress where there is no terminal: a line at the start of each step, and one every 15 s within it.

    Args:
        study: what goes on.
        total: how many steps it has.
    """

    def __init__(self, study, total):
        self._study, self._total, self._step, self._last = study, total, None, 0.0

    def line(self, i, step, what):
        """Prints that step i, of this name, is at `what`, unless it is too early."""
        now = time.monotonic()
        if console.is_terminal or (step == self._step and now - self._last < SECONDS_BETWEEN_LINES):
            return
        self._step, self._last = step, now
        console.print(f"{self._study}: {i}/{self._total} {step}: {what}", soft_wrap=True, highlight=False)


def summary_of(study, store):
    """Does what a study still lacks, with its progress, and returns its `StudyResult`."""
    trainings = list(dict.fromkeys(study.trainings()))
    finished = 0
    with progress_bar() as bar:
        task = bar.add_task("", total=len(trainings), study=study.name)

        def progress(share):
            bar.update(task, completed=finished + share)

        for i, (training, done) in enumerate(study.run(store, progress)):
            finished = i
            bar.update(task, completed=i, description=("read " if done else "train ") + training.name)
            if not console.is_terminal and not done and i % 5 == 0:
                console.print(f"{study.name}: {i}/{len(trainings)} {training.name}", soft_wrap=True, highlight=False)
        bar.update(task, completed=len(trainings), description="done")
    return study.summarise(store)


def print_result(result):
    """Prints the tables and the directions of a `StudyResult`."""
    for table in result.tables:
        drawn = Table(*table.columns, title=table.title, title_justify="left")
        for row in table.rows:
            drawn.add_row(*row)
        for column, cells in zip(drawn.columns[:2], zip(*table.rows)):
            # names stay whole, intervals and sentences may break
            column.no_wrap = not any("±" in cell or len(cell) > LONGEST_NAME for cell in cells)
        console.print(drawn)
        if table.note:
            console.print(table.note, style="dim", highlight=False)
    if not result.directions:
        return
    directions = Table("claim", "paper", "difference here", "verdict", title="Directions", title_justify="left")
    for found in result.directions:
        color = "green" if found["verdict"] in ("reproduced", "shown") else "yellow"
        directions.add_row(found["claim"], found["paper"], found["difference"], Text(found["verdict"], style=color))
    console.print(directions)
