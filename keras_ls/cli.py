"""The command line, `keras-ls`."""

import contextlib
import hashlib
import os
import pathlib
import sys
import time
import warnings
from typing import Annotated

import typer
import typer.core
from rich.console import Console
from rich.table import Table
from rich.text import Text

import keras_ls as kls
from keras_ls.files import check_writable, one_writer, printable, remove_unfinished
from keras_ls.ops._checks import checked_choice, checked_count
from keras_ls.studies.engine.store import FOLDERS
from keras_ls.studies.engine.study import LARGEST_SEED, MOST_BINS, MOST_FOLDS, MOST_RESAMPLES, MOST_SEEDS
from keras_ls.terminal import (
    AS_IT_IS,
    StepLines,
    console,
    print_line,
    print_result,
    printed_warnings,
    progress_bar,
    train_missing,
)
from keras_ls_launcher import stopped


class _Commands(typer.core.TyperGroup):
    """Ends with one sentence where somebody stops a command."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            Console(stderr=True, **AS_IT_IS).print(stopped(ctx.invoked_subcommand), highlight=False)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Studies of label smoothing, calibration and distillation.",
)

Names = Annotated[
    list[str], typer.Argument(metavar="STUDY...", help="One or more studies; `keras-ls list` names them.")
]
Size = Annotated[str, typer.Option(help="How much: tiny, small or paper; `keras-ls list` says what a study has.")]
Dataset = Annotated[
    str | None, typer.Option(help="Another dataset than the study's own: a name, or module:function of yours.")
]
Seeds = Annotated[int | None, typer.Option(help="How many seeds, from 0; the study's own number by default.")]
Classes = Annotated[
    list[str] | None, typer.Option(help="Three class names for the projection, such as 3,8,9; once for each row.")
]
Strategy = Annotated[str, typer.Option(help="Where to train: auto, one, mirrored, multi_worker or tpu.")]
Out = Annotated[pathlib.Path | None, typer.Option(help="Directory of results; runs/SIZE by default.")]
Directory = Annotated[pathlib.Path, typer.Argument(metavar="DIR", help="A directory that keras-ls wrote results to.")]


def main():
    """Entry point: bad input ends with one sentence and exit code 2, without a traceback."""
    sys.path.append(os.getcwd())  # of `--dataset module:function`
    try:
        app()
    except (ValueError, OSError) as error:
        message = Text.assemble(("Error:", "bold red"), f" {printable(error)}")
        Console(stderr=True, soft_wrap=True, **AS_IT_IS).print(message, highlight=False)
        sys.exit(2)


@app.command("list")
def list_studies():
    """Lists the studies, sizes and datasets."""
    table = Table("study", "sizes", "what it shows", title="Studies", title_justify="left")
    for name, study in kls.studies.STUDIES.items():
        table.add_row(name, ", ".join(study.sizes), study.about)
    console.print(table)
    console.print("Sizes: " + "; ".join(f"{size} ({about})" for size, about in kls.studies.SIZES.items()))
    console.print(f"Datasets: {', '.join(kls.data.DATASETS)}; or module:function of yours")


@app.command()
def run(
    names: Names,
    size: Size = "tiny",
    dataset: Dataset = None,
    seeds: Seeds = None,
    classes: Classes = None,
    strategy: Strategy = "auto",
    out: Out = None,
):
    """Runs studies: trains what is missing, prints the tables, and writes JSON, figures, models and a report."""
    started = time.monotonic()
    checked_choice("size", size, kls.studies.SIZES)
    settings = {"size": size}
    if dataset is not None:
        settings["dataset"] = dataset
    if seeds is not None:
        settings["seeds"] = tuple(range(checked_count("seeds", seeds, maximum=MOST_SEEDS)))
    if classes and "projection" not in names:
        raise ValueError(f"Expected `--classes` together with the study projection. Received: {', '.join(names)}.")
    chosen = []
    for name in names:
        study = kls.studies.STUDIES[checked_choice("study", name, kls.studies.STUDIES)]
        rows = (
            {"classes": tuple(tuple(triple.split(",")) for triple in classes)}
            if classes and name == "projection"
            else {}
        )
        chosen.append(study(**settings, **rows))
    checked_choice("strategy", strategy, kls.distribute.STRATEGIES)
    scope = kls.distribute.strategy(strategy)
    out = (out or pathlib.Path("runs") / size).expanduser()
    check_writable(out, [*(f"{study.name}.json" for study in chosen), "report.html"])
    with _only_writer(out, scope):
        store = kls.studies.Store(out, scope)
        train_missing(chosen, store)
        for study in chosen:
            result = study.summarise(store)
            result.save(out / f"{study.name}.json")
            kls.studies.save_figures(result, out)
            print_result(result)
        with printed_warnings():
            results = kls.studies.read_results(out)
        path = kls.studies.write_report(results, out)
    print_line(f"Done in {time.monotonic() - started:.0f} s. Open ", (path, "bold"), " in a browser.")


@contextlib.contextmanager
def _only_writer(out, strategy):
    """Holds the directory, and removes what killed runs have left there; the workers of one training share theirs."""
    if isinstance(strategy, kls.distribute.MultiWorkerStrategy):
        yield
        return
    with one_writer(out):
        for folder in (out, *(out / name for name in FOLDERS)):
            remove_unfinished(folder)
        yield


@app.command()
def report(directory: Directory):
    """Draws figures and report again from the JSON in DIR."""
    directory = directory.expanduser()
    with printed_warnings():
        results = kls.studies.read_results(directory)
    for result in results.values():
        print_result(result)
    try:
        check_writable(directory, [f"{figure.name}.png" for r in results.values() for figure in r.figures])
        check_writable(directory, ["report.html"])
    except OSError as error:
        print_line(f"Nothing was drawn. {error}")
        return
    for result in results.values():
        kls.studies.save_figures(result, directory)
    print_line("Open ", (kls.studies.write_report(results, directory), "bold"), " in a browser.")


@app.command()
def export(
    directory: Directory,
    to: Annotated[pathlib.Path, typer.Option(help="Directory of the SavedModels.")] = pathlib.Path("saved_models"),
):
    """Writes the calibrated networks of the calibration study in DIR as SavedModels, with their provenance."""
    directory, to = directory.expanduser(), to.expanduser()
    check_writable(to)
    with printed_warnings():
        paths = kls.studies.export_models(directory, to)
    for path in paths:
        print_line("Wrote ", (path, "bold"), f" and {path.with_suffix('.json')}")


@app.command()
def calibrate(
    file: Annotated[
        pathlib.Path, typer.Argument(metavar="PREDICTIONS", help="Labels and predictions: .npz, .csv or .parquet.")
    ],
    from_logits: Annotated[
        bool | None, typer.Option("--logits/--probabilities", help="What the predictions are; required.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Name of the array or column of labels.")] = None,
    predictions: Annotated[
        str | None,
        typer.Option(help="Name of the array or column of predictions; of class columns also several, or 'p_*'."),
    ] = None,
    sample_weight: Annotated[str | None, typer.Option(help="Name of the array or column of weights.")] = None,
    calibrator: Annotated[
        list[str] | None,
        typer.Option(help="One to compare, and to save if it is the only one; all that suit the data by default."),
    ] = None,
    ignore_class: Annotated[int | None, typer.Option(help="Label of examples that do not count.")] = None,
    folds: Annotated[int, typer.Option(help="Parts of the cross-fit.")] = 5,
    num_bins: Annotated[int, typer.Option(help="Bins of the calibration errors.")] = 15,
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap.")] = 200,
    seed: Annotated[int, typer.Option(help="Of folds and bootstrap.")] = 0,
    out: Annotated[pathlib.Path | None, typer.Option(help="Directory of results; runs/calibrate by default.")] = None,
    save: Annotated[
        pathlib.Path | None, typer.Option(help="Directory for the best calibrator: a SavedModel, and JSON.")
    ] = None,
):
    """Compares calibrators on predictions of any framework, cross-fitted: table, reliability diagrams, report."""
    if from_logits is None:
        raise ValueError("Expected `--logits` or `--probabilities`: what the predictions are is never guessed.")
    checked_count("folds", folds, 2, MOST_FOLDS)
    checked_count("num_bins", num_bins, maximum=MOST_BINS)
    checked_count("resamples", resamples, maximum=MOST_RESAMPLES)
    checked_count("seed", seed, 0, LARGEST_SEED)
    file, out = file.expanduser(), (out or pathlib.Path("runs/calibrate")).expanduser()
    name = printable(file.name)
    check_writable(out, ["calibrate.json", "calibrate.png", "report.html"])
    if save is not None:
        save = save.expanduser()
        check_writable(save, ["calibrator.json"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        read = kls.data.read_predictions(file, from_logits, labels, predictions, sample_weight, ignore_class)
        logits = kls.studies.logits_of(read.predictions, from_logits)
    found, messages_of = {}, {name: dict.fromkeys(str(warning.message) for warning in caught)}
    study = kls.studies.Recalibration(
        labels=read.labels,
        logits=logits,
        sample_weight=read.sample_weight,
        source=name,
        folds=folds,
        num_bins=num_bins,
        num_resamples=resamples,
        seed=seed,
        names=tuple(calibrator) if calibrator else None,
    )
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar:
        task = bar.add_task("", total=len(study.steps), study="calibrate")
        lines = StepLines("calibrate", len(study.steps))
        for i, step in enumerate(study.steps):

            def progress(share, what, i=i, step=step):
                bar.update(task, completed=i + share, description=f"{step}: {what}")
                lines.line(i, step, what)

            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                found[step] = study.step(step, progress=progress)
            messages_of[step] = dict.fromkeys(str(warning.message) for warning in caught)
        bar.update(task, completed=len(study.steps), description="done")
    result = kls.studies.compare(study, found, {name: hashlib.sha256(file.read_bytes()).hexdigest()})
    _finish(result, out)
    for of, messages in messages_of.items():
        for message in messages:
            print_line((f"{of}:", "yellow"), f" {message}")
    if save is not None:
        for path in kls.studies.save_calibrator(study, found, save, from_logits, read.class_names, result.provenance):
            print_line("Wrote ", (path, "bold"))


@app.command()
def diagnose(
    file: Annotated[pathlib.Path, typer.Argument(metavar="TEACHER", help="A saved Keras model, teacher.keras.")],
    dataset: Annotated[
        str,
        typer.Option(help="What it was trained on: a name that `keras-ls list` shows, or module:function."),
    ],
    part: Annotated[str, typer.Option(help="Held-out part: calibration or test; train for none.")] = "test",
    from_logits: Annotated[bool, typer.Option("--logits/--probabilities", help="What the teacher returns.")] = True,
    temperatures: Annotated[str, typer.Option(help="Of which γ is told, such as 1,2,4.")] = ",".join(
        f"{t:g}" for t in kls.studies.diagnosis.TEMPERATURES
    ),
    num_bins: Annotated[int, typer.Option(help="Bins of the calibration errors.")] = 15,
    examples: Annotated[int, typer.Option(help="At most so many of each part.")] = kls.studies.diagnosis.EXAMPLES,
    out: Annotated[pathlib.Path | None, typer.Option(help="Directory of results; runs/diagnose by default.")] = None,
):
    """Looks at a teacher before it teaches: is it smoothed, is it calibrated, at which temperature should it teach."""
    kls.data.load(dataset)
    try:
        at = tuple(float(t) for t in temperatures.split(","))
    except ValueError:
        raise ValueError(f"Expected `--temperatures` as numbers, such as 1,2,4. Received: {temperatures!r}.") from None
    checked_count("num_bins", num_bins, maximum=MOST_BINS)
    file, out = file.expanduser(), (out or pathlib.Path("runs/diagnose")).expanduser()
    check_writable(out, ["diagnose.json", "report.html"])
    name = printable(file.name)
    settings = dict(part=part, temperatures=at, num_bins=num_bins, examples=examples, from_logits=from_logits)
    with console.status(Text(f"Looking at what {name} says of {dataset}")):
        found = kls.studies.diagnose(kls.studies.load_teacher(file), dataset, **settings)
    hashed = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    result = kls.studies.report_of(found, dataset, name, hashed, {"dataset": dataset, **settings})
    _finish(result, out)


def _finish(result, out):
    """Writes JSON, figures and report of a result, and prints it."""
    out.mkdir(parents=True, exist_ok=True)
    result.save(out / f"{result.study}.json")
    kls.studies.save_figures(result, out)
    print_result(result)
    path = kls.studies.write_report({result.study: result}, out)
    print_line("Open ", (path, "bold"), " in a browser.")


if __name__ == "__main__":
    main()
