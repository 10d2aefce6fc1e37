"""``verify evaluate``: published protocols, and the promise held against people it was not made on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.evaluation_embeddings import embedding_options
from verify.cli.output import json_option

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data", type=PATH, required=False)
@click.option("--model", help="Bundle: face, voice, another name, or a path.")
@click.option("--models-dir", type=PATH, help="Folder of model bundles; default: VERIFY_MODELS.")
@click.option(
    "--trial-list", type=PATH, help="LFW's pairs.txt, VoxCeleb-style lines or CSV; DATA is then their folder."
)
@click.option(
    "--scores", type=PATH, help="Any matcher's scores, CSV or Parquet, in place of DATA and --model."
)
@click.option("--distances", is_flag=True, help="The scores are distances: lower is more alike.")
@click.option(
    "--gallery-size", "sizes", type=click.IntRange(1), multiple=True, help="Open-set search among so many."
)
@click.option(
    "--operating-points", type=PATH, help="Thresholds to hold the trials against; default: the model's own."
)
@click.option(
    "--test-half", is_flag=True, help="DATA calibrated the thresholds: take only the half that chose none."
)
@click.option("--split", type=PATH, help="Split file of DATA: only the subjects of --part are looked at.")
@click.option("--part", default="test", show_default=True, help="Of --split.")
@click.option("--groups", multiple=True, metavar="COLUMN", help="Rates by this column; default: all.")
@click.option(
    "--quality-measure",
    "quality",
    multiple=True,
    metavar="NAME",
    help="Rates by this measure; default: usual ones.",
)
@embedding_options
@click.option("--confidence", default=0.95, show_default=True, help="Of the one-sided bounds.")
@click.option("--seed", default=0, show_default=True, help="Of drawn galleries and samples.")
@click.option("--workers", type=click.IntRange(1), help="Captures under way at once; default: one a CPU.")
@click.option("--cache", type=PATH, help="Embedding cache file; default: in the platform's cache folder.")
@click.option("--no-cache", is_flag=True, help="Keep no templates on disk; an interrupted run starts over.")
@click.option(
    "--report", type=PATH, default="evaluation.html", show_default=True, help="FILE.html, with FILE.json."
)
@click.option("--no-report", is_flag=True, help="Print only.")
@click.option("--force", is_flag=True, help="Replace existing report files.")
@json_option
def evaluate(*, as_json: bool, **options: Any) -> int:
    """Measure a model on DATA with thresholds that were set before; nothing is chosen.

    DATA is a folder with one sub-folder a subject, or a CSV with the columns subject,path: all pairs are compared.
    With --trial-list the listed pairs are, LFW's in its ten folds. With --gallery-size galleries are drawn and
    searched. Each operating point of the model is held against these people: PASS or FAIL. People who took part in
    its calibration are no proof for strangers, and the verdict says so.

    --retrieval ranks all samples for each; --embeddings-plot shows whether camera, session or microphone leave a trace.

    Exit codes: 0 every operating point kept its promise, 1 one did not, 4 the data cannot tell.

    Example: verify evaluate lfw/ --trial-list lfw/pairs.txt --model face

    Example: verify evaluate people/ --model face --gallery-size 10 --gallery-size 100

    Example: verify evaluate people.csv --model face --retrieval --embeddings-plot map.html --colour session
    """
    from verify.cli.evaluation import run

    return run(options, as_json=as_json)
