"""``verify doctor``: is this installation fit for use, and if not, what to do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from verify.cli.options import gallery_option
from verify.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from pathlib import Path

_SIGNS = {"ok": "ok", "warning": "look", "failed": "FAILED"}


@click.command()
@gallery_option
@json_option
def doctor(gallery: Path | None, *, as_json: bool) -> int:
    """Check libraries, model bundles, operating points, the gallery and the disk.

    Exit codes: 0 nothing failed (lines marked `look` may want you), 5 something failed; each says what to do.
    """
    from verify.engine.health import examine

    findings = examine(gallery)
    if as_json:
        print_json({"fit": all(f.state != "failed" for f in findings), "checks": findings})
    else:
        print_table(
            ("check", "", "what was found"), [(f.check, _SIGNS[f.state], f.message) for f in findings]
        )
    return 5 if any(f.state == "failed" for f in findings) else 0
