"""How `verify calibrate` prints what it found: verdicts first, a table, notes on the data, and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from verify.cli.calibration_files import Done
    from verify.evaluation.targets import Target
    from verify.facts import RateFacts, Verdict

_SHOWN = 10


def columns(bound: str) -> tuple[str, ...]:
    """The table's; each bound is named: the promise's, and the population bound of what was measured."""
    return (
        *("target", "threshold", "chosen at FMR", f"{bound} bound"),
        *("test FMR", "population bound", "errors", "test FNMR", "population bound", "errors", "verdict"),
    )


def show(done: Done) -> None:
    """Print verdicts, the table, notes on the data, and where files went."""
    facts = done.facts
    for verdict in facts["verdicts"]:
        if verdict["threshold"] is not None:
            click.echo(f"{word(verdict)}: {verdict['message']}")
    for line in insufficient(done.job.calibration.unsupported):
        click.echo(line)
    print_table(
        columns(facts["bound"]),
        rows(facts["verdicts"]),
        title=f"{done.title}, {facts['score_space']} scores, {facts['bound']} bound at {facts['confidence']:.0%}",
    )
    for line in (*notes(done), *done.said):
        click.echo(line)
    click.echo(f"written to {', '.join(map(str, done.written))}" if done.written else "nothing written")


def insufficient(unsupported: Mapping[Target, str]) -> Iterator[str]:
    """Why targets have no threshold: the first one's reason in full, of the others that they ask for more still."""
    for kind in dict.fromkeys(target.kind for target in unsupported):
        first, *others = (target for target in unsupported if target.kind is kind)
        yield f"INSUFFICIENT DATA: {unsupported[first]}"
        if others:
            rates = ", ".join(f"{target.rate:g}" for target in others)
            yield f"INSUFFICIENT DATA: {kind.upper()} {rates} the less so: the report says how many subjects each takes"


def word(verdict: Verdict) -> str:
    """The verdict in a word; a threshold that no trials stand behind says so, and is never a PASS."""
    if verdict["extrapolated"]:
        return "FAIL, EXTRAPOLATED" if verdict["verdict"] == "FAIL" else "EXTRAPOLATED"
    return verdict["verdict"]


def rows(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, ...]]:
    """One row a target: supported ones with their rates, the others as too few trials."""
    for verdict in verdicts:
        target = f"{verdict['asked_kind'].upper()} {verdict['asked_rate']:g}"
        if verdict["threshold"] is None:
            yield (target, "none", *[""] * 8, "TOO FEW")
            continue
        yield (
            target,
            f"{verdict['threshold']:.4f}",
            *_rate(verdict["calibration"])[:2],
            *_rate(verdict["fmr"]),
            *_rate(verdict["fnmr"]),
            word(verdict),
        )


def notes(done: Done) -> Iterator[str]:
    """Lines about the data: counts, failures to acquire, likely label errors, where templates are kept."""
    for one in done.facts["sets"]:
        for side, count in (("calibration", one["calibration"]), ("test", one["test"])):
            more = count["possible_non_mated_trials"]
            of = f" (of {more:,})" if more > count["non_mated_trials"] else ""
            samples = (
                f" {count['samples']:,} samples," if count["samples"] else ""
            )  # of scores alone none are known
            yield (
                f"{one['name']}, {side}: {count['subjects']:,} subjects,{samples} {count['mated_trials']:,} mated and "
                f"{count['non_mated_trials']:,} non-mated trials{of}"
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
        "points": done.kept,
        "sets": done.facts["sets"],
        "notes": done.facts["notes"],
        "written": done.written,
        "said": done.said,
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
