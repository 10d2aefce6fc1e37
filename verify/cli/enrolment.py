"""What ``verify enroll`` runs and prints."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from verify.cli.decisions import exit_code_of_failures
from verify.cli.output import print_json, progress
from verify.cli.verifier import open_verifier
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from verify.engine import BulkResult
    from verify.types import Enrolment


FAILURE_COLUMNS = ("subject", "file", "reason", "message")


def enroll_one(
    subject: str,
    files: Sequence[Path],
    *,
    as_json: bool,
    idempotency_key: str | None,
    allow_inconsistent: bool,
    refuse_lookalikes: bool,
    **engine: Any,
) -> int:
    """Enrol one subject; return the exit code."""
    with open_verifier(files[0], **engine) as verifier:
        done = verifier.enroll(
            subject,
            files,
            idempotency_key=idempotency_key,
            allow_inconsistent=allow_inconsistent,
            refuse_lookalikes=refuse_lookalikes,
        )
    if as_json:
        print_json(done)
    else:
        _print_enrolment(done)
    return exit_code_of_failures([*done.failures, *(finding.reason for finding in done.left_out)])


def enroll_from(
    bulk: Path,
    *,
    as_json: bool,
    failures: Path | None,
    allow_inconsistent: bool,
    refuse_lookalikes: bool,
    **engine: Any,
) -> int:
    """Enrol many subjects with a progress bar; return the exit code."""
    from verify.atomic import write_file
    from verify.engine import by_kind, enroll_many, read_bulk

    items = read_bulk(bulk)
    if failures is not None:
        write_file(
            failures, _csv([])
        )  # a place that cannot be written is an error before the work, not after
    results: list[BulkResult] = []
    parts = by_kind(items) if engine["model"] is None else {engine["model"]: items}
    for kind, part in parts.items():
        with open_verifier(None, **(engine | {"model": kind})) as verifier:
            run = enroll_many(
                verifier, part, allow_inconsistent=allow_inconsistent, refuse_lookalikes=refuse_lookalikes
            )
            label = f"enrolling subjects by {verifier.model.modality.value}"
            results += progress(run, total=len(part), label=label, quiet=as_json)
    failed = [(r.item.subject_id, *failure) for r in results for failure in r.failed]
    if failures is not None:
        write_file(failures, _csv(failed))
    findings = [
        f
        for r in results
        if r.enrolment
        for f in r.enrolment.findings
        if f.reason is Reason.LOOKS_LIKE_ANOTHER_SUBJECT
    ]
    summary = {
        "subjects": len({r.item.subject_id for r in results}),
        "subjects_with_new_templates": sum(1 for r in results if r.enrolment and r.enrolment.added),
        "templates_added": sum(len(r.enrolment.added) for r in results if r.enrolment),
        "already_enrolled": sum(r.skipped for r in results),
        "failed": [dict(zip(FAILURE_COLUMNS, row, strict=True)) for row in failed],
        "look_alikes": findings,
    }
    if as_json:
        print_json(summary)
    else:
        _print_bulk(summary, failed)
    return exit_code_of_failures([row[2] for row in failed])


def _csv(rows: Sequence[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([FAILURE_COLUMNS, *rows])
    return text.getvalue().encode()


def _print_enrolment(done: Enrolment) -> None:
    verb = "was enrolled before under this key: nothing written again" if done.replayed else "enrolled"
    click.secho(f"{done.subject_id} {verb}: {len(done.added)} {done.modality.value} template(s)", bold=True)
    for record in done.added:
        click.echo(f"  stored     {record.source}")
    for failure in done.failures:
        click.echo(f"  failed     {failure.message}", err=True)
    for finding in (*done.left_out, *done.findings):
        click.echo(f"  {finding.reason.value}: {finding.message}", err=True)


def _print_bulk(summary: dict[str, Any], failed: Sequence[tuple[Any, ...]]) -> None:
    click.secho(
        f"{summary['templates_added']} templates of {summary['subjects_with_new_templates']} subjects enrolled, "
        f"{summary['already_enrolled']} files enrolled before, {len(failed)} failed",
        bold=True,
    )
    for reason, count in Counter(str(row[2] or "refused") for row in failed).most_common():
        click.echo(f"  {count:6d}  {reason}", err=True)
    for row in failed:
        click.echo(f"  {row[0]}: {row[3]}", err=True)
    for finding in summary["look_alikes"]:
        click.echo(f"  look-alike: {finding.message}", err=True)
