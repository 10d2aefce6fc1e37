"""How `verify calibrate` prints what it found: verdicts first, a table, notes on the data, and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from verify.cli.calibration_run import Done
    from verify.evaluation.targets import Target
    from verify.facts import RateFacts, Verdict

COLUMNS = (
    *("target", "threshold", "chosen at FMR", "at most", "test FMR", "at most", "errors"),
    *("FNMR", "at most", "errors", "verdict"),
)
_SHOWN = 10


def show(done: Done) -> None:
    """Print verdicts, the table, notes on the data, and where files went."""
    facts = done.facts
    for verdict in facts["verdicts"]:
        if verdict["threshold"] is not None:
            click.echo(f"{verdict['verdict']}: {verdict['message']}")
    missing = [one for one in facts["verdicts"] if one["threshold"] is None]
    if missing:  # why: see `insufficient`
        targets = ", ".join(f"{one['asked_kind'].upper()} {one['asked_rate']:g}" for one in missing)
        click.echo(f"{missing[0]['verdict']}: {targets}")
    print_table(
        COLUMNS,
        rows(facts["verdicts"]),
        title=f"{done.title}, {facts['score_space']} scores, {facts['bound']} bound at {facts['confidence']:.0%}",
    )
    for line in notes(done):
        click.echo(line)
    click.echo(f"written to {', '.join(map(str, done.written))}" if done.written else "nothing written")


def insufficient(unsupported: Mapping[Target, str]) -> Iterator[str]:
    """Why targets have no threshold: the first one's reason in full, of the others that they ask for more still."""
    for kind in dict.fromkeys(target.kind for target in unsupported):
        first, *others = (target for target in unsupported if target.kind is kind)
        yield f"insufficient data: {unsupported[first]}"
        if others:
            rates = ", ".join(f"{target.rate:g}" for target in others)
            yield f"insufficient data: {kind.upper()} {rates} the less so: the report says how many subjects each takes"


def rows(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, ...]]:
    """One row a target: supported ones with their rates, the others as too few trials."""
    for verdict in verdicts:
        target = f"{verdict['asked_kind'].upper()} {verdict['asked_rate']:g}"
        if verdict["threshold"] is None:
            yield (target, "none", *[""] * (len(COLUMNS) - 3), "TOO FEW")
            continue
        yield (
            target,
            f"{verdict['threshold']:.4f}",
            *_rate(verdict["calibration"])[:2],
            *_rate(verdict["fmr"]),
            *_rate(verdict["fnmr"]),
            verdict["verdict"] + (" EXTRAPOLATED" if verdict["extrapolated"] else ""),
        )


def notes(done: Done) -> Iterator[str]:
    """Lines about the data: counts, failures to acquire, likely label errors, where templates are kept."""
    for one in done.facts["sets"]:
        for side, count in (("calibration", one["calibration"]), ("test", one["test"])):
            more = count["possible_non_mated_trials"]
            of = f" (of {more:,})" if more > count["non_mated_trials"] else ""
            yield (
                f"{one['name']}, {side}: {count['subjects']:,} subjects, {count['samples']:,} samples, "
                f"{count['mated_trials']:,} mated and {count['non_mated_trials']:,} non-mated trials{of}"
            )
        yield from _failures(one)
        yield from (f"{one['name']}: warning: {warning}" for warning in one["warnings"])
        if one["copies_left_out"]:
            yield f"{one['name']}: {one['copies_left_out']} files left out: the same subject has the same bytes already"
        for group in one["conflicts"][:_SHOWN]:
            files = " = ".join(group)
            yield f"{one['name']}: likely label error, left out: the same file under two subjects: {files}"
    yield from done.facts["notes"]
    if done.job.cache:
        yield f"templates are kept in {done.job.cache} (readable by you only) for the next run; see --no-cache"


def payload(done: Done) -> dict[str, Any]:
    """The same as plain values for --json: the points, and the facts of the report."""
    return {
        "model_id": done.job.spaces.recipe.model_id,
        "bound": done.facts["bound"],
        "verdicts": done.facts["verdicts"],
        "points": done.job.calibration.points,
        "sets": done.facts["sets"],
        "notes": done.facts["notes"],
        "written": done.written,
        "cache": done.job.cache,
    }


def _failures(one: Any) -> Iterator[str]:
    sides = (one["calibration"], one["test"])
    counts: dict[str, int] = {}
    for side in sides:
        for reason, count in side["failures_to_acquire"].items():
            counts[reason] = counts.get(reason, 0) + count
    attempts = sum(side["attempts"] for side in sides)
    if attempts:
        by_reason = "".join(
            f", {reason} {count}" for reason, count in sorted(counts.items(), key=lambda c: -c[1])
        )
        yield f"{one['name']}: {sum(counts.values())} of {attempts:,} failed to acquire{by_reason}"


def _rate(rate: RateFacts | None) -> tuple[str, str, str]:
    """The rate, its upper bound, and the number of errors."""
    if rate is None:
        return "", "", ""
    return f"{rate['value']:.2g}", f"{rate['upper']:.2g}", f"{rate['errors']:,}"
