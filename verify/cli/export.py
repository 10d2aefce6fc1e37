"""``verify export``: a run becomes a model bundle, with the proof on its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder that becomes the bundle.")
@click.option(
    "--checkpoint", default="best", show_default=True, help="best, last, or a step such as step-001200."
)
@click.option("--as", "name", default="", help="Name of the bundle. [default: the folder's]")
@click.option("--int8", is_flag=True, help="Compute in 8-bit integers: a quarter of the size, and faster.")
@click.option(
    "--fp16", is_flag=True, help="Store weights in half precision: half the size, as fast as before."
)
@click.option(
    "--calibration-data",
    "ranges_from",
    type=PATH,
    help="Prepared set whose samples set the ranges of --int8. [default: the run's training part]",
)
@click.option(
    "--samples",
    type=click.IntRange(2, 10_000),
    default=1000,
    show_default=True,
    help="Samples of the validation part that the proof is made on.",
)
@click.option(
    "--allow-loss",
    is_flag=True,
    help="Export --int8 or --fp16 even if it decides differently beyond the limit.",
)
@click.option(
    "--data", type=PATH, multiple=True, help="Where the run's prepared set lies now; repeat for several."
)
@click.option("--split", type=PATH, multiple=True, help="Split file of each --data, in the same order.")
@click.option(
    "--licence", default="", help="Licence of the weights. [default: of those that training began from]"
)
@click.option("--description", default="", help="One line for `verify models list`.")
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@json_option
def export(*, as_json: bool, **options: Any) -> None:
    """Make a bundle of RUN: the encoder alone, its L2 norm in the graph, for ONNX Runtime.

    RUN is a folder of `verify train`. Projection and margin heads stay behind. The graph is run beside torch on
    people of the validation part: the largest difference of a cosine, and how many decisions differ, go on the card;
    where more than rounding differs nothing is written. A changed model has a new model_id: calibrate
    it (verify calibrate), and bring galleries over (verify gallery reindex).

    Example: verify export runs/lfw -o models/lfw-mobilefacenet

    Example: verify export runs/lfw -o models/lfw-int8 --int8 --licence CC-BY-4.0
    """
    from verify.cli.exporting import run_export

    run_export(as_json=as_json, **options)
