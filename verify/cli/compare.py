"""``verify compare``: two files, nothing stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option
from verify.cli.verifier import compare_options


@click.command()
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("probe", type=click.Path(path_type=Path))
@compare_options
@json_option
def compare(reference: Path, probe: Path, *, as_json: bool, **engine: Any) -> int:
    """Decide whether two photos, or two recordings, are of one subject. Nothing is stored.

    Exit codes: 0 accept, 1 reject, 3 no decision.

    Example: verify compare passport.jpg selfie.jpg
    """
    from verify.cli.decisions import print_decision
    from verify.cli.verifier import open_verifier

    verifier = open_verifier(reference, **engine)
    return print_decision(verifier.compare(reference, probe), as_json=as_json, attempts=engine["attempts"])
