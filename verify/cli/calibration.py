"""How `verify calibrate` prints what it found: notes on the data, a table, and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify.evaluation.job import CalibrationJob
    from verify.types import OperatingPoint, Rate

COLUMNS = (
    *("target FMR", "threshold", "chosen at FMR", "at most", "test FMR", "at most", "errors"),
    *("FNMR", "at most", "errors", "verdict"),
)
_SHOWN = 10


def show(job: CalibrationJob, *, title: str) -> None:
    """Print notes on the data, then the table."""
    for line in notes(job):
        click.echo(line)
    print_table(COLUMNS, rows(job), title=title)


def notes(job: CalibrationJob) -> Iterator[str]:
    """Lines about the data: counts, failures to acquire, likely label errors, where templates are kept."""
    for manifest, embedded, one in zip(job.manifests, job.embedded, job.calibration.sets, strict=True):
        for side, trials in (("calibration", one.calibration), ("test", one.test)):
            yield (
                f"{one.name}, {side}: {trials.subjects:,} subjects, {trials.samples:,} samples, "
                f"{trials.mated.size:,} mated and {trials.non_mated.size:,} non-mated trials"
                + (
                    f" (of {trials.possible_non_mated:,})"
                    if trials.possible_non_mated > trials.non_mated.size
                    else ""
                )
            )
        failures = embedded.failure_counts()
        by_reason = "".join(f", {reason} {count}" for reason, count in failures.items())
        yield f"{one.name}: {sum(failures.values())} of {len(embedded.entries):,} failed to acquire{by_reason}"
        yield from (f"{one.name}: warning: {warning}" for warning in manifest.warnings)
        if embedded.copies:
            yield f"{one.name}: {len(embedded.copies)} files left out: the same subject has the same bytes already"
        for group in embedded.conflicts[:_SHOWN]:
            files = " = ".join(f"{entry.subject_id}: {entry.path.name}" for entry in group)
            yield f"{one.name}: likely label error, left out: the same file under two subjects: {files}"
    if job.cache:
        yield f"templates are kept in {job.cache} (readable by you only) for the next run; see --no-cache"


def rows(job: CalibrationJob) -> Iterator[tuple[str, ...]]:
    """One row a target: supported ones with their rates, the others as too few trials."""
    for point in job.calibration.points:
        head = (f"{point.target_fmr:g}", f"{point.threshold:.4f}")
        yield (
            *head,
            *_rate(point.calibration_fmr)[:2],
            *_rate(point.fmr),
            *_rate(point.fnmr),
            verdict(point),
        )
    for target in job.calibration.unsupported:
        yield (f"{target:g}", "none", *[""] * (len(COLUMNS) - 3), "TOO FEW")


def verdict(point: OperatingPoint) -> str:
    """PASS if the FMR measured on the test subjects is at or below the target."""
    return "PASS" if point.fmr.value <= point.target_fmr else "FAIL"


def payload(job: CalibrationJob) -> dict[str, Any]:
    """The same as plain values for --json."""
    return {
        "points": [{"point": point, "verdict": verdict(point)} for point in job.calibration.points],
        "insufficient": [{"target_fmr": t, "message": m} for t, m in job.calibration.unsupported.items()],
        "sets": [one.facts for one in job.calibration.sets],
        "warnings": [f"{m.name}: {warning}" for m in job.manifests for warning in m.warnings],
        "likely_label_errors": [
            [{"subject": entry.subject_id, "path": entry.path} for entry in group]
            for embedded in job.embedded
            for group in embedded.conflicts
        ],
        "cache": job.cache,
    }


def _rate(rate: Rate | None) -> tuple[str, str, str]:
    """The rate, its upper bound, and the number of errors."""
    if rate is None:
        return "", "", ""
    return f"{rate.value:.2g}", f"{rate.upper:.2g}", f"{rate.errors:,}"
