"""What ``verify export`` runs and prints."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import model_argument, print_json, print_table
from verify.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from verify.training.agreement import Agreement
    from verify.training.export import Exported


def run_export(
    *,
    run: Path,
    output: Path,
    int8: bool,
    fp16: bool,
    data: Sequence[Path],
    split: Sequence[Path],
    as_json: bool,
    **options: Any,
) -> None:
    """Export and say what came out.

    Raises:
        click.UsageError: options that do not go together.
    """
    from verify.training.recipe import SetSection

    if int8 and fp16:
        msg = "--int8 and --fp16 exclude each other: export twice, into two folders"
        raise click.UsageError(msg)
    if options["ranges_from"] is not None and not int8:
        msg = "--calibration-data sets the ranges of --int8; give both or neither"
        raise click.UsageError(msg)
    if len(data) != len(split):
        msg = f"{len(data)} --data and {len(split)} --split: each prepared set needs its split"
        raise click.UsageError(msg)
    sets = tuple(SetSection(prepared=str(d), split=str(s)) for d, s in zip(data, split, strict=True))
    precision = "int8" if int8 else "fp16" if fp16 else "fp32"
    try:
        from verify.training.export import ExportOptions, export_run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "verify":
            raise
        msg = f"exporting needs {error.name}, which is not installed: pip install '.[train]' in verify's source folder"
        raise MissingExtraError(msg) from error
    done = export_run(run, output, options=ExportOptions(precision=precision, sets=sets, **options))
    if as_json:
        print_json(done)
    else:
        _print(done)


def _print(done: Exported) -> None:
    click.secho(
        f"{done.path}: {done.name}, model_id {done.model_id[:12]}, {done.precision}, {done.size / 1e6:.1f} MB",
        bold=True,
    )
    for title, found in (
        ("graph beside torch", done.agreement),
        (f"{done.precision} beside fp32", done.loss),
    ):
        if found is not None:
            _print_agreement(title, found)
    for sentence in done.beyond:
        click.secho(f"  LOSS, accepted with --allow-loss: {sentence}", err=True, fg="yellow")
    model = model_argument(done.path)
    splits = "".join(f" --split {shlex.quote(str(split))}" for split in done.splits)
    people = "PEOPLE " * max(1, len(done.splits))
    click.echo(
        f"next: verify calibrate {people}--model {model}{splits} --install gives it operating points, from people it "
        f"was not trained on;\nverify gallery reindex --model {model} brings a gallery over"
    )


def _print_agreement(title: str, found: Agreement) -> None:
    head = (
        f"{title}: {found.samples} samples of {found.subjects} people it has not seen, cosines differ by at most "
        f"{found.difference:.2g}, EER {found.eer:.2%} and {found.eer_converted:.2%}"
    )
    if not found.decisions:
        click.echo(f"  {head}; too few pairs to compare decisions at FMR 1e-2")
        return
    rows = [
        (
            f"{one.target_fmr:g}",
            f"{one.mated_differing} of {found.mated}",
            f"{one.non_mated_differing} of {found.non_mated}",
            f"{one.fnmr:.2%}",
            f"{one.fnmr_converted:.2%}",
            f"{one.fnmr_own:.2%}",
        )
        for one in found.decisions
    ]
    columns = (
        "FMR",
        "mated decided differently",
        "non-mated",
        "FNMR before",
        "after",
        "at its own threshold",
    )
    click.echo(f"  {head}")
    print_table(columns, rows)
