"""What ``verify gallery reindex`` runs and prints."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from verify.cli.decisions import exit_code_of_failures
from verify.cli.output import print_json, progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from verify.engine.reindex import Reindexed, Replacement, Waiting

COLUMNS = ("subject", "file", "reason", "message")
_SHOWN = 20


def reindex_gallery(
    *,
    model: str,
    old: Sequence[str],
    sources: Sequence[Path],
    keep_old: bool,
    retire: bool,
    dry_run: bool,
    failures: Path | None,
    gallery: Path,
    as_json: bool,
) -> int:
    """Bring a gallery's references to another model with a progress bar; return the exit code."""
    from verify.atomic import write_file
    from verify.capture import Capturer
    from verify.engine.kept_sources import KeptSources
    from verify.engine.reindex import Replacement, plan, reindex, replaced_models, subjects_of
    from verify.gallery import SqliteGallery
    from verify.models.fusions import is_fusion

    if is_fusion(model):
        msg = f"--model {model}: templates are of one model each; reindex to each of them in turn"
        raise click.UsageError(msg)
    if failures is not None:
        write_file(
            failures, _csv([])
        )  # a place that cannot be written is an error before the work, not after
    where = KeptSources(sources)
    capturer = Capturer.open(model)
    with SqliteGallery(gallery, create=False, read_only=dry_run) as store:
        replaced = replaced_models(store, capturer, asked=old)
        job = Replacement(capturer, store, replaced, where, keep_old=keep_old, retire_all=retire)
        subjects = subjects_of(job)
        run = plan(job, subjects) if dry_run else reindex(job, subjects)
        label = "looking at subjects" if dry_run else "embedding subjects again"
        results = list(progress(run, total=len(subjects), label=label, quiet=as_json))
    waiting = [one for result in results for one in result.waiting]
    if failures is not None:
        write_file(failures, _csv(waiting))
    code = exit_code_of_failures([one.reason for one in waiting])
    summary = _summary(job, results, waiting, dry_run=dry_run)
    print_json(summary | {"exit_code": code}) if as_json else _print(summary, waiting)
    return code


def _summary(
    job: Replacement, results: Sequence[Reindexed], waiting: Sequence[Waiting], *, dry_run: bool
) -> dict[str, Any]:
    bundle = job.capturer.bundle
    return {
        "dry_run": dry_run,
        "model": bundle.name,
        "model_id": job.new,
        "replaced": list(job.old),
        "kept_old": job.keep_old,
        "calibrated": bool(bundle.operating_points()),
        "subjects": len(results),
        "templates_renewed": sum(one.renewed for one in results),
        "samples_there_before": sum(one.there for one in results),
        "templates_retired": sum(one.retired for one in results),
        "subjects_to_enroll_again": [one.subject_id for one in results if not one.usable],
        "waiting": [
            {
                "subject": one.record.subject_id,
                "file": one.record.source,
                "model_id": one.record.model_id,
                "reason": one.reason,
                "message": one.message,
            }
            for one in waiting
        ],
        "findings": [finding for one in results for finding in one.findings],
    }


def _print(summary: dict[str, Any], waiting: Sequence[Waiting]) -> None:
    name = f"{summary['model']} {summary['model_id'][:12]}"
    if not summary["subjects"]:
        click.echo(
            f"nothing to do: the gallery has no references of another model than {name} to be replaced"
        )
        return
    verb = "would be embedded" if summary["dry_run"] else "embedded"
    click.secho(
        f"{summary['templates_renewed']} samples of {summary['subjects']} subjects {verb} again by {name}, "
        f"{summary['samples_there_before']} were there before, {summary['templates_retired']} old templates removed, "
        f"{len(waiting)} wait for re-enrolment",
        bold=True,
    )
    for reason, count in Counter(str(one.reason or "sample not to be had") for one in waiting).most_common():
        click.echo(f"  {count:6d}  {reason}", err=True)
    for one in waiting[:_SHOWN]:
        click.echo(f"  {one.record.subject_id}: {one.message}", err=True)
    if len(waiting) > _SHOWN:
        click.echo(
            f"  and {len(waiting) - _SHOWN} more: --failures FILE.csv or --json has them all", err=True
        )
    for finding in summary["findings"]:
        click.echo(f"  {finding.reason.value}: {finding.message}", err=True)
    again = summary["subjects_to_enroll_again"]
    if again:
        more = f" and {len(again) - 5} more" if len(again) > 5 else ""  # noqa: PLR2004
        click.echo(
            f"  {len(again)} subjects have no reference of {summary['model']}: it cannot decide about "
            f"{', '.join(map(repr, again[:5]))}{more} until they are enrolled again",
            err=True,
        )
    if not summary["calibrated"]:
        click.echo(
            f"  {summary['model']} has no operating point: every decision will be refused until `verify calibrate` "
            "made one",
            err=True,
        )


def _csv(waiting: Sequence[Waiting]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in waiting:
        writer.writerow([one.record.subject_id, one.record.source, one.reason or "", one.message])
    return text.getvalue().encode()
