"""``verify train``: a network from a recipe, or an adapter on a model's frozen embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("sources", metavar="[RECIPE | PEOPLE...]", nargs=-1, type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder of the run [default: runs/NAME], or of the bundle.")
@click.option(
    "--data", type=PATH, multiple=True, help="Prepared set, in place of the recipe's; repeat for several."
)
@click.option("--split", type=PATH, multiple=True, help="Split file of each --data, in the same order.")
@click.option(
    "--set", "changes", metavar="KEY=VALUE", multiple=True, help="Change the recipe: schedule.epochs=2"
)
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint of the run.")
@click.option("--dry-run", is_flag=True, help="Print shapes, parameters, steps and memory; train nothing.")
@click.option("--device", help="cpu, cuda, cuda:1 [default: the GPU if there is one].")
@click.option(
    "--adapter", help="wccn, lda, plda, arcface or supcon: learn on frozen embeddings, no GPU needed."
)
@click.option("--model", multiple=True, help="With --adapter: bundle to adapt; several are concatenated.")
@click.option("--as", "name", help="With --adapter: name of the new bundle.")
@click.option("--models-dir", type=PATH, help="Folder of model bundles; default: VERIFY_MODELS.")
@json_option
def train(*, as_json: bool, **options: Any) -> None:
    """Train a network from RECIPE, or fit an --adapter to PEOPLE.

    RECIPE is a TOML file, see configs/. The run's folder gets recipe.json, log.jsonl, tensorboard/ and checkpoints/;
    checkpoints/best verified unseen people (the validation part of the split) best. Ctrl-C writes a
    checkpoint first; the same command with --resume goes on from it as if nothing had happened. Several GPUs:
    torchrun --nproc-per-node 2 -m verify train RECIPE ...

    With --adapter, PEOPLE are folders with one sub-folder a subject: minutes on a CPU.

    Example: verify train configs/face_mobilefacenet_arcface.toml --data prepared/lfw --split lfw.csv -o runs/lfw

    Example: verify train configs/face_mobilefacenet_arcface.toml --dry-run --set sampler.batch=256

    Example: verify train --adapter wccn --model sface people/ -o bundle/ --as sface-people
    """
    if options["adapter"]:
        from verify.cli.adapting import run as adapt

        adapt(as_json=as_json, **options)
        return
    from verify.cli.training_run import dry_run, run

    (dry_run if options["dry_run"] else run)(as_json=as_json, options=options)
