"""``verify calibrate``: from a folder of people to a threshold with a proven error rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verify.cli.calibration_files import file_options
from verify.cli.calibration_options import PATH, method_options
from verify.cli.output import json_option

if TYPE_CHECKING:
    from pathlib import Path

EXIT_FAILED, EXIT_INSUFFICIENT = 1, 4


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
    over all people like these.

    A score file has the columns score,mated,subject_a,subject_b[,sample_a,sample_b]; a text column X is
    a group that both sides share, X_a and X_b are the groups of the two sides where they may differ,
    number columns M_a and M_b are a quality measure of the two sides.

    Exit codes: 0 every target is supported and held, 1 the test subjects exceeded a target (its point
    is left out of the file: see --keep-failed), 4 the data cannot support a target, or --extrapolate did
    without trials; all others are written.

    Templates of the captures are kept in a cache file that only you can read: see --no-cache.

    Example: verify calibrate people/ --model face --target-fmr 1e-3

    Example: verify calibrate --scores rival.csv --target-fmr 1e-2 -o rival.json
    """
    from verify.cli.calibration import payload, show
    from verify.cli.calibration_run import run
    from verify.cli.output import print_json

    done = run(data, options, quiet=as_json)
    if as_json:
        print_json(payload(done))
    else:
        show(done)
    words = {verdict["verdict"] for verdict in done.facts["verdicts"]}
    return EXIT_FAILED if "FAIL" in words else EXIT_INSUFFICIENT if "INSUFFICIENT DATA" in words else 0
