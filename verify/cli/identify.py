"""``verify identify``: who is this, if anybody?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option
from verify.cli.verifier import identify_options


@click.command()
@click.argument("probe", type=click.Path(path_type=Path))
@click.option(
    "--top", "top_k", default=5, show_default=True, type=click.IntRange(1, 1000), help="Candidates to show."
)
@identify_options
@json_option
def identify(probe: Path, *, top_k: int, as_json: bool, **engine: Any) -> int:
    """Find who PROBE (a photo or a recording) is among all enrolled subjects (1:N, open set).

    Exactly one subject at or above the threshold is a match, none is unknown, several are ambiguous.

    Exit codes: 0 match, 1 unknown, 3 ambiguous or no decision.

    Example: verify identify door.jpg --fpir 0.01
    """
    from verify.cli.decisions import print_identification
    from verify.cli.verifier import open_verifier

    with open_verifier(probe, read_only=True, **engine) as verifier:
        found = verifier.identify(probe, top_k=top_k)
        return print_identification(found, as_json=as_json, attempts=engine["attempts"])
