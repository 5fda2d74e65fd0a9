"""What `keras-ls` shows in a terminal, or without one: lines, warnings, progress and tables."""

import contextlib
import sys
import time
import warnings

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
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
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
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


def train_missing(studies, store):
    """Does what the studies still lack, with one bar for all of it, which tells the time left.

    Args:
        studies: `Study` objects.
        store: a `Store`.
    """
    missing = {t: study.name for study in reversed(studies) for t in study.trainings() if not store.has(t)}
    total, count = sum(training.work for training in missing), len(missing)
    started = last = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("", total=total or 1, study="training")
        done = work = numbered = 0

        def progress(share):
            bar.update(task, completed=done + share * work)

        for study in studies:
            for training, _ in study.run(store, progress):
                done, work = done + work, training.work if missing.pop(training, None) else 0
                if not work:
                    continue
                numbered += 1
                what = f"{numbered}/{count} {training.name}"
                bar.update(task, completed=done, description=what)
                now = time.monotonic()
                if not console.is_terminal and (numbered == 1 or now - last >= SECONDS_BETWEEN_LINES):
                    last = now
                    left = f", {_duration((now - started) * (total - done) / done)} left" if done else ""
                    console.print(f"{study.name}: {what}{left}", soft_wrap=True, highlight=False)
        bar.update(task, completed=total or 1, description="done")


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


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
