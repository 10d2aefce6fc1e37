"""What ``verify enroll`` runs and prints."""

from __future__ import annotations

import csv
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
    left_out: list[Reason] = [
        f.reason
        for f in done.findings
        if f.reason is Reason.INCONSISTENT_WITH_REFERENCE and not allow_inconsistent
    ]
    if refuse_lookalikes:
        left_out += [f.reason for f in done.findings if f.reason is Reason.LOOKS_LIKE_ANOTHER_SUBJECT]
    return exit_code_of_failures([*done.failures, *left_out])


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
    from verify.engine import enroll_many, read_bulk

    items = read_bulk(bulk)
    with open_verifier(items[0].paths[0], **engine) as verifier:
        run = enroll_many(
            verifier, items, allow_inconsistent=allow_inconsistent, refuse_lookalikes=refuse_lookalikes
        )
        results: list[BulkResult] = list(
            progress(run, total=len(items), label="enrolling subjects", quiet=as_json)
        )
    failed = [(r.item.subject_id, *failure) for r in results for failure in r.failed]
    if failures is not None:
        with failures.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("subject", "file", "reason", "message"), *failed])
    findings = [
        f
        for r in results
        if r.enrolment
        for f in r.enrolment.findings
        if f.reason is Reason.LOOKS_LIKE_ANOTHER_SUBJECT
    ]
    summary = {
        "subjects": len(results),
        "subjects_with_new_templates": sum(1 for r in results if r.enrolment and r.enrolment.added),
        "templates_added": sum(len(r.enrolment.added) for r in results if r.enrolment),
        "already_enrolled": sum(r.skipped for r in results),
        "failed": [dict(zip(("subject", "file", "reason", "message"), row, strict=True)) for row in failed],
        "look_alikes": findings,
    }
    if as_json:
        print_json(summary)
    else:
        _print_bulk(summary, failed)
    return exit_code_of_failures([row[2] for row in failed])


def _print_enrolment(done: Enrolment) -> None:
    verb = "was enrolled before under this key: nothing written again" if done.replayed else "enrolled"
    click.secho(f"{done.subject_id} {verb}: {len(done.added)} {done.modality.value} template(s)", bold=True)
    for record in done.added:
        click.echo(f"  stored     {record.source} as template {record.template_id}")
    for failure in done.failures:
        click.echo(f"  failed     {failure.message}", err=True)
    for finding in done.findings:
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
