"""``verify calibrate``: from a folder of people to a threshold with a proven error rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verify.cli.calibration_files import file_options
from verify.cli.calibration_options import PATH, method_options
from verify.cli.output import json_option

if TYPE_CHECKING:
    from pathlib import Path

EXIT_INSUFFICIENT = 4


@click.command()
@click.argument("data", nargs=-1, type=PATH)
@method_options
@file_options
@json_option
def calibrate(*, data: tuple[Path, ...], as_json: bool, **options: Any) -> int:
    """Choose and prove a threshold for a target rate on your own data.

    DATA is a folder with one sub-folder a subject, a flat folder with one file a subject, or a CSV
    with the columns subject,path[,group...]. Several DATA are separate sets: no trial is made across
    them. With --scores no media and no model are needed. Half of the subjects choose the threshold,
    the other half measure it; who is in which half depends on the seed and the subject id alone.

    The threshold is chosen so that a bound, not the measured rate, meets the target: with the
    default --bound prediction what as many further people will show, with --bound population the rate
    over all people like these. Exit code 4: the data cannot support a target; all others are written.

    Templates of the captures are kept in a cache file that only you can read: see --no-cache.
    """
    from verify.cli.calibration import insufficient, payload, show
    from verify.cli.calibration_run import run
    from verify.cli.output import print_json

    done = run(data, options, quiet=as_json)
    if as_json:
        print_json(payload(done))
    else:
        show(done)
    for line in insufficient(done.job.calibration.unsupported):
        click.echo(line, err=True)
    return EXIT_INSUFFICIENT if done.job.calibration.unsupported else 0
