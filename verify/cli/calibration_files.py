"""Options of `verify calibrate`: what it reads and what it writes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from verify.cli.calibration_options import PATH
from verify.cli.destinations import check_writable, page_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from verify.capture import Capturer
    from verify.evaluation.job import CalibrationJob
    from verify.facts import CalibrationFacts
    from verify.types import OperatingPoint

LAYOUTS = ("subject-folders", "file-per-subject", "csv")
_OPTIONS = (
    click.option("--model", help="Bundle: face, voice, another name, or a path."),
    click.option("--models-dir", type=PATH, help="Folder of model bundles; default: VERIFY_MODELS."),
    click.option("--scores", type=PATH, multiple=True, help="Any matcher's scores, CSV or Parquet."),
    click.option("--distances", is_flag=True, help="The scores are distances: lower is more alike."),
    click.option("--model-id", help="What to call the matcher that made the scores."),
    click.option("--modality", type=click.Choice(("face", "voice")), default="face", help="Of --scores."),
    click.option("--trial-list", type=PATH, multiple=True, help="List of pairs of files; DATA is then their folder."),
    click.option(
        "--split", "splits", type=PATH, multiple=True,
        help="Split file of each DATA, in order: its calibration and test parts take part, nobody else.",
    ),
    click.option("--layout", type=click.Choice(LAYOUTS), help="How DATA is laid out; guessed if not given."),
    click.option("--max-samples-per-subject", type=click.IntRange(1), help="Use at most so many files of each."),
    click.option("--trials", default="auto", help="Non-mated pairs a half: all, N to sample, auto (120 million)."),
    click.option("--workers", type=click.IntRange(1), help="Captures under way at once; default: one a CPU."),
    click.option("--cache", type=PATH, help="Embedding cache file; default: in the platform's cache folder."),
    click.option("--no-cache", is_flag=True, help="Keep no templates on disk; an interrupted run starts over."),
    click.option("-o", "--output", type=PATH, default="operating_points.json", show_default=True),
    click.option("--report", type=PATH, help="FILE.html, with FILE.json; default: report.html beside the output."),
    click.option("--no-report", is_flag=True, help="Write operating points only."),
    click.option("--force", is_flag=True, help="Replace existing output files."),
    click.option("--keep-failed", is_flag=True, help="Write points too whose target the test subjects exceeded."),
    click.option("--install", is_flag=True, help="Replace the model's own operating points instead."),
)  # fmt: skip


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them to a command, in order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Done:
    """A calibration, what the report states, and what was written.

    Attributes:
        written: files, in order.
        kept: the operating points among them.
        said: what a person should know about the files.
    """

    title: str
    job: CalibrationJob
    facts: CalibrationFacts
    written: tuple[Path, ...]
    kept: tuple[OperatingPoint, ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a calibration writes: operating points, and the report as page and as facts (None: no report)."""

    points: Path
    page: Path | None
    keep_failed: bool = False
    installs: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], capturer: Capturer | None) -> Outputs:
        """What the options name; raises where it cannot be written, or would replace files unasked."""
        from verify.models.operating_points import OPERATING_POINTS_FILE

        points, force = options["output"], options["force"]
        page = None
        if not options["no_report"]:
            page = page_of(options["report"] or points.with_name("report.html"))
        if options["install"] and capturer is not None:
            if capturer.bundle.is_zipped:
                msg = f"{options['model']} is a zip: --install cannot write into it; unpack it, or write a file with -o"
                raise click.UsageError(msg)
            points = capturer.bundle.path / OPERATING_POINTS_FILE
        made = cls(points, page, keep_failed=options["keep_failed"], installs=options["install"])
        made.check_distinct()
        check_writable(
            {points: "--install" if options["install"] else "-o"}, replace=force or options["install"]
        )
        pages = [path for path in (made.page, made.facts) if path is not None]
        check_writable(dict.fromkeys(pages, "--report"), replace=force)
        return made

    def check_distinct(self) -> None:
        """Refuse a report whose files would take the place of the operating points."""
        if self.points in (self.page, self.facts):
            msg = f"-o {self.points} and --report {self.page} (with {self.facts}) would be one file: name another"
            raise click.UsageError(msg)

    @property
    def facts(self) -> Path | None:
        """The report as JSON."""
        return None if self.page is None else self.page.with_suffix(".json")

    def write(self, title: str, job: CalibrationJob, facts: CalibrationFacts) -> Done:
        """Write everything, the report last."""
        from verify.evaluation.verdicts import failed
        from verify.models.cohorts import cohort_file, write_cohort
        from verify.models.operating_points import write_operating_points

        written: list[Path] = []
        # what failed says so in the file, whichever set it failed on: the engine refuses it unless it is named
        points = tuple(
            dataclasses.replace(point, data={**point.data, "failed": True}) if failed(point) else point
            for point in job.calibration.points
        )
        kept = tuple(point for point in points if self.keep_failed or not failed(point))
        said = [
            f"{point.name} is left out of {self.points}: it failed" for point in points if point not in kept
        ]
        if kept:
            if job.cohort is not None:
                digest = write_cohort(self.points.parent, job.cohort.vectors)
                written.append(cohort_file(self.points.parent, digest))
            write_operating_points(self.points, kept)
            written.insert(0, self.points)
        elif self.points.exists():
            said.append(self._without_points())
        if self.page is not None and self.facts is not None:
            from verify.report.calibration import calibration_page
            from verify.report.facts import write_facts, write_text

            write_facts(self.facts, facts)
            write_text(self.page, calibration_page(facts))
            written += [self.page, self.facts]
        return Done(title, job, facts, tuple(written), kept, tuple(said))

    def _without_points(self) -> str:
        """No point is left, and an earlier run's file is in the place: what becomes of it."""
        if self.installs:
            return f"no operating point: {self.points}, of an earlier calibration, stays as it was"
        self.points.unlink()
        return f"no operating point: {self.points}, of an earlier run, was removed"
