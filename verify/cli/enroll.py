"""``verify enroll``: one subject from files, or many from a folder tree or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option
from verify.cli.verifier import enroll_options


@click.command()
@click.argument("subject", required=False)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--from",
    "bulk",
    type=click.Path(path_type=Path),
    help="Bulk: a folder with one sub-folder a subject, or a CSV `subject,path`.",
)
@click.option(
    "--failures",
    type=click.Path(path_type=Path),
    help="Bulk: also write the list of what failed and why to this CSV.",
)
@click.option("--key", "idempotency_key", help="Idempotency key: a retry with the same key enrols once.")
@click.option(
    "--allow-inconsistent", is_flag=True, help="Keep samples that disagree with the subject's others."
)
@click.option("--refuse-lookalikes", is_flag=True, help="Leave out samples that match another subject.")
@click.option(
    "--max-templates",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Cap of templates for a subject.",
)
@enroll_options
@json_option
def enroll(
    subject: str | None, files: tuple[Path, ...], *, bulk: Path | None, as_json: bool, **rest: Any
) -> int:
    """Enrol SUBJECT from FILES (photos or recordings), or many subjects with --from.

    A sample that fails capture, disagrees with the subject's other samples or is stored already is
    left out and reported; the rest is stored, up to the cap. Running a bulk enrolment again goes on where it
    stopped.

    Exit codes: 0 all enrolled, 3 some samples left out, 4 some files unreadable.

    Example: verify enroll alice alice1.jpg alice2.jpg; verify enroll --from staff/
    """
    from verify.cli.enrolment import enroll_from, enroll_one

    if (bulk is None) == (subject is None):
        msg = "give SUBJECT and FILES, or --from FOLDER|CSV for many"
        raise click.UsageError(msg)
    if bulk is not None:
        if rest.pop("idempotency_key") is not None:
            msg = "--key goes with one subject; a bulk enrolment resumes without"
            raise click.UsageError(msg)
        return enroll_from(bulk, as_json=as_json, **rest)
    if not files:
        msg = f"no files to enrol {subject!r} from"
        raise click.UsageError(msg)
    if rest.pop("failures") is not None:
        msg = "--failures goes with --from"
        raise click.UsageError(msg)
    return enroll_one(str(subject), files, as_json=as_json, **rest)
