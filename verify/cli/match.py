"""``verify match``: is the probe the claimed subject?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option
from verify.cli.verifier import match_options


@click.command()
@click.argument("subject")
@click.argument("probe", required=False, type=click.Path(path_type=Path))
@click.option("--face", type=click.Path(path_type=Path), help="A photo, in place of PROBE or with --voice.")
@click.option(
    "--voice", type=click.Path(path_type=Path), help="A recording, in place of PROBE or with --face."
)
@click.option("--everyone", is_flag=True, help="Face and voice: without one of them there is no decision.")
@match_options
@json_option
def match(
    subject: str, probe: Path | None, *, face: Path | None, voice: Path | None, as_json: bool, **engine: Any
) -> int:
    """Decide whether PROBE (a photo or a recording) is the enrolled SUBJECT (1:1).

    Several models decide as one: encoders of one kind with --model sface+dlib, face and voice with --face and
    --voice. If the face or the voice fails, the other decides alone by an operating point of its own.

    Exit codes: 0 accept, 1 reject, 3 no decision (no face, unknown subject, no operating point...).

    Example: verify match alice door.jpg --fmr 1e-3; verify match alice --face a.jpg --voice a.wav
    """
    from verify.cli.decisions import print_decision
    from verify.cli.fused import claim_of
    from verify.cli.verifier import open_verifier

    given, engine["model"] = claim_of(probe, face=face, voice=voice, model=engine["model"])
    with open_verifier(probe, read_only=True, **engine) as verifier:
        return print_decision(verifier.match(subject, given), as_json=as_json, attempts=engine["attempts"])
