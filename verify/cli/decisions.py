"""How decisions are printed and which exit code they end with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_json, print_table
from verify.types import IdentifyOutcome, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verify.types import Capture, Decision, Identification

EXIT_ACCEPT, EXIT_REJECT, EXIT_NO_DECISION, EXIT_BAD_DATA = 0, 1, 3, 4

_EXIT = {
    Outcome.ACCEPT: EXIT_ACCEPT,
    Outcome.REJECT: EXIT_REJECT,
    Outcome.NO_DECISION: EXIT_NO_DECISION,
    IdentifyOutcome.MATCH: EXIT_ACCEPT,
    IdentifyOutcome.UNKNOWN: EXIT_REJECT,
    IdentifyOutcome.AMBIGUOUS: EXIT_NO_DECISION,
    IdentifyOutcome.NO_DECISION: EXIT_NO_DECISION,
}

_UNREADABLE = frozenset(
    {
        Reason.MISSING_FILE,
        Reason.NOT_A_FILE,
        Reason.EMPTY_FILE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.TRUNCATED,
        Reason.OVER_LIMITS,
        Reason.INVALID_SAMPLES,
    }
)


def print_decision(decision: Decision, *, as_json: bool) -> int:
    """Print a 1:1 decision; return its exit code."""
    if as_json:
        print_json(_with_verdict(decision))
        return _EXIT[decision.outcome]
    click.secho(_headline(decision), bold=True)
    if decision.score is not None and decision.threshold is not None:
        sign = ">=" if decision.accepted else "<"
        click.echo(f"  score      {decision.score:+.4f} {sign} threshold {decision.threshold:+.4f} (cosine)")
    _print_basis(decision)
    return _EXIT[decision.outcome]


def print_identification(found: Identification, *, as_json: bool) -> int:
    """Print the outcome of a 1:N search; return its exit code."""
    if as_json:
        print_json(_with_verdict(found) | {"subject_id": found.subject_id})
        return _EXIT[found.outcome]
    click.secho(_headline(found), bold=True)
    if found.candidates and found.threshold is not None:
        rows = [
            (rank, c.subject_id, f"{c.score:+.4f}", "at or above" if c.score >= found.threshold else "below")
            for rank, c in enumerate(found.candidates, 1)
        ]
        print_table(("rank", "subject", "score", f"threshold {found.threshold:+.4f}"), rows)
    _print_basis(found)
    return _EXIT[found.outcome]


def exit_code_of_failures(failures: Iterable[Capture | Reason | None]) -> int:
    """0 without failures, 4 if anything could not be read, else 3."""
    reasons = [getattr(failure, "failure", failure) for failure in failures]
    if not reasons:
        return EXIT_ACCEPT
    return (
        EXIT_BAD_DATA
        if any(reason is None or reason in _UNREADABLE for reason in reasons)
        else EXIT_NO_DECISION
    )


def _with_verdict(result: Decision | Identification) -> dict[str, Any]:
    from verify.cli.output import jsonable

    payload: dict[str, Any] = jsonable(result)
    return payload | {"accepted": _EXIT[result.outcome] == EXIT_ACCEPT, "exit_code": _EXIT[result.outcome]}


def _headline(result: Decision | Identification) -> str:
    name = result.outcome.value.upper().replace("_", " ")
    who = "" if result.subject_id is None else f" {result.subject_id}"
    mark = "" if result.calibrated else "  [UNCALIBRATED: proves no error rate]"
    return f"{name}{who} ({result.reason.value}){mark}"


def _print_basis(result: Decision | Identification) -> None:
    click.echo(f"  because    {result.message}")
    point = result.operating_point
    if point is not None:
        fmr = f"FMR {point.fmr.value:.2e} (<= {point.fmr.upper:.2e})"
        fnmr = f"FNMR {point.fnmr.value:.2%} (<= {point.fnmr.upper:.2%})"
        click.echo(f"  proof      on unseen subjects {fmr}, {fnmr} at {point.confidence:.0%} confidence")
    click.echo(f"  model      {result.modality.value} {result.model_id[:12]}")
