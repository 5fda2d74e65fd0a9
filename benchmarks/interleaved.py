"""Candidates timed in turn, in one process and one run: only their ratios mean anything on a shared machine."""

import statistics
import time

from rich.console import Console
from rich.table import Table

console = Console(width=100)


def medians(candidates, repeats, middle=statistics.median):
    """The median seconds of each candidate: `repeats` rounds of all of them, after one round that does not count.

    `middle=min` takes the least, where other work on the machine would decide a difference of a few percent.
    """
    seconds = {name: [] for name in candidates}
    for i in range(repeats + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return {name: middle(values) for name, values in seconds.items()}


def show(title, rows, ours):
    """Prints `{case: {candidate: seconds}}`, each with its ratio to `ours`: above 1, ours is faster."""
    table = Table("case", "candidate", "median", "theirs / ours", title=title, title_justify="left")
    for case, seconds in rows.items():
        for name, value in seconds.items():
            table.add_row(case, name, f"{1e3 * value:.2f} ms", f"{value / seconds[ours]:.2f}")
            case = ""
    console.print(table)
