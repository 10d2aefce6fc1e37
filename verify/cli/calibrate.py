"""``verify calibrate``: from a folder of people to a threshold with a proven false-match rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option, print_json, progress

LAYOUTS = ("subject-folders", "file-per-subject", "csv")
EXIT_INSUFFICIENT = 4
TARGET_HELP = "False-match rate to hold (default 1e-3); several times for a ladder."
PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data", nargs=-1, required=True, type=PATH)
@click.option("--model", required=True, help="Bundle: face, voice, another name, or a path.")
@click.option("--target-fmr", "targets", type=float, multiple=True, default=(1e-3,), help=TARGET_HELP)
@click.option("--layout", type=click.Choice(LAYOUTS), help="How DATA is laid out; guessed if not given.")
@click.option("--seed", default=0, show_default=True, help="Of the split and of sampled trials.")
@click.option("--confidence", default=0.95, show_default=True, help="Of the one-sided bounds.")
@click.option("--max-samples-per-subject", type=click.IntRange(1), help="Use at most so many files of each.")
@click.option(
    "--trials", default="auto", help="Non-mated pairs of each half: all, N to sample, auto (20 million)."
)
@click.option("--workers", type=click.IntRange(1), help="Captures under way at once; default: one a CPU.")
@click.option("--cache", type=PATH, help="Embedding cache file; default: in the platform's cache folder.")
@click.option("--no-cache", is_flag=True, help="Keep no templates on disk; an interrupted run starts over.")
@click.option("--models-dir", type=PATH, help="Folder of model bundles; default: VERIFY_MODELS.")
@click.option(
    "-o", "--output", type=PATH, default="operating_points.json", show_default=True, help="Where to write."
)
@click.option("--force", is_flag=True, help="Replace an existing output file.")
@click.option("--install", is_flag=True, help="Replace the model's own operating points instead.")
@json_option
def calibrate(
    *,
    model: str,
    models_dir: Path | None,
    output: Path,
    force: bool,
    install: bool,
    as_json: bool,
    no_cache: bool,
    **options: Any,
) -> int:
    """Choose and prove a threshold for a target rate on your own data.

    DATA is a folder with one sub-folder a subject, a flat folder with one file a subject, or a CSV
    with the columns subject,path. Several DATA are separate sets: no trial is made across them. Half
    of the subjects choose the threshold, the other half measure it; who is in which half
    depends on the seed and the subject id alone. Exit code 4: the data cannot support a target.

    Templates of the captures are kept in a cache file that only you can read: see --no-cache.
    """
    from verify.capture import Capturer
    from verify.cli.calibration import payload, show
    from verify.evaluation.job import run_calibration
    from verify.models.operating_points import OPERATING_POINTS_FILE, write_operating_points

    if output.exists() and not (force or install):
        msg = f"{output} exists already: name another file with -o, or give --force"
        raise click.UsageError(msg)
    capturer = Capturer.open(model, models_dir=models_dir)
    if install and capturer.bundle.is_zipped:
        msg = f"{model} is a zip, which --install cannot write into: unpack it, or write a file with -o"
        raise click.UsageError(msg)
    job = run_calibration(
        capturer,
        keep_cache=not no_cache,
        progress=lambda captures, total: progress(captures, total=total, label="capturing", quiet=as_json),
        **options,
    )
    target = capturer.bundle.path / OPERATING_POINTS_FILE if install else output
    points = job.calibration.points
    if points:
        write_operating_points(target, points)
    if as_json:
        print_json({"model_id": capturer.model_id, "written": target if points else None, **payload(job)})
    else:
        show(job, title=f"{capturer.bundle.name}, at {options['confidence']:.0%} confidence")
        click.echo(f"written to {target}" if points else "nothing written")
    for message in job.calibration.unsupported.values():
        click.echo(f"insufficient data: {message}", err=True)
    return EXIT_INSUFFICIENT if job.calibration.unsupported else 0
