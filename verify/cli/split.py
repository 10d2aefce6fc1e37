"""``verify split``: who learns, who chooses, who measures; nobody does two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The split file, CSV.")
@click.option(
    "--fractions", default="train=0.7,validation=0.1,calibration=0.1,test=0.1", show_default=True,
    metavar="PART=SHARE,..",
    help="Expected shares of subjects; they sum to 1.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Another seed gives another split.")
@click.option("--layout", help="Of DATA: subject-folders, file-per-subject or csv. [default: as it looks]")
@click.option(
    "--same", type=PATH, help="CSV of ids that are one person, a line each (id,id): kept in one part."
)
@click.option(
    "--check", "others", multiple=True, metavar="SPLIT[=DATA]",
    help="Refuse who, and with =DATA which file, is in another part of this split file; several times for several.",
)  # fmt: skip
@click.option(
    "--audit",
    "audits",
    is_flag=True,
    help="Report near-duplicates and one person under two ids, by embeddings.",
)
@click.option("--model", "-m", help="Bundle that --audit embeds with. [default: face or voice, by the files]")
@click.option(
    "--duplicate-cosine", default=0.95, show_default=True, help="Of --audit: so alike are near-duplicates."
)
@click.option(
    "--chance", default=1.0, show_default=True, help="Of --audit: pairs of strangers expected in the report."
)
@click.option("--workers", type=click.IntRange(1), help="Of --audit: captures under way at once.")
@click.option(
    "--cache", type=PATH, help="Of --audit: embedding cache file. [default: in the platform's cache folder]"
)
@click.option("--no-cache", is_flag=True, help="Of --audit: keep no templates on disk.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
def split(*, as_json: bool, **options: Any) -> None:
    """Assign every subject of DATA to train, validation, calibration or test.

    The part depends on the seed and the subject id alone: whoever is added later moves nobody, and ids that
    differ only by case or spaces share a part. Refused: a person or a file (byte for byte) in two parts, here or
    against the splits given with --check. With --audit the people behind the ids are looked at too: the report is
    printed and written beside the split as FILE.audit.json.

    Example: verify split people/ -o people.split.csv --audit --model face

    Example: verify split celeba/ -o celeba.csv --check lfw.csv=lfw/ --audit
    """
    from verify.cli.output import print_json
    from verify.cli.splitting import run, show

    done = run(quiet=as_json, **options)
    print_json(done) if as_json else show(done)
