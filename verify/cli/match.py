"""``verify match``: is the probe the claimed subject?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option
from verify.cli.verifier import match_options


@click.command()
@click.argument("subject")
@click.argument("probe", type=click.Path(path_type=Path))
@match_options
@json_option
def match(subject: str, probe: Path, *, as_json: bool, **engine: Any) -> int:
    """Decide whether PROBE (a photo or a recording) is the enrolled SUBJECT (1:1).

    Exit codes: 0 accept, 1 reject, 3 no decision (no face, unknown subject, no operating point...).

    Example: verify match alice door.jpg --fmr 1e-3
    """
    from verify.cli.decisions import print_decision
    from verify.cli.verifier import open_verifier

    with open_verifier(probe, read_only=True, **engine) as verifier:
        return print_decision(verifier.match(subject, probe), as_json=as_json)
