"""From the options of `verify train` to a run, and from what it says to a terminal."""

from __future__ import annotations

import os
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_json, print_table
from verify.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from verify.training.course import Progress
    from verify.training.recipe import Recipe

ADAPTER_ONLY = ("model", "name", "models_dir")


def run(*, as_json: bool, options: Mapping[str, Any]) -> None:
    """Train, showing where it is; print what came out."""
    recipe = recipe_of(options)
    with _extra():
        from verify.training.loop import train
    run_dir = options["output"] or Path("runs") / recipe.name
    with _interruptible(run_dir), _shown(quiet=as_json) as on_progress:
        result = train(
            recipe,
            run_dir=run_dir,
            device=options["device"],
            on_progress=on_progress,
            resume=options["resume"],
        )
    if not is_main():
        return
    if as_json:
        print_json(result)
        return
    columns = ("", "EER", "FNMR at FMR 1e-2", "at 1e-3", "Recall@1")
    rows = [
        (name, *_rates(values))
        for name, values in (
            ("first weights", result.untrained),
            (f"best, step {result.best_step}", result.best),
        )
    ]
    best = result.best
    print_table(columns, rows, title=f"{best['subjects']} unseen subjects, {best['samples']} samples")
    click.echo(
        f"{result.run_dir / 'checkpoints' / 'best'}: `verify export {result.run_dir} -o BUNDLE` makes it a model"
    )


def _rates(values: Mapping[str, Any]) -> tuple[str, ...]:
    """EER, both FNMRs and Recall@1; an FNMR at a rate that so few pairs cannot show is left out."""
    from verify.training.validation import shows

    keys = {"eer": 1.0, "fnmr_at_fmr_1e_2": 1e-2, "fnmr_at_fmr_1e_3": 1e-3, "recall_at_1": 1.0}
    pairs = values["non_mated"]
    return tuple(
        f"{100 * values[key]:.2f} %" if shows(pairs, fmr=fmr) else f"{pairs} pairs: too few"
        for key, fmr in keys.items()
    )


def dry_run(*, as_json: bool, options: Mapping[str, Any]) -> None:
    """Print what the run would be."""
    recipe = recipe_of(options)
    with _extra():
        from verify.training.estimate import estimate
    found = estimate(recipe)
    if as_json:
        print_json(found)
        return
    print_table(("", ""), found.rows(), title=f"{recipe.name}: nothing was trained")


def recipe_of(options: Mapping[str, Any]) -> Recipe:
    """The recipe that the options name, with their changes.

    Raises:
        UsageError: no recipe, more than one, or options that do not go together.
    """
    from verify.training.recipe import read_recipe, replaced

    for key in ADAPTER_ONLY:
        if options[key]:
            msg = f"--{'as' if key == 'name' else key.replace('_', '-')} goes with --adapter only"
            raise click.UsageError(msg)
    if len(options["sources"]) != 1:
        msg = "name one recipe, for example configs/face_mobilefacenet_arcface.toml"
        raise click.UsageError(msg)
    if options["sources"][0].is_dir():
        msg = f"{options['sources'][0]} is a folder: training takes a recipe and --data; --adapter KIND takes people"
        raise click.UsageError(msg)
    changes: dict[str, Any] = dict(_change(text) for text in options["changes"])
    if len(options["data"]) != len(options["split"]):
        msg = f"{len(options['data'])} --data and {len(options['split'])} --split: each prepared set needs its split"
        raise click.UsageError(msg)
    if options["data"]:
        pairs = zip(options["data"], options["split"], strict=True)
        changes["data.sets"] = [{"prepared": str(data), "split": str(split)} for data, split in pairs]
    recipe = read_recipe(options["sources"][0])
    return replaced(recipe, changes) if changes else recipe


def is_main() -> bool:
    """Whether this process is the one that talks (torchrun starts several)."""
    return os.environ.get("RANK", "0") == "0"


def _change(text: str) -> tuple[str, Any]:
    """``schedule.epochs=2`` to key and value, the value as in TOML; what is no TOML is text."""
    key, sign, value = text.partition("=")
    if not sign:
        msg = f"--set {text}: write KEY=VALUE, for example --set schedule.epochs=2"
        raise click.UsageError(msg)
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


@contextmanager
def _extra() -> Iterator[None]:
    """Name the way out when the training extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "verify":
            raise
        msg = f"training needs {error.name}, which is not installed: pip install '.[train]' in verify's source folder"
        raise MissingExtraError(msg) from error


@contextmanager
def _interruptible(run_dir: Path) -> Iterator[None]:
    """Say how to go on after Ctrl-C: the command as it was is refused where a run is."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = any(run_dir.glob("checkpoints/*/state.json"))
        how = (
            "the same command with --resume goes on" if kept else "no checkpoint was due yet: start it again"
        )
        msg = f"interrupted: {how}"
        raise KeyboardInterrupt(msg) from stop


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal, lines elsewhere, all on stderr; nothing when `quiet`."""
    if quiet or not is_main():
        yield lambda progress: None  # noqa: ARG005
        return
    if not sys.stderr.isatty():
        yield lambda progress: click.echo(progress.message, err=True) if progress.message else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    facts = TextColumn(
        "epoch {task.fields[epoch]} loss {task.fields[loss]} {task.fields[speed]}{task.fields[memory]}"
    )
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), facts, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, epoch="", loss="", speed="", memory="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.step, total=progress.steps, **_fields(progress))
            if progress.message:
                console.print(progress.message, highlight=False, markup=False)

        yield show


def _fields(progress: Progress) -> dict[str, Any]:
    return {
        "epoch": f"{progress.epoch}/{progress.epochs}",
        "loss": f"{progress.loss:.3f}",
        "speed": f"{progress.samples_per_s:.0f} samples/s",
        "memory": f" {progress.memory_gib:.1f} GiB" if progress.memory_gib else "",
    }
