"""``verify demo``: real people enrolled, matched, refused and identified, in one command."""

from __future__ import annotations

from pathlib import Path

import click

from verify.cli.output import json_option


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Real media, one sub-folder a subject: faces, voices or both. [default: VERIFY_DATA, else fetched samples]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("verify-demo"),
    show_default=True,
    help="Folder for the gallery and the report.",
)
@click.option("--offline", is_flag=True, help="Fetch nothing: models and media must be on this machine.")
@json_option
def demo(data: Path | None, *, output: Path, offline: bool, as_json: bool) -> int:
    """See real people enrolled, matched, refused and identified, by face and by voice.

    Fetches the default models on first use. The output says which media it ran on.

    Example: verify demo --data my-photos/
    """
    from verify.cli.demonstration import run_demo

    return run_demo(data, output=output, offline=offline, as_json=as_json)
