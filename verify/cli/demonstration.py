"""What ``verify demo`` runs and prints."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import jsonable, print_json, print_table, progress
from verify.types import Enrolment, Identification

if TYPE_CHECKING:
    from verify.engine.demo import Cast, Step
    from verify.report.demo import DemoPart


DEMO_FPIR = 0.1  # a handful of people and small data: one false alarm in ten searches is what it can prove


def run_demo(data: Path | None, *, output: Path, offline: bool, as_json: bool) -> int:
    """Play the demonstration; return 0, or 1 if a stranger was let in."""
    from verify.atomic import write_file
    from verify.engine.demo import FALSE_ACCEPT, find_casts
    from verify.report.demo import demo_page

    root, origin = _media(data, offline=offline, quiet=as_json)
    casts = find_casts(root)
    parts = [_play(cast, output=output, origin=origin, offline=offline, as_json=as_json) for cast in casts]
    output.mkdir(parents=True, exist_ok=True)
    write_file(output / "report.html", demo_page(parts).encode())
    write_file(output / "report.json", json.dumps(jsonable(parts), ensure_ascii=False, indent=2).encode())
    if as_json:
        print_json({"media": origin, "report": output / "report.html", "parts": parts})
    else:
        click.echo(f"media   {origin}")
        click.echo(f"report  {output / 'report.html'}")
    return 1 if any(row.verdict == FALSE_ACCEPT for part in parts for row in part.rows) else 0


def _media(data: Path | None, *, offline: bool, quiet: bool) -> tuple[Path, str]:
    from verify.errors import ManifestError

    named = data or (Path(os.environ["VERIFY_DATA"]) if os.environ.get("VERIFY_DATA") else None)
    if named is None:
        from verify.models.samples import pull_samples

        if not quiet:
            click.echo("no --data and no VERIFY_DATA: taking credited sample media", err=True)
        return pull_samples(offline=offline)
    if not named.is_dir():
        msg = f"{named}: no such folder; give --data a folder with one sub-folder a subject"
        raise ManifestError(msg)
    return named, f"{'--data' if data else 'VERIFY_DATA'} {named}"


def _play(cast: Cast, *, output: Path, origin: str, offline: bool, as_json: bool) -> DemoPart:
    from verify.engine import Verifier
    from verify.engine.demo import play
    from verify.models.acquire import PullOptions
    from verify.models.install import pull
    from verify.report.demo import DemoPart

    alias = cast.modality.value
    pull(alias, options=PullOptions(offline=offline))
    path = output / f"{alias}.gallery.db"
    for old in output.glob(f"{path.name}*"):
        old.unlink()  # the demonstration's own gallery, made anew each time
    output.mkdir(parents=True, exist_ok=True)
    steps: list[Step] = []
    enrolments: list[Enrolment] = []
    with Verifier.open(alias, gallery=path, target_fpir=DEMO_FPIR) as verifier:
        for _, done in progress(
            play(cast, verifier), total=None, label=f"{alias}s of {cast.folder.name}", quiet=as_json
        ):
            (enrolments if isinstance(done, Enrolment) else steps).append(done)  # type: ignore[arg-type]
        ruling = verifier.judge.one_to_one()
        bundle = verifier.capturer.bundle
    left_out = [failure.message for done in enrolments for failure in done.failures]
    left_out += sorted({finding.message for done in enrolments for finding in done.findings})
    part = DemoPart(
        modality=alias,
        media=f"{cast.folder.name} ({origin.split(maxsplit=1)[0]})",
        model=bundle.name,
        model_id=bundle.model_id,
        enrolled=sum(1 for done in enrolments if done.added),
        templates=sum(len(done.added) for done in enrolments),
        left_out=left_out,
        point=ruling.point,
        threshold=ruling.threshold,
        note=f"{ruling.message}; searches for FPIR <= {DEMO_FPIR:g}",
        rows=[_row(step) for step in steps],
    )
    if not as_json:
        _print(part)
    return part


def _row(step: Step) -> Any:
    from verify.report.demo import DemoRow

    found = step.result
    identified = isinstance(found, Identification)
    score = (
        (found.candidates[0].score if found.candidates else None)
        if isinstance(found, Identification)
        else found.score
    )
    outcome = found.outcome.value + (f" {found.subject_id}" if identified and found.subject_id else "")
    return DemoRow(
        task="1:N" if identified else "1:1",
        truth=step.truth + (" (stranger)" if step.kind == "stranger" else ""),
        claim=step.claim,
        file=f"{step.file.parent.name}/{step.file.name}",
        outcome=outcome if found.outcome.value != "no_decision" else f"no decision: {found.reason.value}",
        score=score,
        mated=step.kind in ("mated", "enrolled"),
        verdict=step.verdict,
    )


def _print(part: DemoPart) -> None:
    rows = [
        (
            r.task,
            r.truth,
            r.claim or "?",
            r.file,
            "" if r.score is None else f"{r.score:+.3f}",
            r.outcome,
            r.verdict,
        )
        for r in part.rows
    ]
    click.secho(
        f"\n{part.modality}: {part.enrolled} subjects, {part.templates} templates; {part.note}", bold=True
    )
    print_table(("task", "probe shows", "claims", "file", "score", "decision", ""), rows)
    for text in part.left_out:
        click.echo(f"left out: {text}")
    tally = Counter(row.verdict for row in part.rows)
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in tally.most_common()) + "\n")
