"""Subjects, records and check reports as plain text cells; never templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify.gallery.check import CheckReport
    from verify.gallery.rows import SubjectSummary
    from verify.gallery.sqlite import SqliteGallery
    from verify.types import TemplateRecord

RECORD_COLUMNS = ("template", "modality", "model", "source", "sha256", "created")
_PAGE = 1000
_SHORT = 12


def line(one: SubjectSummary) -> tuple[str, ...]:
    """Return subject, number of templates, modalities, short model ids and the newest time."""
    models = " ".join(model_id[:_SHORT] for model_id in one.model_ids)
    newest = one.newest.isoformat(" ", "seconds")
    return one.subject_id, str(one.templates), " ".join(one.modalities), models, newest


def stream_lines(gallery: SqliteGallery, *, after: str = "") -> Iterator[tuple[str, ...]]:
    """Yield `line` of every subject behind `after`, read page by page."""
    while page := gallery.summaries(after=after, limit=_PAGE):
        yield from map(line, page)
        after = page[-1].subject_id


def record_line(record: TemplateRecord) -> tuple[str, ...]:
    """Return the cells of `RECORD_COLUMNS`; the quality measures are in the JSON form only."""
    return (
        str(record.template_id),
        record.modality.value,
        record.model_id[:_SHORT],
        record.source,
        record.source_sha256[:_SHORT],
        record.created_at.isoformat(" ", "seconds"),
    )


def report_lines(report: CheckReport) -> Iterator[str]:
    """Yield what a check saw, and what to do if something is broken."""
    yield f"{report.path}: schema {report.schema}, {report.subjects} subjects, {report.templates} templates"
    for model_id, count in report.models.items():
        yield f"model {model_id[:_SHORT]}: {count} templates"
    for warning in report.warnings:
        yield f"warning: {warning}"
    for problem in report.problems:
        yield f"broken: {problem}"
    if report.ok:
        yield "the gallery is sound"
    else:
        yield (
            "Stop deciding by this gallery. Keep a copy of the file with its -wal, then import your last export "
            "into a new gallery, or enrol again; where single templates are named, it is enough to delete their "
            "subjects and enrol them again."
        )
