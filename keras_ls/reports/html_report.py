"""One self-contained HTML page of all results in a directory."""

import base64
import html
import pathlib

from keras_ls.files import local_path, printable, write_beside
from keras_ls.ops._types import PathLike
from keras_ls.reports.figures import png
from keras_ls.reports.result import StudyResult

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1.5rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd; }
figure { margin: 1.5rem 0; } img { max-width: 100%; } .scroll { overflow-x: auto; }
.note, figcaption, footer { color: #555; font-size: .9rem; } .yes { color: #1a6b34; } .no { color: #9c3a00; }
code { overflow-wrap: anywhere; }
"""

# of the paper's tables and figures, and what has a report of its own
ORDER = ("accuracy", "projection", "calibration", "distillation", "calibrate", "diagnose")

TITLE = "When does label smoothing help?"
ABOUT = (
    "Studies of Müller, Kornblith and Hinton (2019), run again, and of what came after. Every number is a mean ± 95 % "
    "interval over seeds; a direction counts as reproduced when the interval of the difference, seed by seed, lies on "
    "the paper's side of 0."
)


def read_results(directory: PathLike) -> dict[str, StudyResult]:
    """The results in a directory, by study name.

    Raises:
        ValueError: when there are none, or one cannot be read; the error names the file and the field.
    """
    directory = local_path("directory", directory)
    paths = [path for name in ORDER if (path := directory / f"{name}.json").exists()]
    if not paths:
        raise ValueError(
            f"Expected a directory that keras-ls wrote results to. Received: {printable(directory)}, without any of "
            f"{', '.join(f'{name}.json' for name in ORDER)}."
        )
    results = {}
    for path in paths:
        result = StudyResult.load(path)
        if result.study != path.stem:
            raise ValueError(
                f"Expected the result of the study {path.stem} in {printable(path)}. Received: that of {result.study}. "
                "Name the file after its study."
            )
        results[result.study] = result
    return results


def write_report(results: dict[str, StudyResult], directory: PathLike) -> pathlib.Path:
    """Writes `directory/report.html`.

    Args:
        results: study name → `StudyResult`, as `read_results` returns them.
        directory: where to.

    Returns:
        The path.
    """
    first = next(iter(results.values()))
    title, about = first.title or TITLE, first.about or ABOUT
    sections = "".join(_section(result) for result in results.values())
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1><p>{html.escape(about)}</p>{sections}"
        "</body></html>"
    )
    path = local_path("directory", directory) / "report.html"
    write_beside(path, lambda p: p.write_text(page, encoding="utf-8"))
    return path


def _section(result):
    tables = "".join(_table(table.title, table.columns, table.rows, table.note) for table in result.tables)
    figures = "".join(
        f'<figure><img alt="{html.escape(figure.name)}" '
        f'src="data:image/png;base64,{base64.b64encode(png(figure)).decode()}">'
        f"<figcaption><b>How to read it.</b> {html.escape(figure.reading)}</figcaption></figure>"
        for figure in result.figures
    )
    facts = result.provenance
    warning = f'<p class="no"><b>{html.escape(result.warning)}</b></p>' if result.warning else ""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    data = ", ".join(f"{name} {fingerprint[:12]}" for name, fingerprint in facts["data"].items())
    seeds = ", ".join(map(str, facts["seeds"]))
    return (
        f"<section><h2>{html.escape(result.study.capitalize())}</h2>{warning}{figures}{tables}{_directions(result)}"
        f"<footer>Command: <code>{html.escape(facts['command'])}</code>. Seeds: {seeds}. "
        f"Data (SHA-256): {html.escape(data)}. Versions: {html.escape(versions)}.</footer></section>"
    )


def _table(title, columns, rows, note):
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table></div>'
        f'<p class="note">{html.escape(note)}</p>'
    )


def _directions(result):
    if not result.directions:
        return ""
    shown = ("reproduced", "shown")
    rows = "".join(
        f"<tr><td>{html.escape(d['claim'])}</td><td>{html.escape(d['paper'])}</td>"
        f"<td>{html.escape(d['difference'])}</td>"
        f'<td class="{"yes" if d["verdict"] in shown else "no"}">{html.escape(d["verdict"])}</td></tr>'
        for d in result.directions
    )
    head = "<th>claim</th><th>paper</th><th>difference here</th><th>verdict</th>"
    return f'<div class="scroll"><table><caption>Directions</caption><tr>{head}</tr>{rows}</table></div>'
